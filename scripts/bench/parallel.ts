/**
 * `deno serve --parallel`: what four isolates over one KV file do that one does not.
 *
 * @module
 */
import { Load } from "./load.ts";
import type { ParallelProcess } from "./parallel_process.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";
import { sum } from "./statistics.ts";

const ISOLATES = 4;
const SUBSCRIBERS = 4_000;
const WRITERS = 50;
const WARM_MS = 1_500;
const MS = 3_000;

/** What is written by whom. */
interface Writing {
  readonly title: string;
  readonly store: string;
  readonly call: string;
}

const WRITINGS: readonly Writing[] = [
  { title: "acknowledged writes to one store", store: "Grid", call: "set" },
  {
    title: "acknowledged writes to 50 stores",
    store: "Grid:*",
    call: "setOwn",
  },
];

/** See the module's documentation. */
export const parallel: Scenario = {
  name: "parallel",
  title: `deno serve --parallel: ${ISOLATES} isolates over one KV file`,
  async run(bench: Bench) {
    const { four, one } = await bench.measure({
      one: () => measureFanout(bench.startParallel(1)),
      four: () => measureFanout(bench.startParallel(ISOLATES)),
    });
    const figures: Figure[] = [
      toFigure({
        name: `deliveries to ${SUBSCRIBERS.toLocaleString("en")} subscribers`,
        unit: "/s",
        rounds: four.map(({ perSecond }) => perSecond),
        baseline: {
          name: "one isolate",
          rounds: one.map(({ perSecond }) => perSecond),
        },
        note: "as fast as one writer can; the load shares the cores",
      }),
      toFigure({
        name: "server CPU in use",
        unit: "cores",
        rounds: four.map(({ cores }) => cores),
        baseline: {
          name: "one isolate",
          rounds: one.map(({ cores }) => cores),
        },
      }),
    ];
    for (const writing of WRITINGS) {
      figures.push(await measureWriting(bench, writing));
    }
    return figures;
  },
};

async function measureWriting(
  bench: Bench,
  writing: Writing,
): Promise<Figure> {
  const { four, one } = await bench.measure({
    one: () => measureWrites(bench.startParallel(1), writing),
    four: () => measureWrites(bench.startParallel(ISOLATES), writing),
  });
  return toFigure({
    name: writing.title,
    unit: "/s",
    rounds: four,
    baseline: { name: "one isolate", rounds: one },
  });
}

/** One client writes, all others receive. */
async function measureFanout(
  starting: Promise<ParallelProcess>,
): Promise<{ perSecond: number; cores: number }> {
  await using server = await starting;
  using load = new Load();
  using writer = new Load(1);
  const { port } = server;
  await load.connect(SUBSCRIBERS, { port, store: "Grid", reading: "count" });
  await writer.connect(1, { port, store: "Grid:*", reading: "walk" });
  await writer.call({ name: "set", depth: 4, ms: WARM_MS });
  const before = await load.totals();
  const cpuBeforeMs = server.cpuMs();
  const startMs = performance.now();
  await writer.call({ name: "set", depth: 4, ms: MS });
  const after = await load.totals();
  const elapsedMs = performance.now() - startMs;
  if (after.lost > 0) throw new Error(`${after.lost} clients were lost`);
  return {
    perSecond: (after.messages - before.messages) * 1_000 / elapsedMs,
    cores: (server.cpuMs() - cpuBeforeMs) / elapsedMs,
  };
}

/** All clients write. */
async function measureWrites(
  starting: Promise<ParallelProcess>,
  { store, call }: Writing,
): Promise<number> {
  await using server = await starting;
  using load = new Load();
  await load.connect(WRITERS, { port: server.port, store, reading: "walk" });
  await load.call({ name: call, depth: 32, ms: WARM_MS });
  const called = await load.call({ name: call, depth: 32, ms: MS });
  const { errors, lost } = await load.totals();
  const unanswered = sum(called.map(({ unanswered }) => unanswered));
  if (errors + lost + unanswered > 0) {
    throw new Error(
      `${errors} calls failed, ${unanswered} had no answer, ${lost} clients were lost`,
    );
  }
  return sum(called.map(({ latencies }) => latencies.length)) * 1_000 / MS;
}
