import assert from "node:assert/strict";
import { encodeHead } from "../server/log/head.ts";
import { headKey } from "../server/log/keys.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import { Gate } from "./_kv_faults.ts";
import {
  kill,
  LEASE_MS,
  openRooms,
  type Room,
  type RoomOptions,
} from "./_rooms.ts";
import {
  drive,
  headOf,
  idOf,
  keysOf,
  memoryKv,
  TestNode,
} from "./_store_harness.ts";

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
