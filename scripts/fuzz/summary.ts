/**
 * What is printed at the end of a run.
 *
 * @module
 */
import type { Found } from "./codec_target.ts";
import { SLOW_MS } from "./contract.ts";
import { WAYS } from "./live_target.ts";
import { megabytes, thousands, toFigures, toTable } from "./report.ts";
import { greetedShare, type Outcome } from "./run.ts";
import { shrink } from "./shrink.ts";
import { framesOf } from "./tally.ts";

/** A case that is longer than this is kept in a file. */
const LINE_LENGTH = 2_000;

/** What is known beside the counts. */
export interface Times {
  readonly seconds: number;
  /** The slowest of what was measured again alone. */
  readonly aloneMs: number;
}

/** Prints the tables, figures last. */
export function showOutcome(outcome: Outcome, times: Times): void {
  const { decoders, kinds, live, http } = outcome;
  console.log(`${toTable("decoder", decoders)}\n`);
  console.log(`${toTable("kind", kinds)}\n`);
  console.log(`${toTable("server", live)}\n`);
  console.log(`${toTable("HTTP", http)}\n`);
  console.log(
    "inside: refused by that decoder's own checks, the rest by the scan before it\n",
  );
  console.log(`${toFigures(figuresOf(outcome, times))}\n`);
}

/** Prints what was found, as small as it can be made, and how to run it again. */
export async function showFound(found: Found): Promise<void> {
  // First of all: to make it smaller takes time, and may fail as the product does.
  console.log(`FOUND, ${found.decoder}: ${found.failure}`);
  const { target, decoder, hex } = await shrink(found, found.failure);
  const line = JSON.stringify({ target, decoder, hex });
  if (line.length <= LINE_LENGTH) {
    console.log(`  deno task fuzz --replay '${line}'\n`);
    return;
  }
  const options = { prefix: "headwater_fuzz_", suffix: ".json" };
  const path = await Deno.makeTempFile(options);
  await Deno.writeTextFile(path, line);
  console.log(`  deno task fuzz --replay ${path}\n`);
}

type Figure = readonly [name: string, value: string];

function figuresOf(outcome: Outcome, times: Times): Figure[] {
  const { codec, lives, https, decoders, http } = outcome;
  const share = greetedShare(outcome);
  const slow = sum([
    ...codec.map((part) => part.slowCount),
    ...lives.map((part) => part.slow.length),
  ]);
  const again = `${thousands(slow)}; alone at most ${
    times.aloneMs.toFixed(1)
  } ms, by the best of three`;
  return [
    ["frames to decoders alone", thousands(framesOf(decoders))],
    ...WAYS.map((way): Figure => [
      `frames to servers, ${way}`,
      thousands(sum(
        lives.filter((part) => part.way === way)
          .map((part) => framesOf(part.frames)),
      )),
    ]),
    ["of all, after a proper hello", `${(share * 100).toFixed(1)} %`],
    ["connections", thousands(sum(lives.map((part) => part.connections)))],
    [
      "hostile records in the KV",
      thousands(sum(lives.map((part) => part.planted))),
    ],
    ["HTTP requests, apart", thousands(framesOf(http))],
    [
      "honest writes, each checked",
      thousands(sum([...lives, ...https].map((part) => part.honestWrites))),
    ],
    ["slowest input of a decoder", most(codec.map((part) => part.slowestMs))],
    ["slowest message, under load", most(lives.map((part) => part.slowestMs))],
    [
      "longest turn of a server",
      most(
        lives.filter(({ way }) => way !== "in one thread")
          .map((part) => part.longestTurnMs),
      ),
    ],
    [`over ${SLOW_MS} ms under load`, slow === 0 ? "none" : again],
    ...WAYS.map((way): Figure => [
      `memory of servers, ${way}`,
      growth(lives.filter((part) => part.way === way)),
    ]),
    ["memory of servers, HTTP", growth(https)],
    ["time", `${Math.round(times.seconds)} s`],
  ];
}

function sum(counts: readonly number[]): number {
  return counts.reduce((a, b) => a + b, 0);
}

function most(numbers: readonly number[]): string {
  return `${Math.max(0, ...numbers).toFixed(1)} ms`;
}

function growth(
  parts: readonly { bytesBefore: number; bytesAfter: number }[],
): string {
  return parts.map(({ bytesBefore, bytesAfter }) =>
    `${megabytes(bytesBefore)} to ${megabytes(bytesAfter)}`
  ).join(", ");
}
