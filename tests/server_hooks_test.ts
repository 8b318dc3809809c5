import assert from "node:assert/strict";
import type { StoreOptions } from "../server/stores/store_options.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import { Gate } from "./_kv_faults.ts";
import {
  counts,
  openRooms,
  type RoomNode,
  untilCounts,
  untilNothing,
} from "./_rooms.ts";
import { drive, memoryKv, type Replica } from "./_store_harness.ts";

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
  await drive(clock, untilCounts(kv, [1, 2]));
  clock.jump(3_600_000);
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
