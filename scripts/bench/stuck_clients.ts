/**
 * Clients that read nothing beside others that do: what they cost in memory, and
 * whether the others notice.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { Load } from "./load.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";
import { percentile, sleep } from "./statistics.ts";

const READING = 100;
const HZ = 25;
/** Of 20 KB each: to those that read alone they amount to 1 GB. */
const CHANGES = 525;
const PAGE_KB = 20;
const CATCH_UP_MS = 20_000;
const MIB = 1024 * 1024;

/** What is put on one server. */
export interface StuckLoad {
  /** Clients that read. */
  readonly reading: number;
  /** Clients that have stopped to read. */
  readonly stalled: number;
  /** Changes a second, and how many. */
  readonly hz: number;
  readonly changes: number;
}

/** What became of it. */
export interface StuckReport {
  /** Resident memory of the server while the others still stall, garbage collected. */
  readonly heldMiB: number;
  /** From a change to a client that reads, in milliseconds. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How many do not keep up, as the server sees it. */
  readonly slow: number;
  /** How many of those that stalled have the whole state once they read again. */
  readonly caughtUp: number;
}

/** See the module's documentation. */
export const stuckClients: Scenario = {
  name: "stuck",
  title:
    `1 and 100 stalled among ${READING} that read: ${PAGE_KB} KB × ${HZ}/s × ${CHANGES}, 1 to 2 GB offered`,
  async run(bench: Bench) {
    const load = { reading: READING, hz: HZ, changes: CHANGES };
    // All at once, so that the machine's mood is the same for each.
    const { runs } = await bench.measure({
      runs: async () => {
        const [none, one, hundred] = await Promise.all(
          [0, 1, 100].map((stalled) =>
            measureStuck(bench.startServer(), { ...load, stalled })
          ),
        );
        return { none: none!, one: one!, hundred: hundred! }; // as many as above
      },
    });
    return [
      ...(["one", "hundred"] as const).flatMap((name) => {
        const stalled = name === "one" ? 1 : 100;
        const offeredGb = CHANGES * PAGE_KB * (READING + stalled) / 1e6;
        return [
          toFigure({
            name: `${stalled} stalled: memory beyond the run without`,
            unit: "MiB",
            rounds: runs.map((run) => run[name].heldMiB - run.none.heldMiB),
            target: { of: "value", atMost: 32 },
            note: `RSS, garbage collected; ${offeredGb.toFixed(1)} GB offered`,
          }),
          toFigure({
            name: `${stalled} stalled: p99 of those that read`,
            unit: "ms",
            rounds: runs.map((run) => run[name].p99Ms),
            baseline: {
              name: "none stalled",
              rounds: runs.map(({ none }) => none.p99Ms),
            },
            target: { of: "ratio", atMost: 2 },
          }),
          toFigure({
            name: `${stalled} stalled: right after reading again`,
            unit: `of ${stalled}`,
            rounds: runs.map((run) => run[name].caughtUp),
            target: { of: "value", atLeast: stalled },
          }),
        ];
      }),
      toFigure({
        name: "none stalled: memory",
        unit: "MiB",
        rounds: runs.map(({ none }) => none.heldMiB),
      }),
      toFigure({
        name: "none stalled: p50 of those that read",
        unit: "ms",
        rounds: runs.map(({ none }) => none.p50Ms),
      }),
    ];
  },
};

/** Loads a server; measures while the others stall, then lets them read again. */
export async function measureStuck(
  starting: Promise<BenchProcess>,
  { reading, stalled, hz, changes }: StuckLoad,
): Promise<StuckReport> {
  await using server = await starting;
  using readers = new Load(1);
  using stuck = new Load(1);
  const options = {
    port: server.port,
    store: "Page",
    reading: "replica",
  } as const;
  await readers.connect(reading, options);
  await stuck.connect(stalled, options);
  const { token } = await readers.client("replica", 0);
  // Whatever is compiled and allocated once must not count.
  await server.command("changePagesAtRate", { hz, count: hz });
  const clients = Array.from({ length: stalled }, (_, client) => client);
  await Promise.all(clients.map((client) => stuck.client("pause", client)));
  const startedMs = await server.command<number[]>("changePagesAtRate", {
    hz,
    count: changes,
  });
  const first = token.version + hz + 1;
  const latencies = await latenciesOf(readers, reading, { startedMs, first });
  const slow = await slowOf(server, stalled);
  await server.command("collect");
  // The allocator gives pages back a little later.
  await sleep(500);
  const heldMiB = await server.command<number>("memory") / MIB;
  await Promise.all(clients.map((client) => stuck.client("resume", client)));
  return {
    heldMiB,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    slow,
    caughtUp: await countCaughtUp(server, stuck, clients),
  };
}

/** How long each change took to each client. One that was merged came with the next. */
async function latenciesOf(
  load: Load,
  clients: number,
  { startedMs, first }: { startedMs: readonly number[]; first: number },
): Promise<number[]> {
  const last = first + startedMs.length - 1;
  const latencies: number[] = [];
  for (let client = 0; client < clients; client++) {
    const deadline = performance.now() + CATCH_UP_MS;
    let { token, arrivals } = await load.client("replica", client);
    while (token.version < last && performance.now() < deadline) {
      await sleep(20);
      ({ token, arrivals } = await load.client("replica", client));
    }
    if (token.version < last) {
      throw new Error(`A client that reads is at ${token.version} of ${last}`);
    }
    let version = first;
    for (const arrival of arrivals) {
      for (; version <= arrival.version; version++) {
        latencies.push(arrival.ms - startedMs[version - first]!); // up to the last
      }
    }
  }
  return latencies;
}

/** How many do not keep up, once those that read have. */
async function slowOf(
  { port }: BenchProcess,
  expected: number,
): Promise<number> {
  const deadline = performance.now() + CATCH_UP_MS;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/health`);
    const { slow } = await response.json() as { slow: number }; // our own server
    if (slow === expected || performance.now() > deadline) return slow;
    await sleep(20);
  }
}

async function countCaughtUp(
  server: BenchProcess,
  load: Load,
  clients: readonly number[],
): Promise<number> {
  const state = JSON.stringify(await server.command("state", { name: "Page" }));
  const deadline = performance.now() + CATCH_UP_MS;
  let left = [...clients];
  while (left.length > 0 && performance.now() < deadline) {
    const states = await Promise.all(left.map(async (client) => {
      const replica = await load.client("replica", client);
      return JSON.stringify(replica.state);
    }));
    left = left.filter((_, index) => states[index] !== state);
    if (left.length > 0) await sleep(50);
  }
  return clients.length - left.length;
}
