import assert from "node:assert/strict";
import { HeadwaterError } from "../protocol/errors.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { until, within } from "./_harness.ts";
import {
  type CommitResult,
  Gate,
  locked,
  lockedAfter,
  lockedBefore,
  readOf,
  throwsAfter,
  throwsAndLandsLater,
  throwsBefore,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  feedHeads,
  freshState,
  headOf,
  increment,
  keysOf,
  logVersions,
  memoryKv,
  openCounter,
  TestNode,
} from "./_store_harness.ts";

Deno.test("Lane: a commit that throws after it took effect is acknowledged, once", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  node.kv.onCommit(throwsAfter);
  const { version, value } = await node.counter.update(increment);
  assert.deepEqual({ version, value }, { version: 2, value: 1 });
  await node.counter.update(increment);
  assert.deepEqual(await freshState(kv), { n: 2 });
  assert.deepEqual(await logVersions(kv), [1, 2, 3]);
});

Deno.test("Lane: a commit that throws before it took effect is tried again", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  node.kv.onCommit(throwsBefore, { times: 4 });
  const { version, value } = await node.counter.update(increment);
  assert.deepEqual({ version, value }, { version: 2, value: 1 });
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("Lane: the slot tells that a commit took effect, even where the head says nothing any more", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.init();
  await b.counter.init();
  a.kv.onCommit(async (run) => {
    await run();
    // Its own head is gone when it looks.
    await b.counter.update(increment);
    throw new Error("connection reset");
  });
  const { version, value } = await a.counter.update(increment);
  assert.deepEqual({ version, value }, { version: 2, value: 1 });
  await a.counter.update(increment);
  assert.deepEqual(await freshState(kv), { n: 3 });
});

Deno.test("Lane: what lands after it was given up is noticed by the slot, and nothing applies twice", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv, { clock, limits: { commitMs: 500 } });
  await a.counter.init();
  await using b = await openCounter(kv);
  await b.counter.init();
  const { fault, land } = throwsAndLandsLater();
  a.kv.onCommit(fault);
  a.kv.onCommit(() => new Promise(() => {}));
  const lost = a.counter.update(increment);
  await assert.rejects(drive(clock, lost), {
    code: "unavailable",
    outcome: "unknown",
  });
  // It lands in the moment before the next one.
  a.kv.onCommit(async (run) => {
    assert.deepEqual(await land().then(({ ok }) => ok), true);
    return await run();
  });
  const { version, value } = await drive(clock, a.counter.update(increment));
  assert.deepEqual({ version, value }, { version: 3, value: 2 });
  assert.deepEqual(await freshState(kv), { n: 2 });
  assert.deepEqual(await logVersions(kv), [1, 2, 3]);
  // Dense slots: b followed both.
  await until(() => b.counter.peek()?.n === 2);
  assert.deepEqual((await feedHeads(kv)).sort(), [3]);
  assert.equal((await keysOf(kv, "slot")).length, 3);
});

Deno.test("Lane: what landed before the next read is part of the state that the next write sees", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv, { clock, limits: { commitMs: 500 } });
  await a.counter.init();
  a.kv.onCommit(async (run) => {
    await run();
    return await new Promise<CommitResult>(() => {});
  });
  const lost = a.counter.update(increment);
  await assert.rejects(drive(clock, lost), { outcome: "unknown" });
  const { version, value } = await drive(clock, a.counter.update(increment));
  assert.deepEqual({ version, value }, { version: 3, value: 2 });
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("Lane: an atomic that was given up cannot land once its slot is taken", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = new TestNode(kv, { clock, limits: { commitMs: 500 } });
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  await stores.init("x");
  await stores.init("y");
  const { fault, land } = throwsAndLandsLater();
  node.kv.onCommit(fault);
  node.kv.onCommit(() => new Promise(() => {}));
  await assert.rejects(drive(clock, stores.update("x", increment)));
  // Another store: the head of x is as the lost atomic expects it.
  await drive(clock, stores.update("y", increment));
  assert.equal((await land()).ok, false);
  assert.deepEqual(await freshState(kv, "C:x"), { n: 0 });
  assert.deepEqual(await freshState(kv, "C:y"), { n: 1 });
  await drive(clock, stores.update("x", increment));
  assert.deepEqual(await freshState(kv, "C:x"), { n: 1 });
});

Deno.test("Lane: without a feed the head tells", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    sync: false,
    limits: { commitMs: 500 },
  });
  await node.counter.init();
  node.kv.onCommit(throwsAfter);
  assert.equal((await drive(clock, node.counter.update(increment))).version, 2);
  node.kv.onCommit(throwsBefore);
  assert.equal((await drive(clock, node.counter.update(increment))).version, 3);
  const { fault, land } = throwsAndLandsLater();
  node.kv.onCommit(fault);
  node.kv.onCommit(() => new Promise(() => {}));
  await assert.rejects(drive(clock, node.counter.update(increment)), {
    outcome: "unknown",
  });
  node.kv.onCommit(async (run) => {
    assert.equal((await land()).ok, true);
    return await run();
  });
  const { version, value } = await drive(clock, node.counter.update(increment));
  assert.deepEqual({ version, value }, { version: 5, value: 4 });
  assert.deepEqual(await freshState(kv), { n: 4 });
});

Deno.test("Lane: `database is locked` never reaches a user who writes", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, { clock });
  node.kv.onCommit(lockedBefore, { times: 7 });
  const { version } = await drive(clock, node.counter.update(increment));
  assert.equal(version, 2);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("Lane: `database is locked` proves nothing: a commit that took effect all the same applies once", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  node.kv.onCommit(lockedAfter);
  const { version, value } = await node.counter.update(increment);
  assert.deepEqual({ version, value }, { version: 2, value: 1 });
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("StoreRegistry: `database is locked` never reaches a user who reads", async () => {
  using kv = await memoryKv();
  {
    await using first = await openCounter(kv);
    await first.counter.update(increment);
  }
  await using node = await openCounter(kv);
  const fail = () => {
    throw locked();
  };
  node.kv.beforeRead(fail, { match: readOf("head") });
  assert.equal(await node.counter.has(), true);
  node.kv.beforeRead(fail, { match: readOf("head"), times: 3 });
  node.kv.beforeRead(fail, { match: readOf("log"), times: 2 });
  assert.deepEqual(await node.counter.get(), { n: 1 });
});

Deno.test("Lane: while the KV is gone writes reject, readers go on, and it recovers", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { commitMs: 1_000 },
  });
  await node.counter.update(increment);
  node.kv.outage = new Error("connection refused");
  const start = clock.monotonic();
  await assert.rejects(
    drive(clock, node.counter.update(increment)),
    (error: unknown) => {
      assert.ok(error instanceof HeadwaterError);
      assert.deepEqual([error.code, error.outcome], ["unavailable", "unknown"]);
      return true;
    },
  );
  const waited = clock.monotonic() - start;
  assert.ok(waited >= 1_000 && waited <= 2_000, `${waited} ms`);
  // Nothing was tried: the head could not even be read.
  await assert.rejects(drive(clock, node.counter.update(increment)), {
    code: "unavailable",
    outcome: "notApplied",
  });
  assert.deepEqual(await node.counter.get(), { n: 1 });
  assert.deepEqual(node.counter.peek(), { n: 1 });
  const snap = await node.answer("Counter");
  assert.ok(snap.type === "snap");
  assert.deepEqual(snap.state, { n: 1 });

  node.kv.outage = undefined;
  const { version, value } = await drive(clock, node.counter.update(increment));
  assert.deepEqual({ version, value }, { version: 3, value: 2 });
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("Lane: while the KV is gone the writes of many stores reject in time", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = new TestNode(kv, { clock, limits: { commitMs: 1_000 } });
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  const keys = Array.from({ length: 30 }, (_, i) => `${i}`);
  await drive(clock, Promise.all(keys.map((key) => stores.init(key))));
  node.kv.outage = new Error("connection refused");
  // The second time no head is known: each has to be read.
  for (let time = 0; time < 2; time++) {
    const start = clock.monotonic();
    const writing = keys.map((key) => stores.update(key, increment));
    const results = await drive(clock, Promise.allSettled(writing));
    assert.ok(results.every(({ status }) => status === "rejected"));
    const waited = clock.monotonic() - start;
    assert.ok(waited <= 2_500, `${waited} ms`);
  }
  node.kv.outage = undefined;
  const again = keys.map((key) => stores.update(key, increment));
  await drive(clock, Promise.all(again));
  assert.deepEqual(await freshState(kv, "C:29"), { n: 1 });
});

Deno.test("Lane: a KV that hangs is given up after the limit, and works again when it does", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { commitMs: 1_000 },
  });
  await node.counter.update(increment);
  node.kv.onCommit(() => new Promise(() => {}));
  await assert.rejects(drive(clock, node.counter.update(increment)), {
    outcome: "unknown",
  });
  // The head has to be read now, and that never ends.
  node.kv.beforeRead(() => new Promise(() => {}), { match: readOf("head") });
  await assert.rejects(drive(clock, node.counter.update(increment)), {
    code: "unavailable",
    outcome: "notApplied",
  });
  const { version } = await drive(clock, node.counter.update(increment));
  assert.equal(version, 3);
  await within(node.loaded("Counter").check(), {
    describe: () => "the store waits for a read that never ends",
  });
});

Deno.test("Lane: a KV that hangs while an outcome is looked up does not hang its writers", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { commitMs: 1_000 },
  });
  await node.counter.init();
  node.kv.onCommit(throwsAfter);
  node.kv.beforeRead(() => new Promise(() => {}), {
    match: readOf("slot", "get"),
  });
  await assert.rejects(drive(clock, node.counter.update(increment)), {
    code: "unavailable",
    outcome: "unknown",
  });
  const { value } = await drive(clock, node.counter.update(increment));
  assert.equal(value, 2);
});

Deno.test("CommitQueue: of a lost batch every write says `unknown`, also behind one that changed nothing", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { commitMs: 500 },
  });
  await node.counter.init();
  node.kv.onCommit(() => new Promise(() => {}));
  const gate = new Gate();
  const writing = Promise.allSettled([
    node.counter.update(() => {}),
    node.counter.update(() => {
      throw new RangeError("no seats");
    }),
    node.counter.update(increment),
    node.counter.update(increment),
  ]);
  await until(() => node.kv.commits.length === 2);
  // Comes while that commit hangs: surely not applied.
  const late = Promise.allSettled([node.counter.update(increment)]);
  const results = await drive(clock, Promise.all([writing, late]));
  gate.open();
  const outcomes = results.flat().map((result) =>
    result.status === "rejected" && result.reason instanceof HeadwaterError
      ? result.reason.outcome
      : "settled"
  );
  assert.deepEqual(outcomes.slice(2), ["unknown", "unknown", "notApplied"]);
});

Deno.test("Lane: `sync: false` writes no feed, and with it every commit with an entry fills one slot", async () => {
  using kv = await memoryKv();
  {
    await using node = await openCounter(kv, { sync: false });
    await node.counter.update(increment);
    await node.counter.delete();
    for (const kind of ["feed", "slot", "bell"]) {
      assert.deepEqual(await keysOf(kv, kind), []);
      assert.deepEqual(node.kv.commitsTo((key) => key[1] === kind), []);
    }
    assert.deepEqual(node.kv.reads.filter(({ key }) => key[1] === "feed"), []);
  }
  await using node = await openCounter(kv);
  await node.counter.update(increment);
  await node.counter.update(increment);
  await node.counter.delete();
  const filled = node.kv.commits.filter(writes("slot"));
  assert.equal(filled.length, 4);
  for (const commit of filled) {
    const slot = commit.sets.find(({ key }) => key[1] === "slot")!.key;
    assert.ok(
      commit.checks.some(({ key, versionstamp }) =>
        String(key) === String(slot) && versionstamp === null
      ),
    );
  }
  assert.deepEqual(await feedHeads(kv), [4]);
});

Deno.test("Store: a read that began before a commit of its own does not set it back", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const store = node.loaded("Counter");
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  const writing = node.counter.update(increment);
  await gate.reached;
  // The old head has been read, but its reader is slow.
  const { epoch } = await headOf(kv);
  const slow = new Gate();
  node.kv.afterRead(slow.pass, { match: readOf("head") });
  const checking = store.check();
  await slow.reached;
  gate.open();
  await writing;
  slow.open();
  await checking;
  await settle();
  assert.equal(store.version, 2);
  assert.equal(store.epoch, epoch);
  assert.deepEqual(await node.counter.get(), { n: 1 });
});
