/**
 * All three targets in one run, and what is wrong afterwards.
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

/** Shares of the frames that go to the server, by WebSocket and by HTTP. */
export const LIVE_SHARE = 0.055;
/** See above. */
export const HTTP_SHARE = 0.012;

/** The memory of a server may grow by so much over a run. */
const GROWTH_BYTES = 256 * 2 ** 20;

/** Inputs after which the decoders are as quick as they get. */
const WARM_UP = 3_000;

/** Slow ones that are measured again, the slowest of them. */
const MEASURED = 100;

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

/** Measures again, alone, what was slow under load; returns the slowest. */
export async function measureAgain(outcome: Outcome): Promise<number> {
  const codec = await CodecTarget.create();
  // A server that has just started is not what is measured.
  await codec.run({ seed: 0, from: 0, to: WARM_UP });
  let slowestMs = 0;
  const note = (ms: number, toBeFound: (failure: string) => Found) => {
    slowestMs = Math.max(slowestMs, ms);
    if (ms > SLOW_MS) outcome.found.push(toBeFound(tooSlow(ms)));
  };
  const slow = outcome.codec.flatMap((part) => part.slow)
    .sort((a, b) => b.ms - a.ms).slice(0, MEASURED);
  for (const input of slow) {
    note(await codec.timeOf(input), (failure) => toFound(input, failure));
  }
  for (
    const hex of outcome.lives.flatMap((part) => part.slow).slice(0, MEASURED)
  ) {
    note(await timeOfMessage(hex), (failure) => {
      return {
        target: "live",
        decoder: "server",
        hex: ["hello", hex],
        failure,
      };
    });
  }
  return slowestMs;
}

/** Frames after a proper hello, of those that went to a server. */
export function greetedShare({ lives, live }: Outcome): number {
  const greeted = lives.reduce((sum, { greeted }) => sum + greeted, 0);
  return greeted / Math.max(1, framesOf(live));
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
  if (share < 0.5) {
    faults.push(`only ${(share * 100).toFixed(0)} % came after a proper hello`);
  }
  for (const { rssBefore, rssAfter } of [...outcome.lives, ...outcome.https]) {
    if (rssAfter - rssBefore < GROWTH_BYTES) continue;
    faults.push(`a server grew from ${rssBefore} to ${rssAfter} bytes`);
  }
  return faults;
}
