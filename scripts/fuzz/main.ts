/**
 * Fuzzes whatever takes bytes from outside: the codec and its relatives, whole
 * servers, HTTP. Run it by `deno task fuzz`. Options:
 *
 * - `--frames 1000000`: how many frames; HTTP requests come on top.
 * - `--seed 7`: the same frames again.
 * - `--jobs 4`: how many threads, each with servers of its own.
 * - `--replay CASE`: runs one case again that an earlier run has found, a line or
 *   the file that holds it.
 *
 * The exit code is 1 if anything is wrong, 2 if an option is.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { failureOf, type FuzzCase } from "./cases.ts";
import { CodecTarget } from "./codec_target.ts";
import { thousands } from "./report.ts";
import {
  addCodec,
  addHttp,
  addLive,
  countFrames,
  findFaults,
  HTTP_SHARE,
  LIVE_SHARE,
  measureAgain,
  newOutcome,
  type Outcome,
} from "./run.ts";
import { showFound, showOutcome } from "./summary.ts";
import { framesOf } from "./tally.ts";
import { runParts, type Work } from "./threads.ts";
import type { PartResult } from "./worker.ts";

const USAGE =
  "Usage: deno task fuzz [--frames 1000000] [--seed 7] [--jobs 4] | --replay CASE";
/** Cases that are shrunk and shown. */
const SHOWN = 3;
/** Lines of progress where there is no terminal. */
const LINE_MS = 10_000;

interface Options {
  readonly frames: number;
  readonly seed: number;
  readonly jobs: number;
}

async function main(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) {
    console.error(USAGE);
    return 2;
  }
  return "replay" in options
    ? await replay(options.replay)
    : await fuzz(options);
}

/** Undefined where they cannot be meant. */
function readOptions(
  args: string[],
): Options | { readonly replay: FuzzCase } | undefined {
  try {
    const { values } = parseArgs({
      args,
      options: {
        frames: { type: "string", default: "1000000" },
        seed: { type: "string" },
        jobs: { type: "string" },
        replay: { type: "string" },
      },
    });
    if (values.replay !== undefined) return { replay: readCase(values.replay) };
    const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));
    return {
      frames: toCount(values.frames, 1),
      seed: toCount(seed, 0),
      jobs: toCount(values.jobs ?? String(navigator.hardwareConcurrency), 1),
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return undefined;
  }
}

function toCount(text: string, least: number): number {
  const count = Number(text.replaceAll("_", ""));
  if (text !== "" && Number.isSafeInteger(count) && count >= least) {
    return count;
  }
  throw new RangeError(`A number from ${least} is needed, not "${text}"`);
}

function readCase(text: string): FuzzCase {
  const line = text.startsWith("{") ? text : Deno.readTextFileSync(text);
  const input: Partial<FuzzCase> = JSON.parse(line);
  const { target, decoder, hex } = input;
  if (
    !["codec", "live", "http"].includes(String(target)) ||
    typeof decoder !== "string" || !Array.isArray(hex)
  ) throw new TypeError("The case has no target, decoder and hex");
  return input as FuzzCase; // checked above
}

async function replay(input: FuzzCase): Promise<number> {
  const failure = await failureOf(input);
  console.log(failure === undefined ? "It does not fail." : failure);
  return failure === undefined ? 0 : 1;
}

async function fuzz({ frames, seed, jobs }: Options): Promise<number> {
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1_000;
  console.log(
    `${
      thousands(frames)
    } frames, seed ${seed}, ${jobs} threads, each with servers of its own\n`,
  );
  const outcome = newOutcome();
  const hung: string[] = [];
  const progress = new Progress(seconds);
  for (const [title, work] of phases({ frames, seed, jobs })) {
    const total = work.reduce((sum, part) => sum + sizeOf(part), 0);
    const { results, hung: late } = await runParts(work, (done) => {
      progress.show(title, done, total);
    });
    outcome.found.push(...late);
    for (const result of results) add(outcome, result, hung);
    if (outcome.found.length > 0) break;
  }
  const aloneMs = await measureAgain(outcome, {
    target: await CodecTarget.create(),
    onProgress: (done, total) => progress.show("measured again", done, total),
  });
  progress.end();
  const faults = outcome.found.length > 0 ? [] : await findFaults(outcome);
  showOutcome(outcome, { seconds: seconds(), aloneMs });
  for (const found of outcome.found.slice(0, SHOWN)) await showFound(found);
  for (const fault of [...faults, ...hung]) console.log(`FAULT: ${fault}`);
  const count = outcome.found.length + faults.length + hung.length;
  console.log(
    count === 0
      ? `No failure in ${thousands(countFrames(outcome))} frames and ${
        thousands(framesOf(outcome.http))
      } HTTP requests.`
      : `${thousands(count)} failures; again by --seed ${seed}`,
  );
  return count === 0 ? 0 : 1;
}

/** The targets one after the other, each on every thread. */
function phases({ frames, seed, jobs }: Options): [string, Work[]][] {
  const inner = Math.ceil(frames * LIVE_SHARE.inner / jobs);
  const each = Math.ceil(frames / jobs * (1 - LIVE_SHARE.sockets)) - inner;
  const requests = Math.ceil(frames * HTTP_SHARE / jobs);
  const threads = Array.from({ length: jobs }, (_, thread) => thread);
  // At least one for each transport.
  const socketed = Math.max(2, jobs);
  return [
    [
      "decoders alone",
      threads.map((thread) => {
        const from = thread * each;
        return { target: "codec", seed, from, to: from + each };
      }),
    ],
    [
      "servers in one thread",
      threads.map((thread) => {
        const way = "in one thread";
        return { target: "live", way, seed: seed + thread, frames: inner };
      }),
    ],
    [
      "servers with sockets",
      Array.from({ length: socketed }, (_, thread) => ({
        target: "live",
        way: thread % 2 === 0 ? "native" : "hardened",
        seed: seed + jobs + thread,
        frames: Math.ceil(frames * LIVE_SHARE.sockets / socketed),
      })),
    ],
    [
      "HTTP",
      threads.map((thread) => {
        return { target: "http", seed: seed + thread, requests };
      }),
    ],
  ];
}

function sizeOf(part: Work): number {
  if (part.target === "codec") return part.to - part.from;
  return part.target === "live" ? part.frames : part.requests;
}

function add(outcome: Outcome, result: PartResult, faults: string[]): void {
  switch (result.target) {
    case "codec":
      return addCodec(outcome, result.result);
    case "live":
      return addLive(outcome, result.result);
    case "http":
      return addHttp(outcome, result.result);
    case "none":
      faults.push(`a thread has ended: ${result.error}`);
  }
}

/** A line that is written over on a terminal; elsewhere one every ten seconds. */
class Progress {
  readonly #seconds: () => number;
  readonly #isTerminal = Deno.stdout.isTerminal();
  #printedAtMs = performance.now();

  constructor(seconds: () => number) {
    this.#seconds = seconds;
  }

  show(title: string, done: number, total: number): void {
    const line = `${title}: ${thousands(done)} of ${thousands(total)}, ${
      Math.round(this.#seconds())
    } s`;
    if (this.#isTerminal) return this.#overwrite(line);
    if (performance.now() - this.#printedAtMs < LINE_MS) return;
    this.#printedAtMs = performance.now();
    console.log(line);
  }

  end(): void {
    if (this.#isTerminal) this.#overwrite("");
  }

  #overwrite(line: string): void {
    Deno.stdout.writeSync(new TextEncoder().encode(`\r\x1b[K${line}`));
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
