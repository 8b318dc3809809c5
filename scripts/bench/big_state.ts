/**
 * A large state: what one change, one newcomer and one return cost.
 *
 * @module
 */
import type { BenchProcess } from "./bench_process.ts";
import { drive } from "./drive.ts";
import { Load } from "./load.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";
import { median, sleep } from "./statistics.ts";

const ITEMS = 10_000;
const WARM = 1_000;
const COUNT = 1_000;
/** Changes are also made so seldom that the process sleeps in between. */
const HZ = 200;
const NEWCOMERS = 40;
const MISSED = 10;

/** See the module's documentation. */
export const bigState: Scenario = {
  name: "big",
  title: "10,000 items, about 1 MB",
  async run(bench: Bench) {
    const { headwater, bare } = await bench.measure({
      bare: () => measureBare(bench),
      headwater: () => measureHeadwater(bench),
    });
    const bareName = "bare server, one KV commit each";
    return [
      toFigure({
        name: "server CPU per update of one field",
        unit: "ms",
        rounds: headwater.map(({ updateMs }) => updateMs),
        baseline: {
          name: bareName,
          rounds: bare.map(({ updateMs }) => updateMs),
        },
        target: { of: "value", atMost: 0.6 },
        note: "one after the other",
      }),
      toFigure({
        name: "the same at 200/s",
        unit: "ms",
        rounds: headwater.map(({ seldomMs }) => seldomMs),
        baseline: {
          name: bareName,
          rounds: bare.map(({ seldomMs }) => seldomMs),
        },
        note: "with what waking up costs",
      }),
      toFigure({
        name: "bytes per update and subscriber",
        unit: "B",
        rounds: headwater.map(({ bytes }) => bytes),
        baseline: { name: bareName, rounds: bare.map(({ bytes }) => bytes) },
        target: { of: "value", atMost: 30 },
      }),
      toFigure({
        name: "server CPU per newcomer",
        unit: "ms",
        rounds: headwater.map(({ joinMs }) => joinMs),
        baseline: { name: bareName, rounds: bare.map(({ joinMs }) => joinMs) },
        target: { of: "value", atMost: 8 },
      }),
      toFigure({
        name: "resume after 10 missed changes",
        unit: "B",
        rounds: headwater.map(({ resumeBytes }) => resumeBytes),
        baseline: {
          name: bareName,
          rounds: bare.map(({ resumeBytes }) => resumeBytes),
        },
        target: { of: "value", atMost: 500 },
        note: "welcome and headers included",
      }),
    ];
  },
};

async function measureHeadwater(bench: Bench) {
  await using server = await bench.startServer({ items: ITEMS });
  const common = await measureCommon(server);
  return { ...common, resumeBytes: await measureResume(server) };
}

async function measureBare(bench: Bench) {
  await using server = await bench.startRawServer({
    items: ITEMS,
    kv: bench.newKvPath(),
  });
  // It cannot resume: whoever comes back is a newcomer.
  const common = await measureCommon(server);
  return { ...common, resumeBytes: common.joinBytes };
}

async function measureCommon(server: BenchProcess) {
  using load = new Load(1);
  const options = {
    port: server.port,
    store: "Board",
    reading: "count",
  } as const;
  await load.connect(1, options);
  await server.command("changeItems", { count: WARM });
  const { cpuMs, bytes } = await measureUpdates(server, load);
  const seldom = await drive(server, load, {
    subscribers: 1,
    hz: HZ,
    ms: 3_000,
  });
  // The first newcomer after a change makes the snapshot; the others find it.
  using first = new Load(1);
  await first.connect(1, options);
  await sleep(200);
  using newcomers = new Load(1);
  const cpuBeforeMs = server.cpuMs();
  const joined = await newcomers.connect(NEWCOMERS, { ...options, lanes: 2 });
  const joinMs = (server.cpuMs() - cpuBeforeMs) / NEWCOMERS;
  return {
    updateMs: cpuMs,
    seldomMs: seldom.cpuMs / seldom.updates,
    bytes,
    joinMs,
    joinBytes: median(joined.map(({ bytes }) => bytes)),
  };
}

/** Changes one after the other, each when the one before is committed. */
async function measureUpdates(server: BenchProcess, load: Load) {
  await sleep(200);
  const before = await load.totals();
  const cpuBeforeMs = server.cpuMs();
  await server.command("changeItems", { count: COUNT });
  const cpuMs = (server.cpuMs() - cpuBeforeMs) / COUNT;
  await sleep(200);
  const after = await load.totals();
  const messages = after.messages - before.messages;
  if (messages !== COUNT) {
    throw new Error(`${COUNT} updates were ${messages} messages`);
  }
  return { cpuMs, bytes: (after.bytes - before.bytes) / COUNT };
}

async function measureResume(server: BenchProcess): Promise<number> {
  using load = new Load(1);
  const options = {
    port: server.port,
    store: "Board",
    reading: "replica",
  } as const;
  await load.connect(1, options);
  const { token } = await load.client("replica", 0);
  await load.close();
  await server.command("changeItems", { count: MISSED });
  const [joined] = await load.connect(1, { ...options, token });
  const { token: { version } } = await load.client("replica", 0);
  if (version !== token.version + MISSED) {
    throw new Error(
      `Resumed at version ${version}, not ${token.version + MISSED}`,
    );
  }
  return joined!.bytes; // one client was connected
}
