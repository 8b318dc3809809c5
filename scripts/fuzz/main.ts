/**
 * Fuzzes whatever takes bytes from outside: the codec and its relatives, a live
 * server, HTTP. `deno task fuzz [--frames N] [--seed S] [--jobs J]`, or
 * `--replay CASE` with a line that an earlier run has printed.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { failureOf, type FuzzCase } from "./cases.ts";
import type { Found } from "./codec_target.ts";
import { SLOW_MS } from "./contract.ts";
import { megabytes, thousands, toFigures, toTable } from "./report.ts";
import {
  addCodec,
  addHttp,
  addLive,
  findFaults,
  greetedShare,
  HTTP_SHARE,
  LIVE_SHARE,
  measureAgain,
  newOutcome,
  type Outcome,
} from "./run.ts";
import { shrink } from "./shrink.ts";
import { framesOf } from "./tally.ts";
import { runParts, type Work } from "./threads.ts";
import type { PartResult } from "./worker.ts";

/** Cases that are shrunk and shown. */
const SHOWN = 3;

interface Options {
  readonly frames: number;
  readonly seed: number;
  readonly jobs: number;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      frames: { type: "string", default: "1000000" },
      seed: { type: "string" },
      jobs: { type: "string" },
      replay: { type: "string" },
    },
  });
  if (values.replay !== undefined) return await replay(values.replay);
  const options = {
    frames: toCount("frames", values.frames),
    seed: values.seed === undefined
      ? Math.floor(Math.random() * 2 ** 31)
      : Number(values.seed),
    jobs: values.jobs === undefined
      ? navigator.hardwareConcurrency
      : toCount("jobs", values.jobs),
  };
  return await fuzz(options);
}

function toCount(name: string, text: string): number {
  const count = Number(text.replaceAll("_", ""));
  if (Number.isSafeInteger(count) && count >= 1) return count;
  throw new RangeError(`--${name} must be a number from 1, not "${text}"`);
}

async function replay(line: string): Promise<number> {
  const input: FuzzCase = JSON.parse(line);
  const failure = await failureOf(input);
  console.log(failure === undefined ? "It does not fail." : failure);
  return failure === undefined ? 0 : 1;
}

async function fuzz({ frames, seed, jobs }: Options): Promise<number> {
  const startedMs = performance.now();
  console.log(
    `${
      thousands(frames)
    } frames, seed ${seed}, ${jobs} threads, each with servers of its own\n`,
  );
  const outcome = newOutcome();
  const hung: string[] = [];
  for (const [title, work] of phases({ frames, seed, jobs })) {
    const total = work.reduce((sum, part) => sum + sizeOf(part), 0);
    const { results, hung: late } = await runParts(work, (done) => {
      showProgress(title, done, { total, startedMs });
    });
    outcome.found.push(...late);
    for (const result of results) add(outcome, result, hung);
    if (outcome.found.length > 0) break;
  }
  if (Deno.stdout.isTerminal()) {
    Deno.stdout.writeSync(new TextEncoder().encode("\r\x1b[K"));
  }
  const aloneMs = await measureAgain(outcome);
  const faults = outcome.found.length > 0 ? [] : await findFaults(outcome);
  show(outcome, { seconds: (performance.now() - startedMs) / 1_000, aloneMs });
  for (const found of outcome.found.slice(0, SHOWN)) await showFound(found);
  for (const fault of [...faults, ...hung]) console.log(`FAULT: ${fault}`);
  const count = outcome.found.length + faults.length + hung.length;
  console.log(
    count === 0
      ? `No failure in ${thousands(countAll(outcome))} frames.`
      : `${thousands(count)} failures; again by --seed ${seed}`,
  );
  return count === 0 ? 0 : 1;
}

/** The targets one after the other, each on every thread. */
function phases({ frames, seed, jobs }: Options): [string, Work[]][] {
  const live = Math.ceil(frames * LIVE_SHARE / jobs);
  const requests = Math.ceil(frames * HTTP_SHARE / jobs);
  const each = Math.ceil(frames / jobs) - live - requests;
  const threads = Array.from({ length: jobs }, (_, thread) => thread);
  return [
    [
      "codec",
      threads.map((thread) => {
        const from = thread * each;
        return { target: "codec", seed, from, to: from + each };
      }),
    ],
    [
      "live server",
      threads.map((thread) => {
        return { target: "live", seed: seed + thread, frames: live };
      }),
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

function showProgress(
  title: string,
  done: number,
  { total, startedMs }: { total: number; startedMs: number },
): void {
  const seconds = Math.round((performance.now() - startedMs) / 1_000);
  const line = `${title}: ${thousands(done)} of ${
    thousands(total)
  }, ${seconds} s`;
  if (!Deno.stdout.isTerminal()) return;
  Deno.stdout.writeSync(new TextEncoder().encode(`\r\x1b[K${line}`));
}

/** What is known beside the counts. */
interface Times {
  readonly seconds: number;
  /** The slowest of what was measured again alone. */
  readonly aloneMs: number;
}

function show(outcome: Outcome, times: Times): void {
  const { decoders, kinds, live, http } = outcome;
  console.log(`${toTable("decoder", decoders)}\n`);
  console.log(`${toTable("kind", kinds)}\n`);
  console.log(`${toTable("live server", live)}\n`);
  console.log(`${toTable("HTTP", http)}\n`);
  console.log(
    "inside: refused by that decoder's own checks, the rest by the scan before it\n",
  );
  console.log(`${toFigures(figuresOf(outcome, times))}\n`);
}

function figuresOf(
  outcome: Outcome,
  { seconds, aloneMs }: Times,
): (readonly [string, string])[] {
  const { codec, lives, https, decoders, live, http } = outcome;
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  const most = (numbers: number[]) =>
    `${Math.max(0, ...numbers).toFixed(1)} ms`;
  const again = sum([
    ...codec.map((part) => part.slowCount),
    ...lives.map((part) => part.slow.length),
  ]);
  const growth = (parts: readonly { rssBefore: number; rssAfter: number }[]) =>
    parts.map(({ rssBefore, rssAfter }) =>
      `${megabytes(rssBefore)} to ${megabytes(rssAfter)}`
    ).join(", ");
  return [
    ["decoders called directly", thousands(framesOf(decoders))],
    ["frames to live servers", thousands(framesOf(live))],
    ["  after a proper hello", `${(greetedShare(outcome) * 100).toFixed(1)} %`],
    ["  connections", thousands(sum(lives.map((part) => part.connections)))],
    [
      "  hostile records in the KV",
      thousands(sum(lives.map((p) => p.planted))),
    ],
    ["HTTP requests", thousands(framesOf(http))],
    [
      "honest writes, each checked",
      thousands(sum([...lives, ...https].map((part) => part.honestWrites))),
    ],
    ["slowest input of a decoder", most(codec.map((part) => part.slowestMs))],
    ["slowest message, under load", most(lives.map((part) => part.slowestMs))],
    ["longest turn of a server", most(lives.map((part) => part.longestTurnMs))],
    [
      `over ${SLOW_MS} ms under load`,
      again === 0
        ? "none"
        : `${again}; alone at most ${
          aloneMs.toFixed(1)
        } ms, by the best of three`,
    ],
    ["memory of servers, WebSocket", growth(lives)],
    ["memory of servers, HTTP", growth(https)],
    ["time", `${Math.round(seconds)} s`],
  ];
}

async function showFound(found: Found): Promise<void> {
  const { target, decoder, hex } = await shrink(found, found.failure);
  const line = JSON.stringify({ target, decoder, hex });
  console.log(`FOUND in ${decoder}: ${found.failure}`);
  console.log(`  ${line}`);
  console.log(`  deno task fuzz --replay '${line}'\n`);
}

function countAll({ decoders, live, http }: Outcome): number {
  return framesOf(decoders) + framesOf(live) + framesOf(http);
}

if (import.meta.main) Deno.exit(await main());
