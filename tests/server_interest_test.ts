import assert from "node:assert/strict";
import { interestKey } from "../server/log/keys.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import {
  FaultyKv,
  Gate,
  throwsAfter,
  throwsAndLandsLater,
  throwsBefore,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  kill,
  LEASE_MS,
  openRooms,
  untilCounts,
  untilNothing,
} from "./_rooms.ts";
import {
  drive,
  entriesOf,
  idOf,
  keysOf,
  memoryKv,
  TestNode,
} from "./_store_harness.ts";

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
  assert.ok(tookMs <= LEASE_MS * 3, `${tookMs} ms`);
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

Deno.test("What a server wrote before it was taken for dead, and lands afterwards, counts for nothing", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const limits = { leaseMs: LEASE_MS };
  await using a = await openRooms(kv, { clock, limits });
  await using b = await openRooms(kv, { clock, limits });
  const first = await a.enter("a");
  await drive(clock, untilCounts(kv, [1]));
  const gate = new Gate();
  a.kv.onCommit(waitsBefore(gate), { match: writes("interest") });
  const second = await a.enter("b");
  await gate.reached;
  // It does nothing meanwhile, and is taken for dead.
  await drive(clock, until(() => b.runs.length > 0));
  await drive(
    clock,
    until(async () => (await keysOf(kv, "lease")).length === 0),
  );
  gate.open();
  await drive(clock, untilCounts(kv, [1], "a"));
  await drive(clock, untilCounts(kv, [1], "b"));
  first.end();
  second.end();
  await drive(clock, untilNothing(kv));
  assert.deepEqual(a.runs.sort(), ["idle a", "idle b"]);
  assert.deepEqual(b.runs, ["idle a"]);
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
