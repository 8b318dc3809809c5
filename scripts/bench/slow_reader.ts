/**
 * A subscriber that stops to read: what it costs in memory, and whether it is
 * right once it reads again.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { Load } from "./load.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";
import { median, sleep } from "./statistics.ts";

const SUBSCRIBERS = 10;
const HZ = 200;
const SECONDS = 10;
const SAMPLE_MS = 100;
/** The last part of a run, over which memory is taken. */
const SAMPLES = 30;
const CATCH_UP_MS = 5_000;
const MIB = 1024 * 1024;

/** See the module's documentation. */
export const slowReader: Scenario = {
  name: "slow",
  title: "One of ten subscribers stops to read: 20 KB × 200/s for 10 s",
  async run(bench: Bench) {
    // Both at once, since memory depends on the machine's mood and not on the core's load.
    const { pairs } = await bench.measure({
      pairs: async () => {
        const [stalled, even] = await Promise.all([
          measure(bench, true),
          measure(bench, false),
        ]);
        return { stalled, even };
      },
    });
    return [
      toFigure({
        name: "memory beyond the run without it",
        unit: "MiB",
        rounds: pairs.map(({ stalled, even }) =>
          stalled.heldMiB - even.heldMiB
        ),
        target: { of: "value", atMost: 2 },
        note: "RSS at the end, garbage collected, while it still stalls",
      }),
      toFigure({
        name: "memory",
        unit: "MiB",
        rounds: pairs.map(({ stalled }) => stalled.heldMiB),
        baseline: {
          name: "all read",
          rounds: pairs.map(({ even }) => even.heldMiB),
        },
        note: "the same",
      }),
      toFigure({
        name: "memory with garbage",
        unit: "MiB",
        rounds: pairs.map(({ stalled }) => stalled.rssMiB),
        baseline: {
          name: "all read",
          rounds: pairs.map(({ even }) => even.rssMiB),
        },
        note: "RSS, median of the last 3 s",
      }),
      toFigure({
        name: "right after it reads again",
        unit: "of 1",
        rounds: pairs.map(({ stalled }) => stalled.isRight ? 1 : 0),
        target: { of: "value", atLeast: 1 },
      }),
      toFigure({
        name: "messages and parts to it, of 2,200 patches",
        unit: "",
        rounds: pairs.map(({ stalled }) => stalled.messages),
      }),
    ];
  },
};

async function measure(bench: Bench, isStalled: boolean) {
  await using server = await bench.startServer();
  using load = new Load(1);
  using slow = new Load(1);
  const options = { port: server.port, store: "Page" } as const;
  await load.connect(SUBSCRIBERS - 1, { ...options, reading: "count" });
  await slow.connect(1, { ...options, reading: "replica" });
  await server.command("changePagesAtRate", { hz: HZ, count: HZ });
  if (isStalled) await slow.client("pause", 0);
  const samples: number[] = [];
  const sampling = setInterval(
    () => samples.push(server.rssBytes() / MIB),
    SAMPLE_MS,
  );
  await server.command("changePagesAtRate", { hz: HZ, count: HZ * SECONDS });
  clearInterval(sampling);
  await server.command("collect");
  // The allocator gives pages back a little later.
  await sleep(500);
  const heldMiB = server.rssBytes() / MIB;
  if (isStalled) await slow.client("resume", 0);
  const isRight = await hasCaughtUp(server, slow);
  const { messages, lost } = await slow.totals();
  return {
    heldMiB,
    rssMiB: median(samples.slice(-SAMPLES)),
    isRight: isRight && lost === 0,
    messages,
  };
}

async function hasCaughtUp(server: BenchProcess, slow: Load): Promise<boolean> {
  const state = JSON.stringify(await server.command("state", { name: "Page" }));
  const deadline = performance.now() + CATCH_UP_MS;
  while (performance.now() < deadline) {
    if (JSON.stringify((await slow.client("replica", 0)).state) === state) {
      return true;
    }
    await sleep(50);
  }
  return false;
}
