/**
 * Runs simulated histories: `deno task soak --histories 100000 --seed 1`.
 * `--help` tells all options.
 *
 * @module
 */
import {
  commandOf,
  type Failure,
  soak,
  type SoakReport,
} from "../tests/simulation/soak.ts";
import { readOptions, usageOf } from "./options.ts";

const USAGE = `Usage: deno task soak [option …]

  --histories N  how many; 10,000
  --seed S       the first seed; those after it follow; 1
  --jobs J       threads; one for each core
  --trace        shows what was done in a history that fails`;

/** Failures of which more is told than their number. */
const SHOWN = 20;

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args, {
    numbers: {
      histories: { initial: 10_000, least: 1 },
      seed: { initial: 1, least: 0 },
      jobs: { initial: navigator.hardwareConcurrency, least: 1 },
    },
    switches: ["trace"],
  });
  if (typeof options === "string") {
    print(usageOf(USAGE, options));
    return 2;
  }
  const { histories, seed, jobs } = options.numbers;
  const isTraced = options.switches.has("trace");
  const startedAtMs = performance.now();
  const isTerminal = Deno.stdout.isTerminal();
  let toldAtMs = startedAtMs;
  let shown = 0;
  const report = await soak({
    histories,
    seed,
    jobs,
    onProgress: (report) => {
      // At once: who ends a long run early has them all the same.
      for (const failure of report.failures.slice(shown, SHOWN)) {
        if (isTerminal) tell("", true);
        show(failure, isTraced);
      }
      shown = report.failures.length;
      const nowMs = performance.now();
      if (nowMs - toldAtMs < (isTerminal ? 200 : 10_000)) return;
      toldAtMs = nowMs;
      tell(
        progressOf(report, { histories, ms: nowMs - startedAtMs }),
        isTerminal,
      );
    },
  });
  if (isTerminal) tell("", true);
  print(summaryOf(report, performance.now() - startedAtMs));
  return report.failures.length > 0 ? 1 : 0;
}

function progressOf(
  { histories: done, failures }: SoakReport,
  { histories, ms }: { histories: number; ms: number },
): string {
  const perSecond = Math.round(done / ms * 1000);
  const left = Math.round((histories - done) / Math.max(1, perSecond));
  return `${count(done)} of ${
    count(histories)
  } histories, ${failures.length} failed, ${perSecond}/s, ${left} s left`;
}

function show(failure: Failure, isTraced: boolean): void {
  print(`Seed ${failure.seed}: ${failure.failure}`);
  if (isTraced) {
    for (const line of failure.trace) print(`  ${line}`);
    print(failure.stack);
  }
  print(`  ${commandOf(failure)}`);
}

function summaryOf(
  { histories, figures, failures }: SoakReport,
  ms: number,
): string {
  const rows = [
    ["events", figures.events],
    ["commits", figures.commits],
    ["acknowledged writes", figures.acknowledged],
    ["of them by clients", figures.ownAcknowledged],
    ["compared with what shows", figures.readYourWrites],
    ["states shown to clients", figures.shown],
    ["made again by clients", figures.rebases],
    ["in conflict", figures.conflicts],
    ["tokens, limits changed", figures.accessChanges],
    ["not allowed", figures.refusals],
    ["messages lost, doubled", figures.lostMessages + figures.doubledMessages],
    ["connections refused, cut", figures.refusedConnections + figures.cuts],
    ["servers started again", figures.restarts],
    ["processes that stood still", figures.suspensions],
    ["clocks that jumped", figures.clockJumps],
    ["watches that broke", figures.brokenWatches],
    ["entries expired", figures.expiries],
    ["snapshots taken", figures.compactions],
    ["histories", histories],
    ["failed", failures.length],
  ] as const;
  const lines = rows.map(([what, number]) =>
    `${what.padEnd(26)}${count(number).padStart(14)}`
  );
  const seconds = ms / 1000;
  return [
    ...lines,
    `${"seconds".padEnd(26)}${seconds.toFixed(1).padStart(14)}`,
  ].join("\n");
}

function count(number: number): string {
  return number.toLocaleString("en");
}

/** On a terminal the line before is replaced. */
function tell(line: string, isTerminal: boolean): void {
  const text = isTerminal ? `\r\x1b[K${line}` : `${line}\n`;
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

function print(text: string): void {
  console.log(text);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
