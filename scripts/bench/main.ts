/**
 * Measures Headwater, each scenario against a baseline in the same run, and
 * prints a table. It never fails because of a figure; only when it cannot run.
 *
 * Run it by `deno task bench [scenario …]`. Options:
 *
 * - `--rounds=5`: how often each measurement is made (3).
 * - `--out=bench.json`: where the figures go as JSON (a temporary folder).
 * - `--flag=…`: a flag of Deno for the servers under test, such as a profiler's.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { ackedCalls } from "./acked_calls.ts";
import { bigState } from "./big_state.ts";
import { contention } from "./contention.ts";
import { fanout } from "./fanout.ts";
import { hotStore } from "./hot_store.ts";
import { manyServers } from "./many_servers.ts";
import { node } from "./node.ts";
import { parallel } from "./parallel.ts";
import { readMachine, type ScenarioReport, toTable } from "./report.ts";
import { Bench, type Scenario } from "./scenario.ts";
import { rebase } from "./rebase.ts";
import { slowReader } from "./slow_reader.ts";
import { stuckClients } from "./stuck_clients.ts";
import { transports } from "./transports.ts";
import { twoServers } from "./two_servers.ts";

const SCENARIOS: readonly Scenario[] = [
  fanout,
  hotStore,
  ackedCalls,
  bigState,
  slowReader,
  stuckClients,
  transports,
  twoServers,
  manyServers,
  contention,
  rebase,
  parallel,
  node,
];

const { values, positionals } = readArgs();

function readArgs() {
  try {
    return parseArgs({
      args: Deno.args,
      allowPositionals: true,
      options: {
        rounds: { type: "string", default: "3" },
        out: { type: "string" },
        flag: { type: "string", multiple: true, default: [] },
      },
    });
  } catch {
    showUsage();
  }
}

function showUsage(): never {
  const names = SCENARIOS.map(({ name }) => name).join(", ");
  console.error(
    `Usage: deno task bench [--rounds=3] [--out=bench.json] [scenario …], of: ${names}`,
  );
  Deno.exit(2);
}

async function runScenario(
  scenario: Scenario,
  bench: Bench,
): Promise<ScenarioReport> {
  const { name, title } = scenario;
  console.error(`${name}: ${title}`);
  const startMs = performance.now();
  const seconds = () => (performance.now() - startMs) / 1000;
  try {
    const figures = await scenario.run(bench);
    const error = scenario.notRun?.();
    if (error !== undefined) console.error(`${name}: could not run ${error}`);
    return { name, title, seconds: seconds(), figures, error };
  } catch (error) {
    console.error(error);
    return {
      name,
      title,
      seconds: seconds(),
      figures: [],
      error: String(error),
    };
  }
}

const unknown = positionals.filter((name) =>
  !SCENARIOS.some((scenario) => scenario.name === name)
);
const rounds = Number(values.rounds);
if (unknown.length > 0 || !(rounds >= 1)) showUsage();

const folder = await Deno.makeTempDir({ prefix: "headwater_bench_" });
const out = values.out ??
  `${await Deno.makeTempDir({ prefix: "headwater_figures_" })}/bench.json`;
const machine = readMachine();
const startedAt = new Date().toISOString();
const reports: ScenarioReport[] = [];
try {
  const bench = new Bench({ rounds, folder, flags: values.flag });
  for (const scenario of SCENARIOS) {
    if (positionals.length > 0 && !positionals.includes(scenario.name)) {
      continue;
    }
    reports.push(await runScenario(scenario, bench));
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
await Deno.writeTextFile(
  out,
  `${
    JSON.stringify({ startedAt, machine, rounds, scenarios: reports }, null, 2)
  }\n`,
);

const { cpu, cores, memoryGiB, deno, v8, kernel, load } = machine;
console.log(
  `\nMedians of ${rounds} rounds on ${cores} × ${cpu}, ${memoryGiB} GiB, Linux ${kernel}`,
);
console.log(
  `deno ${deno}, V8 ${v8}; load average before: ${
    load.join(" ")
  }; figures in ${out}\n`,
);
console.log(toTable(reports));
if (reports.some(({ error }) => error !== undefined)) Deno.exit(1);
