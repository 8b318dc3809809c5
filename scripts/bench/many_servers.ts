/**
 * Servers in processes of their own on one denokv: how late a change on one is
 * seen by clients of the others, and within the one.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { Denokv, findDenokv } from "./denokv.ts";
import { Load } from "./load.ts";
import {
  type Bench,
  type Figure,
  type Scenario,
  toFigure,
} from "./scenario.ts";
import { percentile, sleep } from "./statistics.ts";

const SERVERS = 3;
const CLIENTS_PER_SERVER = 20;
const STORE = "Board:shared";
const HZ = 40;
const WARM = 40;
const COUNT = 200;
const ARRIVAL_MS = 10_000;

/** See the module's documentation. */
export const manyServers: Scenario = {
  name: "many",
  title:
    `${SERVERS} servers on one denokv, ${CLIENTS_PER_SERVER} clients each: a change on A, seen by clients`,
  async run(bench: Bench) {
    if (findDenokv() === undefined) {
      throw new Error("denokv is not installed: cargo install denokv --locked");
    }
    const { latencies } = await bench.measure({
      latencies: () => measure(bench),
    });
    return [
      figureOf("p50", { rounds: latencies, atMost: 20 }),
      figureOf("p99", { rounds: latencies }),
    ];
  },
};

/** Milliseconds of all changes at all clients. */
interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly ownP50: number;
  readonly ownP99: number;
}

function figureOf(
  part: "p50" | "p99",
  { rounds, atMost }: { rounds: readonly Latencies[]; atMost?: number },
): Figure {
  const own = part === "p50" ? "ownP50" : "ownP99";
  return toFigure({
    name: `clients of the other servers, ${part}`,
    unit: "ms",
    rounds: rounds.map((round) => round[part]),
    baseline: {
      name: "clients of A",
      rounds: rounds.map((round) => round[own]),
    },
    ...(atMost !== undefined && { target: { of: "value", atMost } as const }),
  });
}

async function measure(bench: Bench): Promise<Latencies> {
  await using denokv = await Denokv.start();
  await using stack = new AsyncDisposableStack();
  const servers: BenchProcess[] = [];
  for (let n = 0; n < SERVERS; n++) {
    servers.push(stack.use(
      await bench.startSharedServer({ kv: denokv.url, env: denokv.env }),
    ));
  }
  const loads: Load[] = [];
  for (const { port } of servers) {
    const load = stack.use(new Load(1));
    const options = { port, store: STORE, reading: "replica" } as const;
    await load.connect(CLIENTS_PER_SERVER, options);
    loads.push(load);
  }
  const [a] = servers as [BenchProcess];
  const [own, ...others] = loads as [Load, ...Load[]];
  await a.command("writeAtRate", { store: STORE, hz: HZ, count: WARM });
  const { token } = await own.client("replica", 0);
  // All that was written before has to be there: the versions are counted from it.
  const first = Math.max(token.version, WARM + 1) + 1;
  const times = await a.command<number[]>("writeAtRate", {
    store: STORE,
    hz: HZ,
    count: COUNT,
  });
  const seen = await latenciesOf(others, times, first);
  const ownSeen = await latenciesOf([own], times, first);
  return {
    p50: percentile(seen, 0.5),
    p99: percentile(seen, 0.99),
    ownP50: percentile(ownSeen, 0.5),
    ownP99: percentile(ownSeen, 0.99),
  };
}

/** For each change and client the time until a patch came that contains it. */
async function latenciesOf(
  loads: readonly Load[],
  times: readonly number[],
  first: number,
): Promise<number[]> {
  const all: number[] = [];
  for (const load of loads) {
    for (let client = 0; client < CLIENTS_PER_SERVER; client++) {
      const arrivals = await arrivalsAt(load, client, first + times.length - 1);
      for (const [index, ms] of times.entries()) {
        const arrival = arrivals.find(({ version }) =>
          version >= first + index
        );
        all.push(arrival ? arrival.ms - ms : NaN);
      }
    }
  }
  return all;
}

/** What came to the client, once it is at that version. */
async function arrivalsAt(load: Load, client: number, version: number) {
  const deadline = performance.now() + ARRIVAL_MS;
  for (;;) {
    const { token, arrivals } = await load.client("replica", client);
    if (token.version >= version) return arrivals;
    if (performance.now() > deadline) {
      throw new Error(`Version ${version} has not come`);
    }
    await sleep(20);
  }
}
