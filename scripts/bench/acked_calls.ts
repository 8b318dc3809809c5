/**
 * Durable calls: what group commit gains.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { Load } from "./load.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";
import { percentile, sum } from "./statistics.ts";

const CLIENTS = 50;
const IN_FLIGHT = 32;
const WARM_MS = 1_000;
const MS = 2_500;

interface Kind {
  readonly title: string;
  readonly store: string;
  readonly call: string;
  readonly atLeast: number;
}

const KINDS: readonly Kind[] = [
  { title: "one store", store: "Grid", call: "set", atLeast: 15 },
  { title: "50 stores", store: "Grid:*", call: "setOwn", atLeast: 8 },
];

/** See the module's documentation. */
export const ackedCalls: Scenario = {
  name: "calls",
  title: "Durable acked calls, each one update: 50 clients × 32 in flight",
  async run(bench: Bench) {
    const figures: Figure[] = [];
    for (const kind of KINDS) figures.push(...await measureKind(bench, kind));
    return figures;
  },
};

async function measureKind(bench: Bench, kind: Kind): Promise<Figure[]> {
  const { title, atLeast } = kind;
  const { headwater, locked, bare } = await bench.measure({
    locked: () => measureCalls(bench.startServer({ commitsApart: true }), kind),
    headwater: () => measureCalls(bench.startServer(), kind),
    bare: () => measureCalls(bench.startOneCommitServer(), kind),
  });
  const rounds = headwater.map(({ perSecond }) => perSecond);
  return [
    toFigure({
      name: `${title}: acknowledged calls`,
      unit: "/s",
      rounds,
      baseline: {
        name: "same server, one commit each",
        rounds: locked.map(({ perSecond }) => perSecond),
      },
      target: { of: "ratio", atLeast },
    }),
    toFigure({
      name: `${title}: acknowledged calls`,
      unit: "/s",
      rounds,
      baseline: {
        name: "bare server, one commit each",
        rounds: bare.map(({ perSecond }) => perSecond),
      },
    }),
    toFigure({
      name: `${title}: bytes per delivered mutation`,
      unit: "B",
      rounds: headwater.map(({ bytes }) => bytes),
      target: { of: "value", atMost: 40 },
      note: "answers and headers included",
    }),
    toFigure({
      name: `${title}: server CPU per million calls`,
      unit: "s",
      rounds: headwater.map(({ cpuS }) => cpuS),
    }),
    toFigure({
      name: `${title}: latency, p50`,
      unit: "ms",
      rounds: headwater.map(({ p50 }) => p50),
    }),
    toFigure({
      name: `${title}: latency, p99`,
      unit: "ms",
      rounds: headwater.map(({ p99 }) => p99),
    }),
  ];
}

/** What calls cost the server that is starting, and how long they take. */
export async function measureCalls(
  starting: Promise<BenchProcess>,
  { store, call }: Pick<Kind, "store" | "call">,
): Promise<
  { perSecond: number; bytes: number; cpuS: number; p50: number; p99: number }
> {
  await using server = await starting;
  using load = new Load();
  await load.connect(CLIENTS, { port: server.port, store, reading: "walk" });
  await load.call({ name: call, depth: IN_FLIGHT, ms: WARM_MS });
  const before = await load.totals();
  const cpuBeforeMs = server.cpuMs();
  const called = await load.call({ name: call, depth: IN_FLIGHT, ms: MS });
  const cpuMs = server.cpuMs() - cpuBeforeMs;
  const after = await load.totals();
  const unanswered = sum(called.map(({ unanswered }) => unanswered));
  if (after.errors + after.lost + unanswered > 0) {
    throw new Error(
      `${after.errors} calls failed, ${unanswered} had no answer, ${after.lost} clients were lost`,
    );
  }
  const latencies = called.flatMap(({ latencies }) => [...latencies]);
  return {
    perSecond: latencies.length * 1_000 / MS,
    bytes: (after.bytes - before.bytes) / (after.versions - before.versions),
    cpuS: cpuMs / (after.answers - before.answers) * 1_000,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
}
