/**
 * Two servers that write to one store: what they get done together, against one
 * of them alone; and what a store that only one of them writes costs the other.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import type { KvCounts } from "./counting_kv.ts";
import { Denokv, findDenokv } from "./denokv.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";
import type { Written } from "./shared_server.ts";
import { sum } from "./statistics.ts";

const DEPTH = 16;
const MS = 1_500;
const IDLE_CHANGES = 2_000;

/** See the module's documentation. */
export const contention: Scenario = {
  name: "contention",
  title:
    `Two servers write to one store, ${DEPTH} changes each in flight; and to stores of their own`,
  notRun: () =>
    findDenokv() === undefined
      ? "the rows on denokv, which is not installed: cargo install denokv --locked"
      : undefined,
  async run(bench: Bench) {
    const figures: Figure[] = [];
    for (const place of placesOf(bench)) {
      const { [place.name]: rounds = [] } = await bench.measure({
        [place.name]: () => place.run(measureContention),
      });
      figures.push(...contentionFigures(place.name, rounds));
    }
    const { bystander } = await bench.measure({
      bystander: () => measureBystander(bench),
    });
    return [...figures, ...bystanderFigures(bystander)];
  },
};

/** One server: its process, and which of the servers there it is. */
interface Writer {
  readonly process: BenchProcess;
  readonly server: number;
}

/** Where two servers share a KV. */
interface Place {
  readonly name: string;
  run<T>(measure: (writers: readonly Writer[]) => Promise<T>): Promise<T>;
}

function placesOf(bench: Bench): Place[] {
  const places: Place[] = [
    {
      name: "one process, a KV file",
      async run(measure) {
        const kv = bench.newKvPath();
        await using process = await bench.startSharedServer({ kv, servers: 2 });
        return await measure([{ process, server: 0 }, { process, server: 1 }]);
      },
    },
    {
      name: "two processes, a KV file",
      run: (measure) => inTwo(bench, { kv: bench.newKvPath() }, measure),
    },
  ];
  if (findDenokv() === undefined) return places;
  return [...places, {
    name: "two processes, denokv",
    async run(measure) {
      await using denokv = await Denokv.start();
      return await inTwo(bench, { kv: denokv.url, env: denokv.env }, measure);
    },
  }];
}

async function inTwo<T>(
  bench: Bench,
  options: { kv: string; env?: Record<string, string> },
  measure: (writers: readonly Writer[]) => Promise<T>,
): Promise<T> {
  await using one = await bench.startSharedServer(options);
  await using two = await bench.startSharedServer(options);
  return await measure([
    { process: one, server: 0 },
    { process: two, server: 0 },
  ]);
}

/** What was measured in one place. */
interface Contention {
  /** Changes a second by one server alone. */
  readonly alone: number;
  /** By both together. */
  readonly together: number;
  /** The part of it that the slower one had. */
  readonly share: number;
  readonly conflictsPerCommit: number;
  readonly retriesPerCommit: number;
}

async function measureContention(
  writers: readonly Writer[],
): Promise<Contention> {
  const [first] = writers as [Writer];
  for (const store of ["warm", "one", "both"]) {
    for (const writer of writers) await command(writer, "load", { store });
  }
  await write([first], "warm");
  const alone = await write([first], "one");
  const together = await write(writers, "both");
  const { commits, conflicts, failures } = together.counts;
  const total = sum(together.rates);
  return {
    alone: sum(alone.rates),
    together: total,
    share: Math.min(...together.rates) / total,
    conflictsPerCommit: conflicts / commits,
    retriesPerCommit: failures / commits,
  };
}

function contentionFigures(
  place: string,
  rounds: readonly Contention[],
): Figure[] {
  return [
    toFigure({
      name: `${place}: both together`,
      unit: "changes/s",
      rounds: rounds.map(({ together }) => together),
      baseline: {
        name: "one server alone",
        rounds: rounds.map(({ alone }) => alone),
      },
      target: { of: "ratio", atLeast: 0.5 },
    }),
    toFigure({
      name: "… share of the one that got less",
      unit: "",
      rounds: rounds.map(({ share }) => share),
      target: { of: "value", atLeast: 0.2 },
    }),
    toFigure({
      name: "… conflicts per commit",
      unit: "",
      rounds: rounds.map(({ conflictsPerCommit }) => conflictsPerCommit),
      target: { of: "value", atMost: 0.5 },
    }),
    toFigure({
      name: "… retries per commit",
      unit: "",
      rounds: rounds.map(({ retriesPerCommit }) => retriesPerCommit),
    }),
  ];
}

/** What a server does while another one writes. */
interface Bystander {
  readonly readsPerCommit: Readonly<Record<"unloaded" | "loaded", number>>;
  readonly commits: number;
  /** Milliseconds for each thousand changes. */
  readonly cpu: Readonly<Record<"writer" | "unloaded" | "loaded", number>>;
}

async function measureBystander(bench: Bench): Promise<Bystander> {
  const kv = bench.newKvPath();
  await using process = await bench.startSharedServer({ kv });
  await using other = await bench.startSharedServer({ kv });
  const a = { process, server: 0 };
  const b = { process: other, server: 0 };
  await command(a, "load", { store: "unloaded" });
  for (const writer of [a, b]) {
    await command(writer, "load", { store: "loaded" });
  }
  await write([a], "warm");
  const unloaded = await observe(a, b, "unloaded");
  const loaded = await observe(a, b, "loaded");
  return {
    readsPerCommit: { unloaded: unloaded.reads, loaded: loaded.reads },
    commits: unloaded.commits + loaded.commits,
    cpu: {
      writer: unloaded.writerCpu,
      unloaded: unloaded.cpu,
      loaded: loaded.cpu,
    },
  };
}

async function observe(a: Writer, b: Writer, store: string) {
  const [countsA, countsB] = [await countsOf(a), await countsOf(b)];
  const [cpuA, cpuB] = [a.process.cpuMs(), b.process.cpuMs()];
  await command(a, "writeInTurn", { store, count: IDLE_CHANGES });
  const commits = minus(await countsOf(a), countsA).commits;
  const done = minus(await countsOf(b), countsB);
  const perThousand = 1000 / IDLE_CHANGES;
  return {
    reads: done.reads / commits,
    commits: done.commits + done.conflicts,
    cpu: (b.process.cpuMs() - cpuB) * perThousand,
    writerCpu: (a.process.cpuMs() - cpuA) * perThousand,
  };
}

function bystanderFigures(rounds: readonly Bystander[]): Figure[] {
  const baseline = {
    name: "the server that writes",
    rounds: rounds.map(({ cpu }) => cpu.writer),
  };
  const states = ["unloaded", "loaded"] as const;
  return [
    ...states.flatMap((state) => [
      toFigure({
        name: `a store written elsewhere, ${state}: reads per commit`,
        unit: "",
        rounds: rounds.map(({ readsPerCommit }) => readsPerCommit[state]),
        target: { of: "value", atMost: 2 },
      }),
      toFigure({
        name: "… CPU of 1,000 changes",
        unit: "ms",
        rounds: rounds.map(({ cpu }) => cpu[state]),
        baseline,
      }),
    ]),
    toFigure({
      name: "… commits of its own, in both",
      unit: "",
      rounds: rounds.map(({ commits }) => commits),
      target: { of: "value", atMost: 0 },
    }),
  ];
}

/** Lets all write to the store for a while. */
async function write(
  writers: readonly Writer[],
  store: string,
): Promise<{ rates: number[]; counts: KvCounts }> {
  const before = await Promise.all(writers.map(countsOf));
  const written = await Promise.all(
    writers.map((writer) =>
      command<Written>(writer, "write", { store, depth: DEPTH, ms: MS })
    ),
  );
  const after = await Promise.all(writers.map(countsOf));
  const counts = after.map((count, index) => minus(count, before[index]!)); // as many
  return {
    rates: written.map(({ mutations, ms }) => mutations * 1000 / ms),
    counts: counts.reduce(plus),
  };
}

function command<T = void>(
  { process, server }: Writer,
  name: string,
  args: object = {},
): Promise<T> {
  return process.command<T>(name, { server, ...args });
}

function countsOf(writer: Writer): Promise<KvCounts> {
  return command<KvCounts>(writer, "counts");
}

function plus(a: KvCounts, b: KvCounts): KvCounts {
  return merge(a, b, 1);
}

function minus(a: KvCounts, b: KvCounts): KvCounts {
  return merge(a, b, -1);
}

function merge(a: KvCounts, b: KvCounts, sign: 1 | -1): KvCounts {
  return {
    commits: a.commits + sign * b.commits,
    conflicts: a.conflicts + sign * b.conflicts,
    failures: a.failures + sign * b.failures,
    reads: a.reads + sign * b.reads,
    entries: a.entries + sign * b.entries,
    rings: a.rings + sign * b.rings,
  };
}
