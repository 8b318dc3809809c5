/**
 * Fan-out: what a delivery costs when each update is one frame.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { drive } from "./drive.ts";
import { Load } from "./load.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";

const SUBSCRIBERS = 1_000;
const ITEMS = 20;
/** What one core can bear with room to spare, so that both servers have the same rate. */
const HZ = 50;

/** See the module's documentation. */
export const fanout: Scenario = {
  name: "fanout",
  title: "Fan-out: 1,000 subscribers, 2 KB state, one frame per update",
  async run(bench: Bench) {
    const { headwater, bare } = await bench.measure({
      bare: () => measureDeliveries(bench.startRawServer({ items: ITEMS })),
      headwater: () =>
        measureDeliveries(
          bench.startServer({ items: ITEMS, limits: { fanoutMs: 0 } }),
        ),
    });
    return [
      toFigure({
        name: "server CPU per million deliveries",
        unit: "s",
        rounds: headwater.map(({ cpuS }) => cpuS),
        baseline: {
          name: "bare socket.send loop",
          rounds: bare.map(({ cpuS }) => cpuS),
        },
        target: { of: "ratio", atMost: 1.25 },
      }),
      toFigure({
        name: "bytes per delivery",
        unit: "B",
        rounds: headwater.map(({ bytes }) => bytes),
        baseline: {
          name: "bare socket.send loop",
          rounds: bare.map(({ bytes }) => bytes),
        },
      }),
      toFigure({
        name: "updates a second",
        unit: "/s",
        rounds: headwater.map(({ hz }) => hz),
        baseline: {
          name: "bare socket.send loop",
          rounds: bare.map(({ hz }) => hz),
        },
        note: `${HZ}/s asked for, at most 16 on their way`,
      }),
    ];
  },
};

/** What a delivery costs the server that is starting. */
export async function measureDeliveries(
  starting: Promise<BenchProcess>,
): Promise<{ cpuS: number; bytes: number; hz: number }> {
  await using server = await starting;
  using load = new Load();
  await load.connect(SUBSCRIBERS, {
    port: server.port,
    store: "Board",
    reading: "count",
  });
  await drive(server, load, { subscribers: SUBSCRIBERS, hz: HZ, ms: 1_500 });
  const driven = await drive(server, load, {
    subscribers: SUBSCRIBERS,
    hz: HZ,
    ms: 4_000,
  });
  return {
    cpuS: driven.cpuMs / driven.deliveries * 1_000,
    bytes: driven.bytesPerDelivery,
    hz: driven.updates * 1_000 / driven.elapsedMs,
  };
}
