/** The test kit: what users get as `./testing`. */
import assert from "node:assert/strict";
import {
  createSimulation,
  SeededRandom,
  type Server,
  type Simulation,
  VirtualClock,
} from "@headwater/sync/testing";
import { runHistory } from "./simulation/history.ts";

interface Counter {
  count: number;
}

function defineCounter(server: Server): void {
  const counter = server.createStore<Counter>("Counter", { count: 0 });
  server.handle("add", async ({ by }: { by: number }) => {
    const { value } = await counter.update((draft) => draft.count += by);
    return value;
  });
}

/** Everything that a client is sent and sends, with its time. */
async function traceOf(seed: number): Promise<string[]> {
  const trace: string[] = [];
  await using simulation = createSimulation({ seed });
  await simulation.startServer(defineCounter);
  simulation.network.faults.latencyMs = [1, 100];
  simulation.kv.faults.latencyMs = [0, 10];
  const { client } = simulation.createClient();
  const handle = client.subscribe<Counter>("Counter", ({ count }) => {
    trace.push(`${simulation.clock.elapsedMs} ${count}`);
  });
  await simulation.until(handle.ready());
  for (let i = 0; i < 5; i++) {
    client.call("add", { by: simulation.random.integer(1, 9) });
    await simulation.advance(simulation.random.integer(1, 50));
  }
  await simulation.until(() => client.unackedCount === 0);
  return trace;
}

Deno.test("createSimulation() gives the same run for the same seed, and another for another", async () => {
  const trace = await traceOf(5);
  assert.ok(trace.length > 2);
  assert.deepEqual(await traceOf(5), trace);
  assert.notDeepEqual(await traceOf(6), trace);
});

Deno.test("runHistory() is the same for the same seed", async () => {
  assert.deepEqual(await runHistory(11), await runHistory(11));
});

Deno.test("Simulation: a client outlives its server, and a call its connection", async () => {
  await using simulation = createSimulation({ seed: 2 });
  const server = await simulation.startServer(defineCounter);
  const { client } = simulation.createClient();
  const handle = client.subscribe<Counter>("Counter");
  assert.equal(await simulation.until(client.call("add", { by: 2 })), 2);
  server.crash();
  const answer = client.call("add", { by: 3 });
  await simulation.advance(3_000);
  assert.notEqual(client.status, "connected");
  await simulation.startServer(defineCounter);
  assert.equal(await simulation.until(answer), 5);
  assert.deepEqual(handle.getState(), { count: 5 });
});

Deno.test("Simulation.until() throws when it takes too long, and passes a rejection on", async () => {
  await using simulation = createSimulation();
  await assert.rejects(
    simulation.until(() => false, { limitMs: 1_000 }),
    /within 1000 ms/,
  );
  assert.equal(simulation.clock.elapsedMs, 1_000);
  const { client } = simulation.createClient({ rpcTimeoutMs: 50 });
  await assert.rejects(simulation.until(client.call("add")), {
    code: "timeout",
  });
});

Deno.test("SimulatedServer.crash() ends its connections, watch and timers at once", async () => {
  await using simulation = createSimulation();
  const server = await simulation.startServer(defineCounter);
  const { client } = simulation.createClient();
  await simulation.until(client.ready());
  assert.equal(simulation.kv.watches, 1);
  server.crash();
  assert.equal(simulation.kv.watches, 0);
  assert.equal(server.clock.pendingTimers, 0);
  assert.deepEqual(simulation.servers, []);
});

Deno.test("SimulatedServer.links and SimulatedClient.links are those of that process alone", async () => {
  await using simulation = createSimulation();
  const [north, south] = [
    await simulation.startServer(defineCounter, { name: "north" }),
    await simulation.startServer(defineCounter, { name: "south" }),
  ];
  const [ada, bob, eve] = ["north", "south", "south"].map((server) =>
    simulation.createClient({ server })
  );
  assert.ok(ada && bob && eve);
  assert.deepEqual(ada.links, []);
  for (const { client } of [ada, bob, eve]) {
    await simulation.until(client.ready());
  }
  assert.deepEqual(north.links, ada.links);
  assert.deepEqual(south.links, [...bob.links, ...eve.links]);
  assert.deepEqual(
    [...simulation.network.links],
    [...north.links, ...south.links],
  );
  for (const link of bob.links) link.cut();
  await simulation.advance(1);
  assert.deepEqual(
    [ada, bob, eve].map(({ client }) => client.status),
    ["connected", "reconnecting", "connected"],
  );
});

Deno.test("Simulation.heal() lets those go on who are suspended, servers and clients", async () => {
  await using simulation = createSimulation();
  const server = await simulation.startServer(defineCounter);
  const running = simulation.createClient({ rpcTimeoutMs: Infinity });
  await simulation.until(running.client.ready());
  for (const { clock } of [server, running]) {
    clock.suspend();
    const call = running.client.call("add", { by: 1 });
    await assert.rejects(
      simulation.until(call, { limitMs: 20_000 }),
      /within 20000 ms/,
    );
    simulation.heal();
    await simulation.until(call);
  }
});

Deno.test("Simulation: an application survives that its KV is set back to a backup", async () => {
  await using simulation = createSimulation();
  const first = await simulation.startServer(defineCounter);
  const { client } = simulation.createClient();
  const handle = client.subscribe<Counter>("Counter");
  await simulation.until(client.call("add", { by: 2 }));
  const backup = simulation.kv.backup();
  await simulation.until(client.call("add", { by: 40 }));
  assert.deepEqual(handle.getState(), { count: 42 });
  first.crash();
  simulation.kv.restore(backup);
  await simulation.startServer(defineCounter);
  assert.equal(await simulation.until(client.call("add", { by: 1 })), 3);
  assert.deepEqual(handle.getState(), { count: 3 });
});

Deno.test("Simulation.startServer() rejects when the server crashes before it listens, or define throws", async () => {
  await using simulation = createSimulation();
  const starting = simulation.launchServer(defineCounter);
  starting.crash();
  await assert.rejects(
    simulation.until(starting.listening, { limitMs: 1_000 }),
    /within 1000 ms/,
  );
  await assert.rejects(
    simulation.startServer(() => {
      throw new TypeError("No stores today");
    }),
    { message: "No stores today" },
  );
  assert.deepEqual(simulation.servers, []);
});

Deno.test("HostClock: what is due while a process is suspended comes when it goes on", async () => {
  const clock = new VirtualClock();
  const host = clock.createHost();
  const seen: number[] = [];
  host.setTimer(10, () => seen.push(clock.elapsedMs));
  const called = host.setTimer(20, () => seen.push(-1));
  host.suspend();
  await clock.advance(100);
  called.cancel();
  assert.deepEqual(seen, []);
  host.resume();
  await clock.advance(0);
  assert.deepEqual(seen, [100]);
});

Deno.test("HostClock.jump() moves what its process sees of the date, and nothing else", async () => {
  const clock = new VirtualClock(1_000_000);
  const [host, other] = [clock.createHost(), clock.createHost()];
  const ran: number[] = [];
  host.setTimer(100, () => ran.push(clock.elapsedMs));
  await clock.advance(10);
  host.jump(3_600_000);
  assert.deepEqual(
    [host.now(), host.monotonic(), other.now(), clock.nowMs],
    [4_600_010, 10, 1_000_010, 1_000_010],
  );
  // Backwards, beyond where it was.
  host.jump(-3_700_000);
  assert.deepEqual([host.now(), host.monotonic()], [900_010, 10]);
  await clock.advance(200);
  assert.deepEqual(ran, [100]);
  assert.equal(host.now(), 900_210);
});

Deno.test("VirtualClock: events come by time, and those of one moment in their order", async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  for (const [ms, name] of [[5, "c"], [1, "a"], [5, "d"], [1, "b"]] as const) {
    clock.schedule(ms, () => seen.push(name));
  }
  clock.schedule(3, () => seen.push("never")).cancel();
  await clock.advance(5);
  assert.deepEqual(seen, ["a", "b", "c", "d"]);
  assert.throws(() => clock.schedule(NaN, () => {}), RangeError);
});

Deno.test("VirtualClock.advance() and until() refuse a time without end", async () => {
  const clock = new VirtualClock();
  for (const ms of [-1, NaN, Infinity]) {
    await assert.rejects(clock.advance(ms), RangeError);
    await assert.rejects(clock.until(() => false, ms), RangeError);
  }
  assert.equal(clock.elapsedMs, 0);
});

Deno.test("SeededRandom: forks are independent of what their parent draws later", () => {
  const draw = (random: SeededRandom) =>
    Array.from({ length: 5 }, () => random.integer(0, 1_000));
  const parent = new SeededRandom(1);
  const fork = parent.fork();
  draw(parent);
  assert.deepEqual(draw(fork), draw(new SeededRandom(1).fork()));
  assert.equal(new SeededRandom(3).chance(0), false);
  assert.equal(new SeededRandom(3).chance(1), true);
  assert.throws(() => parent.pick([]), RangeError);
});

/** Loses what is sent without a word, until it is healed. */
function blackout({ network }: Simulation): void {
  for (const link of network.links) link.cutSilently();
}

Deno.test("SimulatedNetwork: a connection that died silently is noticed by the heartbeat", async () => {
  await using simulation = createSimulation();
  await simulation.startServer(defineCounter, { heartbeatMs: 1_000 });
  const { client } = simulation.createClient();
  await simulation.until(client.ready());
  blackout(simulation);
  await simulation.advance(500);
  assert.equal(client.status, "connected");
  await simulation.until(() => client.status !== "connected", {
    limitMs: 5_000,
  });
  await simulation.until(client.ready());
});

Deno.test("Simulation.heal() keeps the order of what came to who slept, and what was held back", async () => {
  await using simulation = createSimulation();
  const seen: string[] = [];
  const { clock } = await simulation.startServer((server) => {
    server.handle("note", (word: string) => void seen.push(word));
  });
  const person = simulation.createClient();
  const { client } = person;
  await simulation.until(client.ready());
  const first = client.call("note", "first");
  clock.suspend();
  await simulation.advance(10);
  for (const link of person.links) link.up.stall();
  const second = client.call("note", "second");
  await simulation.advance(10);
  simulation.heal();
  await simulation.until(Promise.all([first, second]));
  assert.deepEqual(seen, ["first", "second"]);
});

Deno.test("SimulatedNetwork: a link that is slow holds bytes in its sender's buffer", async () => {
  await using simulation = createSimulation();
  await simulation.startServer(defineCounter);
  const { client } = simulation.createClient();
  await simulation.until(client.ready());
  simulation.network.faults.bytesPerMs = 0.01;
  const handle = client.subscribe<Counter>("Counter");
  await simulation.until(() =>
    [...simulation.network.links].some(({ down }) => down.bufferedBytes > 0)
  );
  assert.equal(handle.hasData(), false);
  simulation.network.heal();
  await simulation.until(handle.ready());
});
