/**
 * Two servers over one KV file: how late a change on one is seen by a client of
 * the other.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { Load } from "./load.ts";
import type { ReplicaReport } from "./load_commands.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";
import { percentile, sleep } from "./statistics.ts";

const HZ = 40;
const WARM = 40;
const COUNT = 160;
const ARRIVAL_MS = 5_000;

/** See the module's documentation. */
export const twoServers: Scenario = {
  name: "servers",
  title: "Two servers over one KV file: a change on A, seen by a client of B",
  async run(bench: Bench) {
    const { together, apart } = await bench.measure({
      together: () => measureTogether(bench),
      apart: () => measureApart(bench),
    });
    return [
      ...figuresOf("one process", together),
      ...figuresOf("two processes", apart),
    ];
  },
};

type Latencies = Readonly<Record<"p50" | "p99" | "ownP50" | "ownP99", number>>;

function figuresOf(title: string, rounds: readonly Latencies[]): Figure[] {
  const name = "a client of A";
  return [
    toFigure({
      name: `${title}: latency, p50`,
      unit: "ms",
      rounds: rounds.map(({ p50 }) => p50),
      baseline: { name, rounds: rounds.map(({ ownP50 }) => ownP50) },
      target: { of: "value", atMost: 5 },
    }),
    toFigure({
      name: `${title}: latency, p99`,
      unit: "ms",
      rounds: rounds.map(({ p99 }) => p99),
      baseline: { name, rounds: rounds.map(({ ownP99 }) => ownP99) },
    }),
  ];
}

async function measureTogether(bench: Bench): Promise<Latencies> {
  await using server = await bench.startServer({ servers: 2 });
  return await measure(server, server.ready.ports);
}

async function measureApart(bench: Bench): Promise<Latencies> {
  const kv = bench.newKvPath();
  await using a = await bench.startServer({ kv });
  await using b = await bench.startServer({ kv });
  return await measure(a, [a.port, b.port]);
}

async function measure(
  server: BenchProcess,
  [portA = 0, portB = 0]: readonly number[],
): Promise<Latencies> {
  using own = new Load(1);
  using other = new Load(1);
  await own.connect(1, { port: portA, store: "Board", reading: "replica" });
  await other.connect(1, { port: portB, store: "Board", reading: "replica" });
  const { token } = await own.client("replica", 0);
  await server.command("changeItemsAtRate", { hz: HZ, count: WARM });
  const first = token.version + WARM + 1;
  const times = await server.command<number[]>("changeItemsAtRate", {
    hz: HZ,
    count: COUNT,
  });
  const seen = latencies(
    times,
    first,
    await reportAt(other, first + COUNT - 1),
  );
  const ownSeen = latencies(
    times,
    first,
    await reportAt(own, first + COUNT - 1),
  );
  return {
    p50: percentile(seen, 0.5),
    p99: percentile(seen, 0.99),
    ownP50: percentile(ownSeen, 0.5),
    ownP99: percentile(ownSeen, 0.99),
  };
}

/** What the client has, once it is at that version. */
async function reportAt(load: Load, version: number): Promise<ReplicaReport> {
  const deadline = performance.now() + ARRIVAL_MS;
  for (;;) {
    const report = await load.client("replica", 0);
    if (report.token.version >= version) return report;
    if (performance.now() > deadline) {
      throw new Error(`Version ${version} has not come`);
    }
    await sleep(20);
  }
}

/** For each change the time until a patch came that contains it. */
function latencies(
  times: readonly number[],
  first: number,
  { arrivals }: ReplicaReport,
): number[] {
  return times.map((ms, index) => {
    const arrival = arrivals.find(({ version }) => version >= first + index);
    return arrival ? arrival.ms - ms : NaN;
  });
}
