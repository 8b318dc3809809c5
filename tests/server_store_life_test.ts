import assert from "node:assert/strict";
import { Sweeper } from "../server/log/blobs.ts";
import { decodeEntry } from "../server/log/log_entry.ts";
import type { Kv } from "../server/ports.ts";
import type { StaticStore } from "../server/stores/static_store.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import {
  type Commit,
  FaultyKv,
  Gate,
  keyOf,
  readOf,
  throwsAfter,
  touches,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  entriesOf,
  freshState,
  headOf,
  increment,
  keysOf,
  memoryKv,
  type NodeOptions,
  openCounter,
  Replica,
  TestNode,
} from "./_store_harness.ts";

type HookedNode = TestNode & { counter: StaticStore<Counter>; runs: string[] };

/** A node whose counter begins at 10, by a hook. */
async function openHooked(
  kv: Kv,
  options: NodeOptions & { before?: () => Promise<unknown> } = {},
): Promise<HookedNode> {
  const node = new TestNode(kv, options);
  const runs: string[] = [];
  const counter = node.store<Counter>("Counter", { n: 0 })
    .onCreate(async () => {
      runs.push("create");
      await options.before?.();
      return { n: 10 };
    })
    .onTerminate(async () => {
      runs.push(`terminate at ${(await counter.get()).n}`);
    });
  return Object.assign(await node.open(), { counter, runs });
}

async function quiet(): Promise<void> {
  for (let idle = 0; idle < 3;) {
    await settle();
    idle = FaultyKv.busy === 0 ? idle + 1 : 0;
  }
}

Deno.test("Epoch: each life of a store has its own, and what the last one left goes with the next sweep", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  const epochs = new Set<string>();
  const tokens = [];
  for (let life = 0; life < 4; life++) {
    for (let i = 0; i < 3; i++) await node.counter.update(increment);
    await node.counter.update((draft) => {
      (draft as { pad?: string }).pad = "x".repeat(100_000);
    });
    await until(() => node.loaded("Counter").isIdle);
    const { epoch, version } = await headOf(kv);
    assert.equal(version, 5);
    epochs.add(epoch);
    tokens.push({ ...node.token("Counter"), version: 3 });
    if (life < 3) assert.equal(await node.counter.delete(), true);
  }
  assert.equal(epochs.size, 4);
  const { epoch } = await headOf(kv);
  // The keys of four lives lie beside each other, and none is taken for another.
  const lives = async (kind: string) =>
    new Set((await entriesOf(kv, ["hw", kind])).map(({ key }) => key[4]));
  assert.equal((await lives("log")).size, 4);
  const types = [];
  for (const token of tokens) {
    types.push((await node.answer("Counter", token)).type);
  }
  assert.deepEqual(types, ["snap", "snap", "snap", "resume"]);
  await new Sweeper(kv, () => 0, Infinity).sweep();
  assert.deepEqual([...await lives("log")], [epoch]);
  assert.deepEqual([...await lives("blob")], [epoch]);
  assert.deepEqual(await keysOf(kv, "pending"), []);
  assert.equal((await freshState(kv) as { n: number }).n, 3);
});

Deno.test("delete() tells whether there was something, and leaves nothing to read", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  assert.equal(await node.counter.delete(), false);
  await node.counter.update(increment);
  const replica = new Replica(node.loaded("Counter"));
  assert.equal(await node.counter.delete(), true);
  assert.deepEqual(replica.seen, ["deleted"]);
  assert.equal(await node.counter.has(), false);
  assert.deepEqual(await keysOf(kv, "head"), []);
  assert.deepEqual(await node.counter.get(), { n: 0 });
  assert.equal(await node.counter.delete(), false);
});

Deno.test("delete() comes after the writes that were queued before it, and before those that were after", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const { epoch } = await headOf(kv);
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  const before = node.counter.update(increment);
  await gate.reached;
  const also = node.counter.update(increment);
  const deleting = node.counter.delete();
  await quiet();
  const after = node.counter.update(increment);
  gate.open();
  assert.deepEqual(
    (await Promise.all([before, also, after])).map(({ value }) => value),
    [1, 2, 1],
  );
  assert.equal(await deleting, true);
  assert.notEqual((await headOf(kv)).epoch, epoch);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("A write that races with another server's delete begins the next life, whole", async () => {
  using kv = await memoryKv();
  await using a = await openHooked(kv);
  await using b = await openHooked(kv);
  await a.counter.update(increment);
  await b.counter.get();
  a.kv.onCommit(async (run) => {
    assert.equal(await b.counter.delete(), true);
    return await run();
  }, { match: writes("log") });
  const { version, value } = await a.counter.update(increment);
  assert.deepEqual({ version, value }, { version: 2, value: 11 });
  assert.deepEqual(await freshState(kv), { n: 11 });
});

Deno.test("A delete that races with another server's write is tried again on top of it", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.update(increment);
  await b.counter.get();
  a.kv.onCommit(async (run) => {
    await b.counter.update(increment);
    return await run();
  });
  assert.equal(await a.counter.delete(), true);
  assert.equal(await a.counter.has(), false);
  await until(() => b.counter.peek() === undefined);
  assert.deepEqual(await keysOf(kv, "head"), []);
});

Deno.test("Of two servers that delete at once one did it", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.update(increment);
  await b.counter.get();
  const deleted = await Promise.all([a.counter.delete(), b.counter.delete()]);
  assert.deepEqual(deleted.sort(), [false, true]);
});

Deno.test("A delete whose commit throws after it took effect is acknowledged", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.update(increment);
  node.kv.onCommit(throwsAfter);
  assert.equal(await node.counter.delete(), true);
  assert.deepEqual(await keysOf(kv, "head"), []);
});

Deno.test("reset() stays in the epoch: subscribers get a patch", async () => {
  using kv = await memoryKv();
  await using node = await openHooked(kv);
  await node.counter.update(increment);
  const replica = new Replica(node.loaded("Counter"));
  const { epoch } = await headOf(kv);
  await node.counter.reset();
  assert.deepEqual(replica.seen, ["patch 2-3"]);
  assert.deepEqual(replica.state, { n: 0 });
  assert.equal((await headOf(kv)).epoch, epoch);
  assert.equal(await node.counter.isInitialized(), false);
  // The next use runs the hook again.
  assert.equal((await node.counter.update(increment)).value, 11);
  assert.deepEqual(node.runs, ["create", "terminate at 11", "create"]);
  node.loaded("Counter").fanout.flush();
  assert.deepEqual(replica.state, { n: 11 });
  assert.equal((await headOf(kv)).epoch, epoch);
});

Deno.test("reset() by another server is a reset here: onCreate runs before the next write", async () => {
  for (const how of ["feed", "log"]) {
    using kv = await memoryKv();
    await using a = await openHooked(kv);
    await using b = await openHooked(kv, { sync: how === "feed" });
    await a.counter.update(increment);
    assert.deepEqual(await b.counter.get(), { n: 11 });
    await a.counter.reset();
    if (how === "feed") await until(() => b.counter.peek()?.n === 0);
    else await b.loaded("Counter").check();
    assert.equal(await b.counter.isInitialized(), false);
    assert.equal((await b.counter.update(increment)).value, 11);
    assert.deepEqual(b.runs, ["create"]);
  }
});

Deno.test("onCreate runs once, however many ask at the same time", async () => {
  using kv = await memoryKv();
  const gate = new Gate();
  await using node = await openHooked(kv, { before: gate.pass });
  const asking = [
    node.counter.init(),
    node.counter.update(increment),
    node.counter.update(increment),
    node.answer("Counter"),
    node.counter.get(),
    node.counter.isInitialized(),
  ];
  await gate.reached;
  gate.open();
  await Promise.all(asking);
  assert.deepEqual(node.runs, ["create"]);
  assert.deepEqual(await freshState(kv), { n: 12 });
});

Deno.test("onCreate takes effect once in a life, though two servers race", async () => {
  using kv = await memoryKv();
  const gate = new Gate();
  await using a = await openHooked(kv, { before: gate.pass });
  await using b = await openHooked(kv);
  const slow = a.counter.update(increment);
  await gate.reached;
  await b.counter.update(increment);
  gate.open();
  const { value, version } = await slow;
  // Had A's taken effect as well, B's write would be gone.
  assert.deepEqual({ value, version }, { value: 12, version: 3 });
  assert.deepEqual(await freshState(kv), { n: 12 });
  await a.counter.init();
  await b.counter.init();
  assert.deepEqual([a.runs, b.runs], [["create"], ["create"]]);
});

Deno.test("onCreate that throws leaves nothing, and is asked again", async () => {
  using kv = await memoryKv();
  let isBroken = true;
  await using node = await openHooked(kv, {
    before: () =>
      isBroken ? Promise.reject(new RangeError("no floor plan")) : settle(),
  });
  await assert.rejects(node.counter.update(increment), /no floor plan/);
  await assert.rejects(node.answer("Counter"), /no floor plan/);
  assert.equal(await node.counter.has(), false);
  assert.deepEqual(await entriesOf(kv), []);
  assert.equal(node.core.stores.size, 0);
  isBroken = false;
  assert.equal((await node.counter.update(increment)).value, 11);
});

Deno.test("onCreate that throws after a reset leaves the store as it was", async () => {
  using kv = await memoryKv();
  let isBroken = false;
  await using node = await openHooked(kv, {
    before: () => isBroken ? Promise.reject(new RangeError("no")) : settle(),
  });
  await node.counter.update(increment);
  await node.counter.reset();
  isBroken = true;
  await assert.rejects(node.counter.update(increment), RangeError);
  assert.deepEqual(await node.counter.get(), { n: 0 });
  isBroken = false;
  assert.equal((await node.counter.update(increment)).value, 11);
});

Deno.test("onCreate that returns what cannot be shared is refused like any value", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const store = node.store<{ at: unknown }>("S", { at: null })
    .onCreate(() => ({ at: new Date() }));
  await node.open();
  await assert.rejects(store.init(), { code: "bad_value", path: "/at" });
  assert.deepEqual(await entriesOf(kv), []);
});

Deno.test("onTerminate runs before a reset or delete takes effect, and may stop it", async () => {
  using kv = await memoryKv();
  await using node = await openHooked(kv);
  await node.counter.update(increment);
  await node.counter.reset();
  await node.counter.update(increment);
  await node.counter.delete();
  assert.deepEqual(node.runs, [
    "create",
    "terminate at 11",
    "create",
    "terminate at 11",
  ]);
  await using other = new TestNode(kv, {});
  const store = other.store<Counter>("Kept", { n: 0 }).onTerminate(() => {
    throw new RangeError("in use");
  });
  await other.open();
  await store.update(increment);
  await assert.rejects(store.delete(), /in use/);
  await assert.rejects(store.reset(), /in use/);
  assert.deepEqual(await store.get(), { n: 1 });
});

Deno.test("get(), has() and isInitialized() create nothing", async () => {
  using kv = await memoryKv();
  await using node = await openHooked(kv);
  assert.deepEqual(await node.counter.get(), { n: 0 });
  assert.equal(await node.counter.has(), false);
  assert.equal(await node.counter.isInitialized(), false);
  assert.deepEqual(node.runs, []);
  assert.deepEqual(await entriesOf(kv), []);
});

Deno.test("ttlMs: the store ends by a delete that is checked, and lives until then", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, { clock, store: { ttlMs: 10_000 } });
  await node.counter.update(increment);
  assert.equal((await headOf(kv)).expiresAtMs, clock.now() + 10_000);
  const replica = new Replica(node.loaded("Counter"));
  const { epoch } = await headOf(kv);
  await clock.advance(9_999);
  await quiet();
  assert.deepEqual(await node.counter.get(), { n: 1 });
  assert.equal(await node.counter.has(), true);
  assert.deepEqual(replica.seen, []);
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  await clock.advance(1);
  await gate.reached;
  assert.deepEqual(replica.seen, []);
  assert.equal((await keysOf(kv, "head")).length, 1);
  gate.open();
  await quiet();
  assert.deepEqual(replica.seen, ["deleted"]);
  assert.deepEqual(await keysOf(kv, "head"), []);
  const deletion = node.kv.commits.at(-1)!;
  assert.ok(
    deletion.checks.some(({ key, versionstamp }) =>
      key[1] === "head" && versionstamp !== null
    ),
  );
  // Another life, with its own time.
  await node.counter.update(increment);
  const head = await headOf(kv);
  assert.notEqual(head.epoch, epoch);
  assert.equal(head.expiresAtMs, clock.now() + 10_000);
});

Deno.test("ttlMs: Infinity is never, also in create(), where it lifts the definition's", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const node = new TestNode(kv, { clock });
  const brief = node.dynamic("Brief:*", { n: 0 }, { ttlMs: 10_000 });
  const long = node.dynamic("Long:*", { n: 0 }, { ttlMs: Infinity });
  await using _ = await node.open();
  await brief.create("a");
  await brief.create("kept", { ttlMs: Infinity });
  await long.create("a");
  await long.create("brief", { ttlMs: 10_000 });
  assert.equal((await headOf(kv, "Brief:kept")).expiresAtMs, undefined);
  assert.equal((await headOf(kv, "Long:a")).expiresAtMs, undefined);
  await clock.advance(10_000);
  await quiet();
  assert.deepEqual(await brief.list(), ["kept"]);
  assert.deepEqual(await long.list(), ["a"]);
});

Deno.test("ttlMs: writes do not move the end, and one of another server makes the delete try again", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const store = { ttlMs: 10_000 };
  await using a = await openCounter(kv, { clock, store });
  // Its clock is behind: for this server the store has time left.
  await using b = await openCounter(kv, { clock: new FakeClock(), store });
  await a.counter.init();
  await b.counter.get();
  await clock.advance(5_000);
  await a.counter.update(increment);
  assert.equal((await headOf(kv)).expiresAtMs, clock.now() + 5_000);
  const isDeletion = (commit: Commit) => commit.deletes.some(keyOf("head"));
  a.kv.onCommit(async (run) => {
    const behind = b.environment().clock as FakeClock; // given above
    await drive(behind, b.counter.update(increment));
    return await run();
  }, { match: isDeletion });
  await clock.advance(5_000);
  await drive(
    clock,
    until(async () => (await keysOf(kv, "head")).length === 0),
  );
  assert.equal(a.kv.commits.filter(isDeletion).length, 2);
});

Deno.test("ttlMs: a store that expired while nobody had it is gone for whoever asks", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const store = { ttlMs: 10_000 };
  {
    await using a = await openCounter(kv, { clock, store });
    await a.counter.update(increment);
  }
  clock.jump(10_000);
  await using b = await openCounter(kv, { clock, store });
  assert.equal(await b.counter.has(), false);
  assert.deepEqual(await b.core.stores.list("default"), []);
  assert.deepEqual(await b.counter.get(), { n: 0 });
  assert.deepEqual(await keysOf(kv, "head"), []);
  assert.equal((await b.counter.update(increment)).value, 1);
});

Deno.test("ttlMs: two servers that find it expired at once both go on", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const store = { ttlMs: 10_000 };
  {
    await using first = await openCounter(kv, { clock, store });
    await first.counter.update(increment);
  }
  clock.jump(10_000);
  for (const recreates of [false, true]) {
    await using a = await openCounter(kv, { clock, store });
    await using b = await openCounter(kv, { clock, store });
    const gate = new Gate();
    a.kv.onCommit(waitsBefore(gate));
    const slow: Promise<unknown> = recreates
      ? a.counter.update(increment).then(({ value }) => ({ n: value }))
      : a.counter.get();
    await gate.reached;
    assert.deepEqual(await b.counter.get(), { n: 0 });
    if (recreates) await b.counter.update(increment);
    gate.open();
    assert.deepEqual(await drive(clock, slow), { n: recreates ? 2 : 0 });
    // Again for the other case.
    await using next = await openCounter(kv, { clock, store });
    await next.counter.update(increment);
    clock.jump(10_000);
  }
});

Deno.test("ttlMs: the time in the head counts, also for a server that created it a moment too late", async () => {
  using kv = await memoryKv();
  const store = { ttlMs: 10_000 };
  const [early, late] = [new FakeClock(), new FakeClock()];
  late.jump(3_000);
  await using a = await openCounter(kv, { clock: early, store });
  await using b = await openCounter(kv, { clock: late, store });
  b.kv.onCommit(async (run) => {
    await a.counter.init();
    return await run();
  });
  await drive(late, b.counter.update(increment));
  assert.equal((await headOf(kv)).expiresAtMs, early.now() + 10_000);
});

Deno.test("ttlMs: an end that could not be committed comes later", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    store: { ttlMs: 10_000 },
    limits: { commitMs: 500, idleMs: 1e9 },
  });
  await node.counter.update(increment);
  node.kv.outage = new Error("gone");
  await clock.advance(12_000);
  node.kv.outage = undefined;
  assert.equal((await keysOf(kv, "head")).length, 1);
  await drive(
    clock,
    until(async () => (await keysOf(kv, "head")).length === 0),
  );
  assert.equal(node.counter.peek(), undefined);
});

Deno.test("A store that nobody uses is unloaded, and loaded again when somebody does", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { idleMs: 1_000 },
  });
  await node.counter.update(increment);
  await clock.advance(900);
  assert.deepEqual(node.counter.peek(), { n: 1 });
  await clock.advance(1_500);
  assert.equal(node.counter.peek(), undefined);
  assert.equal(node.core.stores.size, 0);
  assert.deepEqual(await node.counter.get(), { n: 1 });
  assert.equal((await node.counter.update(increment)).version, 3);
});

Deno.test("A store that has a subscriber, or is written now and then, is not unloaded", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { idleMs: 1_000 },
  });
  await node.counter.update(increment);
  const replica = new Replica(node.loaded("Counter"));
  await clock.advance(10_000);
  assert.deepEqual(node.counter.peek(), { n: 1 });
  replica.end();
  for (let i = 0; i < 10; i++) {
    await clock.advance(600);
    await drive(clock, node.counter.update(increment));
  }
  assert.deepEqual(node.counter.peek(), { n: 11 });
  await clock.advance(10_000);
  assert.equal(node.core.stores.size, 0);
});

Deno.test("A store is not unloaded while it commits", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, {
    clock,
    limits: { idleMs: 100, commitMs: 100_000 },
  });
  await node.counter.init();
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  const writing = node.counter.update(increment);
  await gate.reached;
  await clock.advance(5_000);
  assert.ok(node.counter.peek());
  gate.open();
  await writing;
});

Deno.test("close() commits what is queued, and nobody can begin anything after it", async () => {
  using kv = await memoryKv();
  const node = await openCounter(kv);
  await node.counter.init();
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  const writing = Promise.all([
    node.counter.update(increment),
    node.counter.update(increment),
  ]);
  await gate.reached;
  let isClosed = false;
  const closing = node.close().then(() => isClosed = true);
  await quiet();
  assert.equal(isClosed, false);
  gate.open();
  await Promise.all([writing, closing]);
  assert.deepEqual(await freshState(kv), { n: 2 });
  await assert.rejects(node.counter.update(increment), { code: "closed" });
});

Deno.test("A state is frozen, wherever it comes from", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  const isFrozen = (value: unknown): boolean =>
    typeof value !== "object" || value === null ||
    Object.isFrozen(value) && Object.values(value).every(isFrozen);
  const put = (list: number[]) =>
    a.counter.update((draft) => {
      (draft as { list?: unknown }).list = { deep: list };
    });
  await put([1]);
  assert.ok(isFrozen(a.counter.peek()));
  // Read from the KV.
  assert.ok(isFrozen(await b.counter.get()));
  await put([1, 2]);
  await until(() => JSON.stringify(b.counter.peek()).includes("[1,2]"));
  // Told by the feed.
  assert.ok(isFrozen(b.counter.peek()));
});

Deno.test("Each write is one entry with its author and origin", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.call(
    { call: 3, session: "s", issuedAtMs: 5, oldest: 2 },
    () => node.counter.update(increment),
  );
  const [, entry] = await entriesOf(kv, ["hw", "log"]);
  const [mutation] = decodeEntry(entry?.value).mutations;
  assert.equal(mutation?.author, "client");
  assert.deepEqual(mutation?.origin, {
    session: "s",
    issuedAtMs: 5,
    call: 3,
    n: 0,
    oldest: 2,
  });
  assert.equal(mutation?.value, 1);
});

Deno.test("A store that is created by two servers at once is one store", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  a.kv.onCommit(async (run) => {
    await b.counter.update(increment);
    return await run();
  });
  assert.equal((await a.counter.update(increment)).value, 2);
  assert.equal((await entriesOf(kv, ["hw", "log"])).length, 3);
  assert.equal(a.token("Counter").epoch, (await headOf(kv)).epoch);
  await until(() => b.counter.peek()?.n === 2);
});

Deno.test("A store that cannot be read for the moment can be later", async () => {
  using kv = await memoryKv();
  {
    await using first = await openCounter(kv);
    await first.counter.update(increment);
  }
  await using node = await openCounter(kv);
  node.kv.beforeRead(() => {
    throw new Error("connection reset");
  }, { match: readOf("log") });
  await assert.rejects(node.counter.get());
  assert.deepEqual(await node.counter.get(), { n: 1 });
  assert.ok(!node.kv.commits.some(touches(keyOf("head"))));
});
