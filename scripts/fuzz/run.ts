/**
 * All targets in one run, and what is wrong afterwards.
 *
 * @module
 */
import { timeOfMessage } from "./cases.ts";
import {
  type CodecResult,
  CodecTarget,
  type Found,
  toFound,
  tooSlow,
} from "./codec_target.ts";
import { SLOW_MS } from "./contract.ts";
import { UP_ROWS } from "./frame_drafts.ts";
import { HTTP_ROWS } from "./http_requests.ts";
import type { HttpResult } from "./http_target.ts";
import type { LiveResult } from "./live_target.ts";
import { addTally, findGaps, framesOf, type Tally } from "./tally.ts";

/** Shares of the frames that go to a whole server: in one thread, and by its sockets. */
export const LIVE_SHARE = { inner: 0.53, sockets: 0.02 } as const;
/** HTTP requests for each frame; they count apart. */
export const HTTP_SHARE = 0.012;

/** The least share of all frames that must come after a proper hello. */
const GREETED_SHARE = 0.5;

/** The memory of a server may grow by so much over a run. */
const GROWTH_BYTES = 256 * 2 ** 20;

/** Inputs after which the decoders are as quick as they get. */
const WARM_UP = 3_000;

/** Slow ones that are measured again, the slowest of them; a message needs a server of its own. */
const MEASURED = { inputs: 50, messages: 10 } as const;

/** Everything that came of a run. */
export interface Outcome {
  readonly decoders: Tally;
  readonly kinds: Tally;
  readonly live: Tally;
  readonly http: Tally;
  readonly codec: CodecResult[];
  readonly lives: LiveResult[];
  readonly https: HttpResult[];
  readonly found: Found[];
}

/** Nothing yet. */
export function newOutcome(): Outcome {
  return {
    decoders: {},
    kinds: {},
    live: {},
    http: {},
    codec: [],
    lives: [],
    https: [],
    found: [],
  };
}

/** Adds what a part of the first target gave. */
export function addCodec(outcome: Outcome, result: CodecResult): void {
  outcome.codec.push(result);
  outcome.found.push(...result.found);
  addTally(outcome.decoders, result.decoders);
  addTally(outcome.kinds, result.kinds);
}

/** The same of the second. */
export function addLive(outcome: Outcome, result: LiveResult): void {
  outcome.lives.push(result);
  outcome.found.push(...result.found);
  addTally(outcome.live, result.frames);
}

/** The same of the third. */
export function addHttp(outcome: Outcome, result: HttpResult): void {
  outcome.https.push(result);
  outcome.found.push(...result.found);
  addTally(outcome.http, result.requests);
}

/**
 * Measures again, alone, what was slow under load, up to the first that is slow
 * alone, too; returns the slowest.
 */
export async function measureAgain(
  { codec, lives, found }: Outcome,
  { target, onProgress }: {
    target: CodecTarget;
    onProgress: (done: number, total: number) => void;
  },
): Promise<number> {
  const again = [
    ...slowest(codec.flatMap((part) => part.slow), MEASURED.inputs)
      .map((input) => ({
        measure: () => target.timeOf(input),
        toFound: (failure: string) => toFound(input, failure),
      })),
    ...slowest(lives.flatMap((part) => part.slow), MEASURED.messages)
      .map(({ hex }) => ({
        measure: () => timeOfMessage(hex),
        toFound: (failure: string): Found => ({
          target: "live",
          decoder: "native",
          hex: ["hello", hex],
          failure,
        }),
      })),
  ];
  // Decoders that have just been compiled are not what is measured.
  if (again.length > 0) await target.run({ seed: 0, from: 0, to: WARM_UP });
  let slowestMs = 0;
  for (const [done, { measure, toFound }] of again.entries()) {
    onProgress(done, again.length);
    const ms = await measure();
    slowestMs = Math.max(slowestMs, ms);
    if (ms <= SLOW_MS) continue;
    found.push(toFound(tooSlow(ms)));
    break;
  }
  return slowestMs;
}

function slowest<T extends { readonly ms: number }>(
  inputs: readonly T[],
  count: number,
): T[] {
  return inputs.toSorted((a, b) => b.ms - a.ms).slice(0, count);
}

/** All frames: to decoders alone, and to servers. */
export function countFrames({ decoders, live }: Outcome): number {
  return framesOf(decoders) + framesOf(live);
}

/** The share of all frames that came after a proper hello. */
export function greetedShare(outcome: Outcome): number {
  const greeted = outcome.lives.reduce((sum, part) => sum + part.greeted, 0);
  return greeted / Math.max(1, countFrames(outcome));
}

/** What is wrong beside the inputs that were found: holes in what was tried, memory that grew. */
export async function findFaults(outcome: Outcome): Promise<string[]> {
  const { decoders } = await CodecTarget.create();
  const faults = [
    ...findGaps(outcome.decoders, decoders.map(({ name }) => name)),
    ...findGaps(outcome.live, UP_ROWS).map((gap) => `live ${gap}`),
    ...findGaps(outcome.http, HTTP_ROWS).map((gap) => `http ${gap}`),
  ];
  const share = greetedShare(outcome);
  if (share < GREETED_SHARE) {
    faults.push(`only ${(share * 100).toFixed(1)} % came after a proper hello`);
  }
  if ([...outcome.codec, ...outcome.lives].some(({ isCut }) => isCut)) {
    faults.push("a part ended early: it was slow again and again");
  }
  for (const part of [...outcome.lives, ...outcome.https]) {
    const { bytesBefore, bytesAfter } = part;
    if (bytesAfter - bytesBefore < GROWTH_BYTES) continue;
    faults.push(`a server grew from ${bytesBefore} to ${bytesAfter} bytes`);
  }
  return faults;
}
