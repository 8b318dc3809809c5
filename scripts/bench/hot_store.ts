/**
 * A hot store: what gathering the patches of 16 ms saves.
 *
 * @module
 */
import { drive } from "./drive.ts";
import { Load } from "./load.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";
import { sleep } from "./statistics.ts";

const SUBSCRIBERS = 1_000;
const ITEMS = 20;
const HZ = 200;
const COUNT = 800;

/** See the module's documentation. */
export const hotStore: Scenario = {
  name: "hot",
  title: "Hot store: 200 updates/s to 1,000 subscribers, gathered for 16 ms",
  async run(bench: Bench) {
    const { gathered, apart } = await bench.measure({
      apart: () => measureApart(bench),
      gathered: () => measureGathered(bench),
    });
    return [
      toFigure({
        name: "server CPU per million updates × subscribers",
        unit: "s",
        rounds: gathered.map(({ cpuS }) => cpuS),
        baseline: {
          name: "one frame per update",
          rounds: apart.map(({ cpuS }) => cpuS),
        },
        target: { of: "ratio", atMost: 0.3 },
        note:
          "the baseline is driven in a closed loop: at 200/s a core would not bear it",
      }),
      toFigure({
        name: "messages per update and subscriber",
        unit: "",
        rounds: gathered.map(({ messages }) => messages),
        baseline: {
          name: "one frame per update",
          rounds: apart.map(({ messages }) => messages),
        },
      }),
      toFigure({
        name: "bytes per update and subscriber",
        unit: "B",
        rounds: gathered.map(({ bytes }) => bytes),
        baseline: {
          name: "one frame per update",
          rounds: apart.map(({ bytes }) => bytes),
        },
      }),
      toFigure({
        name: "last update after its time",
        unit: "ms",
        rounds: gathered.map(({ lagMs }) => lagMs),
      }),
    ];
  },
};

async function measureGathered(bench: Bench) {
  await using server = await bench.startServer({ items: ITEMS });
  using load = new Load();
  using witness = new Load(1);
  await witness.connect(1, {
    port: server.port,
    store: "Board",
    reading: "replica",
  });
  await load.connect(SUBSCRIBERS - 1, {
    port: server.port,
    store: "Board",
    reading: "count",
  });
  const { token: start } = await witness.client("replica", 0);
  await server.command("changeItemsAtRate", { hz: HZ, count: HZ });
  await sleep(200);
  const before = await load.totals();
  const cpuBeforeMs = server.cpuMs();
  const times = await server.command<number[]>("changeItemsAtRate", {
    hz: HZ,
    count: COUNT,
  });
  await sleep(200);
  const cpuMs = server.cpuMs() - cpuBeforeMs;
  const after = await load.totals();
  const { token, arrivals } = await witness.client("replica", 0);
  const last = start.version + HZ + COUNT;
  if (token.version !== last) {
    throw new Error(`A subscriber is at version ${token.version}, not ${last}`);
  }
  return {
    cpuS: cpuMs / COUNT / SUBSCRIBERS * 1_000,
    messages: (after.messages - before.messages) / COUNT / (SUBSCRIBERS - 1),
    bytes: (after.bytes - before.bytes) / COUNT / (SUBSCRIBERS - 1),
    lagMs: arrivals.at(-1)!.ms - times.at(-1)!, // it has received the last version
  };
}

async function measureApart(bench: Bench) {
  await using server = await bench.startServer({
    items: ITEMS,
    limits: { fanoutMs: 0 },
  });
  using load = new Load();
  await load.connect(SUBSCRIBERS, {
    port: server.port,
    store: "Board",
    reading: "count",
  });
  await drive(server, load, { subscribers: SUBSCRIBERS, hz: HZ, ms: 1_000 });
  const driven = await drive(server, load, {
    subscribers: SUBSCRIBERS,
    hz: HZ,
    ms: 4_000,
  });
  return {
    cpuS: driven.cpuMs / driven.deliveries * 1_000,
    messages: driven.deliveries / driven.updates / SUBSCRIBERS,
    bytes: driven.bytesPerDelivery,
    lagMs: 0,
  };
}
