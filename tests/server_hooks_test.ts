import assert from "node:assert/strict";
import { encodeHead } from "../server/log/records.ts";
import { headKey, interestKey } from "../server/log/keys.ts";
import type { Kv } from "../server/ports.ts";
import type { StoreOptions } from "../server/stores/definition.ts";
import type { DynamicStore } from "../server/stores/handles.ts";
import { decodeInterest } from "../server/stores/interest_record.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import {
  FaultyKv,
  Gate,
  throwsAfter,
  throwsAndLandsLater,
  throwsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  drive,
  entriesOf,
  headOf,
  idOf,
  keysOf,
  memoryKv,
  type NodeOptions,
  Replica,
  TestNode,
} from "./_store_harness.ts";

interface Room {
  messages: string[];
}

type RoomNode = TestNode & {
  rooms: DynamicStore<Room>;
  /** What hooks were called with, in order. */
  runs: string[];
  /** Messages of what was reported. */
  errors: string[];
  /** Subscribes to a room; undone by `end()`. */
  enter(key: string): Promise<Replica>;
};

interface RoomOptions extends NodeOptions {
  readonly store?: StoreOptions;
  readonly onIdle?: ((key: string | null) => unknown) | null;
  readonly onTerminate?: (key: string | null) => unknown;
}

/** A node with rooms that tell of their hooks. */
async function openRooms(
  kv: Kv,
  { store, onIdle = () => {}, onTerminate, ...options }: RoomOptions = {},
): Promise<RoomNode> {
  const node = new TestNode(kv, options);
  const runs: string[] = [];
  const errors: string[] = [];
  const rooms = node.dynamic<Room>("Room:*", { messages: [] }, store);
  if (onIdle) {
    rooms.onIdle(async (key) => {
      runs.push(`idle ${key}`);
      await onIdle(key);
    });
  }
  if (onTerminate) {
    rooms.onTerminate(async (key) => {
      runs.push(`terminate ${key}`);
      await onTerminate(key);
    });
  }
  const enter = async (key: string) => {
    await node.access.open(`Room:${key}`);
    return new Replica(node.loaded(`Room:${key}`));
  };
  await node.open();
  node.lifecycle.on("error", (error) => void errors.push(error.message));
  return Object.assign(node, { rooms, runs, errors, enter });
}

/** What the record of a room says, by server. */
async function counts(kv: Kv, key = "a"): Promise<number[]> {
  const { value } = await kv.get(interestKey(idOf(`Room:${key}`)));
  return [...decodeInterest(value).values()].map(({ count }) => count).sort();
}

/** Waits until the record of a room says so. */
async function untilCounts(kv: Kv, wanted: number[], key = "a"): Promise<void> {
  await until(async () => `${await counts(kv, key)}` === `${wanted}`, {
    describe: () => `counts ${wanted}`,
  });
}

/** Waits until nothing is recorded of anybody. */
async function untilNothing(kv: Kv): Promise<void> {
  await until(async () => (await keysOf(kv, "interest")).length === 0);
}

/** The process of a node is no more: nothing of it reaches the KV. */
function kill(node: TestNode): void {
  node.kv.isDead = true;
}

const LEASE_MS = 400;

Deno.test("onIdle runs when the last subscriber has left, and not before", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv);
  const first = await node.enter("a");
  const second = await node.enter("a");
  await until(async () => (await counts(kv)).length === 1);
  first.end();
  await node.rooms.update("a", (draft) => void draft.messages.push("still"));
  assert.deepEqual(node.runs, []);
  second.end();
  await until(() => node.runs.length > 0);
  assert.deepEqual(node.runs, ["idle a"]);
  await untilNothing(kv);
  // The store still exists, and may be entered and left again.
  assert.equal(await node.rooms.has("a"), true);
  (await node.enter("a")).end();
  await until(() => node.runs.length > 1);
  assert.deepEqual(node.runs, ["idle a", "idle a"]);
});

Deno.test("onIdle runs on the server that the last of all subscribers has left", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv);
  await using b = await openRooms(kv);
  for (const [first, second] of [[a, b], [b, a]] as const) {
    a.runs.length = b.runs.length = 0;
    const [here, there] = [await first.enter("a"), await second.enter("a")];
    await untilCounts(kv, [1, 1]);
    here.end();
    await untilCounts(kv, [1]);
    there.end();
    await until(() => second.runs.length > 0);
    await untilNothing(kv);
    assert.deepEqual([first.runs, second.runs], [[], ["idle a"]]);
  }
});

Deno.test("onIdle runs once for each time that a room empties, however many servers empty it", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv);
  await using b = await openRooms(kv);
  await using c = await openRooms(kv);
  const nodes = [a, b, c];
  for (let round = 1; round <= 10; round++) {
    const inside = await Promise.all(nodes.map((node) => node.enter("a")));
    await untilCounts(kv, [1, 1, 1]);
    for (const replica of inside) replica.end();
    await untilNothing(kv);
    assert.equal(nodes.flatMap(({ runs }) => runs).length, round);
  }
});

Deno.test("onIdle: a room is entered and left at random by three servers, and runs never miss or double", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv);
  await using b = await openRooms(kv);
  await using c = await openRooms(kv);
  const nodes = [a, b, c];
  const inside: { node: RoomNode; replica: Replica }[] = [];
  let empties = 0;
  let seed = 7;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor(seed / 2 ** 32 * n);
  };
  for (let step = 0; step < 60; step++) {
    if (inside.length === 0 || random(2) === 0) {
      const node = nodes[random(3)]!;
      inside.push({ node, replica: await node.enter("a") });
    } else {
      inside.splice(random(inside.length), 1)[0]?.replica.end();
      if (inside.length === 0) empties++;
    }
    // Recorded before the next step, so that each time that it is empty is one.
    const present = new Set(inside.map(({ node }) => node)).size;
    await until(async () => {
      const recorded = await counts(kv);
      return recorded.filter((count) => count > 0).length === present &&
        (present > 0 || recorded.length === 0);
    });
  }
  const isEmpty = inside.length === 0;
  for (const { replica } of inside) replica.end();
  await untilNothing(kv);
  assert.ok(empties > 3, `${empties}`);
  const runs = nodes.flatMap((node) => node.runs);
  assert.equal(runs.length, isEmpty ? empties : empties + 1);
});

Deno.test("Who is back before it was noted has never left", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv);
  const first = await node.enter("a");
  await untilCounts(kv, [1]);
  const gate = new Gate();
  node.kv.beforeRead(gate.pass, { match: ({ key }) => key[1] === "interest" });
  first.end();
  await gate.reached;
  const again = await node.enter("a");
  gate.open();
  await node.rooms.update("a", (draft) => void draft.messages.push("back"));
  await untilCounts(kv, [1]);
  again.end();
  await until(() => node.runs.length > 0);
  await untilNothing(kv);
  assert.deepEqual(node.runs, ["idle a"]);
});

Deno.test("A definition without onIdle and selfDestruct costs nothing", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv, {
    onIdle: null,
    limits: { leaseMs: 40 },
  });
  const before = node.kv.reads.length;
  const room = await node.enter("a");
  room.end();
  await (await node.enter("b")).end();
  for (let i = 0; i < 20; i++) {
    await node.rooms.update("a", (draft) => void draft.messages.push("x"));
  }
  const kinds = ["interest", "lease", "claim"];
  const own = (key: readonly unknown[]) => kinds.includes(String(key[1]));
  assert.deepEqual(
    node.kv.reads.slice(before).filter(({ key }) => own(key)),
    [],
  );
  assert.deepEqual(node.kv.commitsTo(own), []);
  assert.equal(node.errors.length, 0);
});

Deno.test("A store that is deleted under its subscribers is not idle, but gone", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv);
  await using b = await openRooms(kv);
  const replicas = [await a.enter("a"), await b.enter("a")];
  await untilCounts(kv, [1, 1]);
  assert.equal(await a.rooms.delete("a"), true);
  await until(() => replicas.every(({ seen }) => seen.includes("deleted")));
  await untilNothing(kv);
  // The next life has nothing to do with who has left the last one.
  const next = await b.enter("a");
  await untilCounts(kv, [1]);
  next.end();
  await untilNothing(kv);
  assert.deepEqual([a.runs, b.runs], [[], ["idle a"]]);
});

Deno.test("Those who still follow a life that has ended count for nothing in the next one", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv, { sync: false });
  await using b = await openRooms(kv);
  // Nobody tells this server that the store is gone.
  const stale = await a.enter("a");
  await untilCounts(kv, [1]);
  assert.equal(await b.rooms.delete("a"), true);
  const replica = await b.enter("a");
  await untilCounts(kv, [1, 1]);
  replica.end();
  await until(() => b.runs.length > 0);
  stale.end();
  await untilNothing(kv);
  assert.deepEqual([a.runs, b.runs], [[], ["idle a"]]);
});

Deno.test("A reset leaves subscribers where they are", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv);
  const replica = await node.enter("a");
  await untilCounts(kv, [1]);
  await node.rooms.reset("a");
  await untilCounts(kv, [1]);
  assert.deepEqual(node.runs, []);
  replica.end();
  await until(() => node.runs.length > 0);
});

Deno.test("onIdle may reset or delete its store", async () => {
  using kv = await memoryKv();
  await using node: RoomNode = await openRooms(kv, {
    onIdle: (key) =>
      key === "a" ? node.rooms.delete("a") : node.rooms.reset("b"),
    onTerminate: () => {},
  });
  for (const key of ["a", "b"]) {
    await node.rooms.update(key, (draft) => void draft.messages.push("hi"));
    (await node.enter(key)).end();
    await until(() => node.runs.includes(`terminate ${key}`));
  }
  await untilNothing(kv);
  assert.equal(await node.rooms.has("a"), false);
  assert.equal(await node.rooms.isInitialized("b"), false);
  assert.deepEqual(node.runs, [
    "idle a",
    "terminate a",
    "idle b",
    "terminate b",
  ]);
  assert.deepEqual(node.errors, []);
});

Deno.test("onIdle that throws is reported, and ends nothing", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv, {
    onIdle: () => Promise.reject(new RangeError("no broom")),
  });
  (await node.enter("a")).end();
  await until(() => node.errors.length > 0);
  assert.deepEqual(node.errors, [
    'onIdle of store "Room:a" failed: no broom',
  ]);
  await untilNothing(kv);
  (await node.enter("a")).end();
  await until(() => node.runs.length === 2);
});

Deno.test("selfDestruct is asked at each departure, with who is left on all servers, and when it was created", async () => {
  using kv = await memoryKv();
  const asked: [number, string][] = [];
  const store: StoreOptions = {
    selfDestruct: (clientsLeft, createdAt) => {
      asked.push([clientsLeft, createdAt.toISOString()]);
      return clientsLeft === 0;
    },
  };
  const clock = new FakeClock(Date.UTC(2026, 5, 1));
  await using a = await openRooms(kv, { store, clock });
  await using b = await openRooms(kv, { store, clock });
  const inside = [await a.enter("a"), await a.enter("a"), await b.enter("a")];
  await untilCounts(kv, [1, 2]);
  await clock.advance(3_600_000);
  for (const [index, replica] of inside.entries()) {
    replica.end();
    await drive(clock, until(() => asked.length === index + 1));
  }
  const at = "2026-06-01T00:00:00.000Z";
  assert.deepEqual(asked, [[2, at], [1, at], [0, at]]);
  await drive(clock, until(async () => !await a.rooms.has("a")));
  await drive(clock, untilNothing(kv));
  // Where nothing is left nothing is idle.
  assert.deepEqual([a.runs, b.runs], [[], []]);
});

Deno.test("selfDestruct is asked for each of those who leave together", async () => {
  using kv = await memoryKv();
  const asked: number[] = [];
  const store: StoreOptions = {
    selfDestruct: (clientsLeft) => asked.push(clientsLeft) > 99,
  };
  await using node = await openRooms(kv, { store });
  const inside = [];
  for (let i = 0; i < 5; i++) inside.push(await node.enter("a"));
  await untilCounts(kv, [5]);
  for (const replica of inside.slice(1)) replica.end();
  await until(() => asked.length === 4);
  assert.deepEqual(asked, [4, 3, 2, 1]);
  inside[0]?.end();
  await untilNothing(kv);
  assert.deepEqual(asked, [4, 3, 2, 1, 0]);
  assert.deepEqual(node.runs, ["idle a"]);
  assert.equal(await node.rooms.has("a"), true);
});

Deno.test("selfDestruct ends the store after its onTerminate, may be async, and may fail", async () => {
  using kv = await memoryKv();
  let isBroken = true;
  await using node = await openRooms(kv, {
    onIdle: null,
    onTerminate: () => {},
    store: {
      selfDestruct: async () => {
        await Promise.resolve();
        if (isBroken) throw new RangeError("not sure");
        return true;
      },
    },
  });
  (await node.enter("a")).end();
  await until(() => node.errors.length > 0);
  assert.deepEqual(node.errors, [
    'selfDestruct of store "Room:a" failed: not sure',
  ]);
  assert.equal(await node.rooms.has("a"), true);
  isBroken = false;
  const other = await node.enter("a");
  (await node.enter("a")).end();
  await until(() => other.seen.includes("deleted"));
  assert.deepEqual(node.runs, ["terminate a"]);
  await untilNothing(kv);
});

Deno.test("A departure is noted once, whatever becomes of its commit", async () => {
  const late = throwsAndLandsLater();
  const faults = { throwsBefore, throwsAfter, late: late.fault };
  for (const [name, fault] of Object.entries(faults)) {
    using kv = await memoryKv();
    const asked: number[] = [];
    await using node = await openRooms(kv, {
      store: { selfDestruct: (left) => asked.push(left) < 0 },
    });
    const replica = await node.enter("a");
    const other = await node.enter("a");
    await untilCounts(kv, [2]);
    node.kv.onCommit(fault, { match: writes("interest") });
    replica.end();
    await until(() => asked.length > 0, { describe: () => name });
    if (name === "late") assert.deepEqual(await late.land(), { ok: false });
    other.end();
    await untilNothing(kv);
    assert.deepEqual([asked, node.runs], [[1, 0], ["idle a"]], name);
  }
});

Deno.test("While the KV is gone clients come and go, and what was missed is noted afterwards", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv, { limits: { commitMs: 200 } });
  const replica = await node.enter("a");
  await node.enter("b");
  await untilCounts(kv, [1]);
  node.kv.outage = new Error("gone");
  replica.end();
  await until(() => node.errors.length > 0);
  assert.deepEqual(node.runs, []);
  node.kv.outage = undefined;
  await until(() => node.runs.length > 0);
  await untilCounts(kv, []);
  await untilCounts(kv, [1], "b");
  assert.deepEqual(node.runs, ["idle a"]);
});

Deno.test("A server that dies leaves its subscribers to another, after its lease", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const a = await openRooms(kv, { clock, limits });
  await using b = await openRooms(kv, { clock, limits });
  await a.enter("a");
  await a.enter("b");
  const held = await b.enter("b");
  await drive(clock, untilCounts(kv, [1]));
  await drive(clock, untilCounts(kv, [1, 1], "b"));
  kill(a);
  const killedMs = clock.monotonic();
  await drive(clock, until(() => b.runs.length > 0));
  const tookMs = clock.monotonic() - killedMs;
  assert.ok(tookMs >= LEASE_MS * 0.7, `${tookMs} ms`);
  assert.ok(tookMs <= LEASE_MS * 2, `${tookMs} ms`);
  // Somebody is still in the other room.
  assert.deepEqual(b.runs, ["idle a"]);
  await drive(clock, untilCounts(kv, [1], "b"));
  await drive(
    clock,
    until(async () => (await keysOf(kv, "lease")).length === 1),
  );
  held.end();
  await drive(clock, until(() => b.runs.length > 1));
  assert.deepEqual(b.runs, ["idle a", "idle b"]);
  // Who holds nothing needs no lease.
  await drive(
    clock,
    until(async () => (await keysOf(kv, "lease")).length === 0),
  );
});

Deno.test("The next server finds what the last one left, though nobody comes", async () => {
  for (const isAnswerLost of [false, true]) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    const asked: number[] = [];
    const options = {
      clock,
      limits: { leaseMs: LEASE_MS },
      store: { selfDestruct: (left: number) => asked.push(left) < 0 },
    };
    const a = await openRooms(kv, options);
    await a.enter("a");
    await a.enter("a");
    await drive(clock, untilCounts(kv, [2]));
    kill(a);
    await using b = await openRooms(kv, options);
    // What it took over is its own, though it is not told so.
    if (isAnswerLost) b.kv.onCommit(throwsAfter, { match: writes("interest") });
    await drive(clock, until(() => b.runs.length > 0));
    assert.deepEqual([asked, b.runs], [[1, 0], ["idle a"]]);
    await drive(clock, untilNothing(kv));
  }
});

Deno.test("A server that is closed keeps its subscribers for the time of a lease: they may come back", async () => {
  for (const comesBack of [false, true]) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    const options = { clock, limits: { leaseMs: LEASE_MS } };
    const a = await openRooms(kv, options);
    const replica = await a.enter("a");
    await drive(clock, untilCounts(kv, [1]));
    a.core.stores.beginClose();
    replica.end();
    await a.close();
    assert.deepEqual(a.runs, []);
    await using b = await openRooms(kv, options);
    const back = comesBack ? await b.enter("a") : undefined;
    await drive(
      clock,
      comesBack
        ? until(async () => (await keysOf(kv, "lease")).length === 1)
        : until(() => b.runs.length > 0),
    );
    await clock.advance(LEASE_MS);
    assert.deepEqual(b.runs, comesBack ? [] : ["idle a"]);
    back?.end();
    await drive(clock, untilNothing(kv));
    assert.deepEqual(b.runs, ["idle a"]);
  }
});

Deno.test("A server that dies in onIdle leaves it to another", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const gate = new Gate();
  const a = await openRooms(kv, { clock, limits, onIdle: gate.pass });
  await using b = await openRooms(kv, { clock, limits });
  (await a.enter("a")).end();
  await drive(clock, gate.reached);
  kill(a);
  assert.deepEqual(b.runs, []);
  await drive(clock, until(() => b.runs.length > 0));
  await drive(clock, untilNothing(kv));
  assert.deepEqual([a.runs, b.runs], [["idle a"], ["idle a"]]);
});

Deno.test("A hook that takes longer than a lease is not run again: its server is alive", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const gate = new Gate();
  await using a = await openRooms(kv, { clock, limits, onIdle: gate.pass });
  await using b = await openRooms(kv, { clock, limits });
  (await a.enter("a")).end();
  await drive(clock, gate.reached);
  const untilMs = clock.monotonic() + 4 * LEASE_MS;
  await drive(clock, until(() => clock.monotonic() >= untilMs));
  gate.open();
  await drive(clock, untilNothing(kv));
  assert.deepEqual([a.runs, b.runs], [["idle a"], []]);
});

Deno.test("A server that was only silent finds itself again under another name", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  await using a = await openRooms(kv, { clock, limits });
  await using b = await openRooms(kv, { clock, limits });
  const replica = await a.enter("a");
  await drive(clock, untilCounts(kv, [1]));
  const [name] = await keysOf(kv, "lease");
  a.kv.outage = new Error("unplugged");
  await drive(clock, until(() => b.runs.length > 0));
  a.kv.outage = undefined;
  await drive(
    clock,
    until(async () => {
      const names = await keysOf(kv, "lease");
      return names.length > 0 && !names.includes(name!);
    }),
  );
  await drive(clock, untilCounts(kv, [1]));
  replica.end();
  await drive(clock, until(() => a.runs.length > 0));
  await drive(clock, untilNothing(kv));
  assert.deepEqual([a.runs, b.runs], [["idle a"], ["idle a"]]);
});

Deno.test("A server that slept takes nobody for dead who slept as well", async () => {
  using kv = await memoryKv();
  const [here, there] = [new FakeClock(), new FakeClock()];
  const limits = { leaseMs: LEASE_MS };
  await using a = await openRooms(kv, { clock: here, limits });
  await using b = await openRooms(kv, { clock: there, limits });
  await a.enter("a");
  await untilCounts(kv, [1]);
  // One look, and then a jump over ten leases, in which nothing of it ran.
  await drive(there, until(() => there.monotonic() > LEASE_MS / 2));
  Object.defineProperty(there, "monotonic", {
    value: ((before: () => number) => () => before.call(there) + 10 * LEASE_MS)(
      there.monotonic,
    ),
  });
  await there.advance(LEASE_MS / 2);
  await until(() => FaultyKv.busy === 0);
  assert.deepEqual(b.runs, []);
  assert.equal((await keysOf(kv, "lease")).length, 1);
});

Deno.test("onTerminate runs once, though several servers end the same life", async () => {
  for (const how of ["delete", "reset"] as const) {
    using kv = await memoryKv();
    const gate = new Gate();
    await using a = await openRooms(kv, { onTerminate: gate.pass });
    await using b = await openRooms(kv, { onTerminate: () => {} });
    await a.rooms.init("a");
    await b.rooms.get("a");
    const ending = a.rooms[how]("a");
    await gate.reached;
    const also = [b.rooms[how]("a"), a.rooms[how]("a")];
    // They wait: until it has ended the store is there.
    assert.equal(await b.rooms.isInitialized("a"), true);
    gate.open();
    const [first, ...others] = await Promise.all([ending, ...also]);
    if (how === "delete") {
      assert.deepEqual([first, others], [true, [false, false]]);
    }
    assert.deepEqual([a.runs, b.runs], [["terminate a"], []]);
    assert.equal(await b.rooms.isInitialized("a"), false);
    // The next life has an end of its own.
    await b.rooms.init("a");
    await b.rooms[how]("a");
    assert.deepEqual(b.runs, ["terminate a"]);
    assert.deepEqual(await keysOf(kv, "claim"), []);
  }
});

Deno.test("Who waited to end a life does not end the next one", async () => {
  using kv = await memoryKv();
  await using a = await openRooms(kv, { onTerminate: () => {} });
  await using b = await openRooms(kv, { onTerminate: () => {} });
  await a.rooms.init("a");
  const gate = new Gate();
  b.kv.beforeRead(gate.pass, { match: ({ key }) => key[1] === "claim" });
  const late = b.rooms.delete("a");
  await gate.reached;
  assert.equal(await a.rooms.delete("a"), true);
  await a.rooms.init("a");
  gate.open();
  assert.equal(await late, false);
  assert.deepEqual([a.runs, b.runs], [["terminate a"], []]);
  assert.equal(await a.rooms.has("a"), true);
});

Deno.test("onTerminate has nothing to undo where onCreate has not run since the reset", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv, { onTerminate: () => {} });
  await node.rooms.init("a");
  await node.rooms.reset("a");
  await node.rooms.reset("a");
  assert.equal(await node.rooms.delete("a"), true);
  assert.deepEqual(node.runs, ["terminate a"]);
});

Deno.test("A server that dies in onTerminate has ended nothing: the next one runs it again", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const gate = new Gate();
  const a = await openRooms(kv, { clock, limits, onTerminate: gate.pass });
  await using b = await openRooms(kv, { clock, limits, onTerminate: () => {} });
  await drive(clock, a.rooms.init("a"));
  void a.rooms.delete("a");
  await drive(clock, gate.reached);
  kill(a);
  const killedMs = clock.monotonic();
  assert.equal(await drive(clock, b.rooms.delete("a")), true);
  assert.ok(clock.monotonic() - killedMs >= LEASE_MS * 0.7);
  assert.deepEqual([a.runs, b.runs], [["terminate a"], ["terminate a"]]);
  assert.deepEqual(await keysOf(kv, "head"), []);
});

Deno.test("onTerminate that takes longer than a lease stays alone", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const gate = new Gate();
  await using a = await openRooms(kv, {
    clock,
    limits,
    onTerminate: gate.pass,
  });
  await using b = await openRooms(kv, { clock, limits, onTerminate: () => {} });
  await drive(clock, a.rooms.init("a"));
  const ending = a.rooms.delete("a");
  await drive(clock, gate.reached);
  const also = b.rooms.delete("a");
  const untilMs = clock.monotonic() + 4 * LEASE_MS;
  await drive(clock, until(() => clock.monotonic() >= untilMs));
  gate.open();
  assert.deepEqual(
    await drive(clock, Promise.all([ending, also])),
    [true, false],
  );
  assert.deepEqual([a.runs, b.runs], [["terminate a"], []]);
});

Deno.test("onTerminate that fails refuses who asked, is reported, and lets go of its claim", async () => {
  using kv = await memoryKv();
  let isBroken = true;
  await using node = await openRooms(kv, {
    onTerminate: () => {
      if (isBroken) throw new RangeError("disk full");
    },
  });
  await node.rooms.init("a");
  await assert.rejects(node.rooms.delete("a"), /disk full/);
  await until(() => node.errors.length > 0);
  assert.deepEqual(node.errors, [
    'onTerminate of store "Room:a" failed: disk full',
  ]);
  assert.equal(await node.rooms.isInitialized("a"), true);
  assert.deepEqual(await keysOf(kv, "claim"), []);
  isBroken = false;
  assert.equal(await node.rooms.delete("a"), true);
});

Deno.test("onTerminate cannot be claimed while the KV is gone, and nothing is ended", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv, {
    onTerminate: () => {},
    limits: { commitMs: 200 },
  });
  await node.rooms.init("a");
  node.kv.outage = new Error("gone");
  await assert.rejects(node.rooms.delete("a"), { code: "unavailable" });
  node.kv.outage = undefined;
  assert.deepEqual(node.runs, []);
  assert.equal(await node.rooms.delete("a"), true);
  assert.deepEqual(node.runs, ["terminate a"]);
});

Deno.test("A store whose time is over has its onTerminate, wherever it is found, and ends though that fails", async () => {
  for (const where of ["in memory", "by who asks", "by the sweep"]) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    const options: RoomOptions = {
      clock,
      store: { ttlMs: 500 },
      onTerminate: () => Promise.reject(new RangeError("no archive")),
    };
    const a = await openRooms(kv, options);
    await a.rooms.init("a");
    if (where !== "in memory") await a.close();
    const node = where === "in memory" ? a : await openRooms(kv, options);
    if (where !== "in memory") clock.jump(500);
    if (where === "by who asks") {
      assert.equal(await node.rooms.get("a"), undefined);
    }
    if (where === "by the sweep") await node.core.stores.sweepExpired();
    await drive(
      clock,
      until(async () => (await keysOf(kv, "head")).length === 0),
    );
    assert.deepEqual(node.runs, ["terminate a"], where);
    assert.deepEqual(node.errors, [
      'onTerminate of store "Room:a" failed: no archive',
    ]);
    await node.core.stores.sweepExpired();
    assert.deepEqual(await keysOf(kv, "expiry"), [], where);
    await node.close();
  }
});

Deno.test("The sweep leaves alone what lives, and what lives again", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openRooms(kv, { clock, store: { ttlMs: 10_000 } });
  await node.rooms.init("a");
  await node.rooms.init("b");
  await node.rooms.delete("b");
  clock.jump(5_000);
  await node.rooms.init("b");
  clock.jump(5_000);
  await node.core.stores.sweepExpired();
  assert.deepEqual(await node.rooms.list(), ["b"]);
  assert.deepEqual(await keysOf(kv, "head"), ["default/Room:b"]);
  assert.equal((await keysOf(kv, "expiry")).length, 1);
});

Deno.test("In its own hook a store can be read, and what would wait for the hook is refused", async () => {
  using kv = await memoryKv();
  const node = new TestNode(kv, {});
  const seen: unknown[] = [];
  const rooms = node.dynamic<Room>("Room:*", { messages: [] });
  rooms.onCreate(async (key) => {
    if (key === null) return;
    seen.push(await rooms.get(key), await rooms.has(key));
    const refused = { code: "refused", outcome: "notApplied" };
    await assert.rejects(rooms.update(key, () => {}), refused);
    await assert.rejects(rooms.delete(key), refused);
    await assert.rejects(rooms.reset(key), refused);
    await assert.rejects(rooms.create(key), refused);
    // Others are open to it.
    if (key === "a") await rooms.init("b");
    return { messages: [key] };
  });
  rooms.onTerminate(async (key) => {
    if (key === null) return;
    await rooms.update(key, (draft) => void draft.messages.push("last"));
    seen.push((await rooms.get(key))?.messages);
    await assert.rejects(rooms.delete(key), { code: "refused" });
  });
  await using _ = await node.open();
  await rooms.init("a");
  assert.deepEqual(await rooms.list(), ["a", "b"]);
  await rooms.delete("a");
  assert.deepEqual(seen, [
    undefined,
    false,
    undefined,
    false,
    ["a", "last"],
  ]);
});

Deno.test("createdAtMs stays, and is made up once for a head that an earlier release wrote", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock(1_000_000);
  await using node = await openRooms(kv, { clock });
  await node.rooms.init("a");
  clock.jump(500);
  await node.rooms.update("a", (draft) => void draft.messages.push("x"));
  const { createdAtMs, ...old } = await headOf(kv, "Room:a");
  assert.equal(createdAtMs, 1_000_000);
  await kv.atomic().set(headKey(idOf("Room:a")), encodeHead(old)).commit();
  clock.jump(500);
  await using other = await openRooms(kv, { clock });
  for (const text of ["y", "z"]) {
    await other.rooms.update("a", (draft) => void draft.messages.push(text));
    // As old as its last write before.
    assert.equal((await headOf(kv, "Room:a")).createdAtMs, 1_000_500);
    clock.jump(500);
  }
});

Deno.test("A record that cannot be read is reported, written anew, and keeps no other store", async () => {
  using kv = await memoryKv();
  await using node = await openRooms(kv);
  const first = await node.enter("a");
  await untilCounts(kv, [1]);
  await kv.atomic()
    .set(interestKey(idOf("Room:a")), new Uint8Array([1, 2, 3]))
    .commit();
  first.end();
  (await node.enter("b")).end();
  await until(() => node.runs.length === 2);
  assert.deepEqual(node.runs.sort(), ["idle a", "idle b"]);
  assert.match(node.errors[0] ?? "", /Cannot read interest/);
  await untilNothing(kv);
});

Deno.test("A store whose definition is gone is forgotten with the server that died", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  const a = await openRooms(kv, { clock, limits });
  await a.enter("a");
  await drive(clock, untilCounts(kv, [1]));
  kill(a);
  await using b = new TestNode(kv, { clock, limits });
  b.store("Other", {}).onIdle(() => {});
  await b.open();
  await drive(clock, untilNothing(kv));
  await drive(
    clock,
    until(async () => (await keysOf(kv, "lease")).length === 0),
  );
  assert.equal((await entriesOf(kv, ["hw", "interest"])).length, 0);
});
