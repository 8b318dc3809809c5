import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { FEED_MS } from "../server/log/commit.ts";
import { bellKey, logKey, slotKey } from "../server/log/keys.ts";
import type { Kv } from "../server/ports.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { tempKvPath, until } from "./_harness.ts";
import { FaultyKv, Gate, locked, readOf, writes } from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  entriesOf,
  feedHeads,
  freshState,
  headOf,
  idOf,
  increment,
  keysOf,
  memoryKv,
  type NodeOptions,
  openCounter,
  Replica,
  TestNode,
} from "./_store_harness.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";

type ManyNode = TestNode & { stores: DynamicStore<Counter> };

async function openMany(kv: Kv, options: NodeOptions = {}): Promise<ManyNode> {
  const node = new TestNode(kv, options);
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  return Object.assign(await node.open(), { stores });
}

/** A clock that a suspended process wakes up with. */
class SuspendedClock extends FakeClock {
  #suspendedMs = 0;

  suspend(ms: number): void {
    this.#suspendedMs += ms;
  }

  override monotonic(): number {
    return super.monotonic() + this.#suspendedMs;
  }
}

/** Lets a reader on a virtual clock poll once. */
async function poll(clock: FakeClock, ms = 200): Promise<void> {
  await quiet();
  await clock.advance(ms);
  await quiet();
  // Reads keep a distance.
  await clock.advance(3);
  await quiet();
}

async function quiet(): Promise<void> {
  let idle = 0;
  while (idle < 3) {
    await settle();
    idle = FaultyKv.busy === 0 ? idle + 1 : 0;
  }
}

Deno.test("FeedReader: two servers over one file are in step, both ways", async () => {
  await using file = await tempKvPath();
  const [one, two] = [await openDenoKv(file.path), await openDenoKv(file.path)];
  try {
    await using a = await openCounter(one.kv);
    await using b = await openCounter(two.kv);
    await a.counter.init();
    await b.counter.init();
    const replicas = [a, b].map((node) => new Replica(node.loaded("Counter")));
    for (let i = 0; i < 5; i++) {
      await a.counter.update(increment);
      await until(() => b.counter.peek()?.n === 2 * i + 1);
      await b.counter.update(increment);
      await until(() => a.counter.peek()?.n === 2 * i + 2);
    }
    for (const { state } of replicas) assert.deepEqual(state, { n: 10 });
  } finally {
    await one.close();
    await two.close();
  }
});

Deno.test("FeedReader: the watch is enough, well before the poll", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv, { clock });
  await a.counter.init();
  await b.counter.get();
  await a.counter.update(increment);
  await until(async () => {
    await clock.advance(1);
    return b.counter.peek()?.n === 1;
  }, { ms: 1_000 });
  assert.ok(clock.monotonic() < 200);
});

Deno.test("FeedReader: the poll is enough where the watch never fires, and is slower far away", async () => {
  for (const [isLocal, pollMs] of [[true, 200], [false, 2_000]] as const) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    await using a = await openCounter(kv);
    await using b = await openCounter(kv, {
      clock,
      isLocal,
      isWatchDead: true,
    });
    await a.counter.init();
    await b.counter.get();
    await poll(clock, 5);
    await a.counter.update(increment);
    await poll(clock, pollMs - 20);
    assert.equal(b.counter.peek()?.n, 0);
    await poll(clock, 20);
    assert.equal(b.counter.peek()?.n, 1);
    await a.counter.update(increment);
    await poll(clock, pollMs);
    assert.equal(b.counter.peek()?.n, 2);
  }
});

Deno.test("FeedReader: a watch that ended is begun again", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv, { clock });
  await a.counter.init();
  await b.counter.get();
  b.kv.endWatches();
  await quiet();
  assert.equal(b.kv.watches.length, 1);
  await clock.advance(1_000);
  await quiet();
  assert.equal(b.kv.watches.length, 2);
  const { monotonic } = { monotonic: clock.monotonic() };
  await a.counter.update(increment);
  await until(async () => {
    await clock.advance(1);
    return b.counter.peek()?.n === 1;
  });
  assert.ok(clock.monotonic() - monotonic < 200);
});

Deno.test("FeedReader: one watch, of the bell, however many stores are loaded", async () => {
  using kv = await memoryKv();
  await using node = await openMany(kv);
  for (let i = 0; i < 30; i++) await node.stores.init(`${i}`);
  assert.deepEqual(node.kv.watches, [[bellKey()]]);
});

Deno.test("FeedReader: three servers that all write end with the same, without gap", async () => {
  using kv = await memoryKv();
  const nodes: ManyNode[] = [];
  try {
    for (let i = 0; i < 3; i++) nodes.push(await openMany(kv));
    const replicas: Replica[] = [];
    for (const node of nodes) {
      for (const key of ["x", "y"]) {
        await node.stores.init(key);
        replicas.push(new Replica(node.loaded(`C:${key}`)));
      }
    }
    await Promise.all(
      nodes.flatMap((node, i) =>
        Array.from({ length: 60 }, async (_, j) => {
          for (let turn = 0; turn < (i * 7 + j) % 11; turn++) {
            await node.kv.get(["turn"]);
          }
          await node.stores.update(j % 3 === 0 ? "y" : "x", increment);
        })
      ),
    );
    await until(() =>
      nodes.every(({ stores }) =>
        stores.peek("x")?.n === 120 && stores.peek("y")?.n === 60
      )
    );
    for (const node of nodes) {
      node.loaded("C:x").fanout.flush();
      node.loaded("C:y").fanout.flush();
    }
    for (const [i, { state, seen }] of replicas.entries()) {
      assert.deepEqual(state, { n: i % 2 === 0 ? 120 : 60 });
      assert.ok(!seen.some((what) => what.startsWith("jump")), String(seen));
    }
    assert.deepEqual(await freshState(kv, "C:x"), { n: 120 });
    // Every feed is numbered without holes.
    const slots = (await keysOf(kv, "slot")).length;
    const heads = await feedHeads(kv);
    assert.equal(slots, heads.reduce((sum, head) => sum + head, 0));
  } finally {
    for (const node of nodes) await node.close();
  }
});

Deno.test("FeedReader: a small change comes with the feed, without a read of its log", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.init();
  await b.counter.get();
  const before = b.kv.reads.length;
  await a.counter.update(increment);
  await until(() => b.counter.peek()?.n === 1);
  const kinds = new Set(b.kv.reads.slice(before).map(({ key }) => key[1]));
  for (const kind of ["head", "log", "blob"]) assert.ok(!kinds.has(kind));
});

Deno.test("FeedReader: a server does not read its own feed", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.update(increment);
  await b.counter.update(increment);
  await until(() => a.counter.peek()?.n === 2);
  const [feed] = a.kv.commits.flatMap(({ sets }) =>
    sets.flatMap(({ key }) => key[1] === "slot" ? [key[2]] : [])
  );
  const read = a.kv.reads.filter(readOf("slot")).map(({ key }) => key[2]);
  assert.ok(read.length > 0);
  assert.ok(!read.includes(feed!));
});

Deno.test("FeedReader: a gap in a feed means that every head is checked", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv);
  await using b = await openMany(kv, { clock, isWatchDead: true });
  for (const key of ["x", "y", "z"]) {
    await a.stores.init(key);
    await b.stores.get(key);
  }
  await poll(clock);
  const [feed] = await keysOf(kv, "feed");
  // What changed x is known to that slot alone.
  await a.stores.update("x", increment);
  const slot = (await feedHeads(kv))[0]!;
  await a.stores.update("y", increment);
  await kv.atomic().delete(slotKey(feed!, slot)).commit();
  await poll(clock);
  assert.deepEqual(["x", "y", "z"].map((key) => b.stores.peek(key)?.n), [
    1,
    1,
    0,
  ]);
});

Deno.test("FeedReader: slots missing at a feed's end are a gap, too", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv);
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await a.stores.init("x");
  await b.stores.get("x");
  await poll(clock);
  await a.stores.update("x", increment);
  const [feed] = await keysOf(kv, "feed");
  const [slot] = await feedHeads(kv);
  await kv.atomic().delete(slotKey(feed!, slot!)).commit();
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 1);
});

Deno.test("FeedReader: a slot that cannot be read is a gap, and stops nothing", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv);
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await a.stores.init("x");
  await b.stores.get("x");
  await poll(clock);
  await a.stores.update("x", increment);
  const [feed] = await keysOf(kv, "feed");
  const [slot] = await feedHeads(kv);
  const garbage = new Uint8Array([0, 0, 0, 9, 0xc1]);
  await kv.atomic().set(slotKey(feed!, slot!), garbage).commit();
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 1);
  await a.stores.update("x", increment);
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 2);
});

Deno.test("FeedReader: the heads are checked again where that failed", async () => {
  for (const kind of ["head", "log"]) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    await using a = await openMany(kv);
    await using b = await openMany(kv, { clock, isWatchDead: true });
    for (const key of ["x", "y"]) {
      await a.stores.init(key);
      await b.stores.get(key);
    }
    await poll(clock);
    await a.stores.update("x", increment);
    await a.stores.update("y", increment);
    for (const { key } of await entriesOf(kv, ["hw", "slot"])) {
      await kv.atomic().delete(key).commit();
    }
    b.kv.beforeRead(() => {
      throw new Error("connection reset");
    }, { match: readOf(kind) });
    await poll(clock);
    await poll(clock);
    assert.deepEqual(["x", "y"].map((key) => b.stores.peek(key)?.n), [1, 1]);
  }
});

Deno.test("FeedReader: an item that could not be taken is not forgotten", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv);
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await a.stores.init("x");
  await b.stores.get("x");
  await poll(clock);
  // Too large for the feed, so the log must be read, and that fails.
  await a.stores.update("x", (draft) => {
    draft.n = 1;
    (draft as { pad?: string }).pad = "x".repeat(20_000);
  });
  b.kv.beforeRead(() => {
    throw new Error("connection reset");
  }, { match: readOf("head") });
  await poll(clock);
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 1);
});

Deno.test("FeedReader: one store that cannot be read does not keep the others behind", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv, { sync: false });
  await using b = await openMany(kv, { clock, isWatchDead: true });
  for (const key of ["x", "y", "z"]) {
    await a.stores.init(key);
    await b.stores.get(key);
    await a.stores.update(key, increment);
  }
  const { epoch } = await headOf(kv, "C:x");
  await kv.atomic().delete(logKey(idOf("C:x"), epoch, 2)).commit();
  await b.core.stores.checkAll().catch(() => {});
  await quiet();
  assert.deepEqual(["y", "z"].map((key) => b.stores.peek(key)?.n), [1, 1]);
});

Deno.test("FeedReader: a server that was suspended checks every head, though no slot is missing", async () => {
  using kv = await memoryKv();
  const clock = new SuspendedClock();
  await using a = await openMany(kv);
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await a.stores.init("x");
  await b.stores.get("x");
  await poll(clock);
  await a.stores.update("x", increment);
  // All that it said of this has expired.
  for (const kind of ["slot", "feed"]) {
    for (const { key } of await entriesOf(kv, ["hw", kind])) {
      await kv.atomic().delete(key).commit();
    }
  }
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 0);
  clock.suspend(FEED_MS / 2);
  await poll(clock);
  assert.equal(b.stores.peek("x")?.n, 1);
});

Deno.test("FeedReader: slots and heads of feeds expire, well after a reader counts as away", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.update(increment);
  for (const commit of node.kv.commits.filter(writes("slot"))) {
    for (const { key, expireIn } of commit.sets) {
      const isFeed = key[1] === "slot" || key[1] === "feed";
      assert.equal(expireIn, isFeed ? FEED_MS : undefined, String(key[1]));
    }
  }
});

Deno.test("FeedReader: the feed of a server that has just begun is read from its first slot", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await b.stores.init("x");
  await b.stores.init("y");
  await poll(clock);
  await using a = await openMany(kv);
  await a.stores.update("x", increment);
  await a.stores.update("y", increment);
  await poll(clock);
  assert.deepEqual(["x", "y"].map((key) => b.stores.peek(key)?.n), [1, 1]);
});

Deno.test("FeedReader: a feed that is first seen above its first slot means that every head is checked", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using b = await openMany(kv, { clock, isWatchDead: true });
  await b.stores.init("x");
  await b.stores.init("y");
  await poll(clock);
  await using a = await openMany(kv);
  await a.stores.update("x", increment);
  const [first] = (await entriesOf(kv, ["hw", "slot"])).filter(({ key }) =>
    key[3] === 1 &&
    key[2] !==
      b.kv.commits[0]?.sets.find(({ key }) => key[1] === "slot")?.key[2]
  );
  await a.stores.update("y", increment);
  await kv.atomic().delete(first!.key).commit();
  await poll(clock);
  assert.deepEqual(["x", "y"].map((key) => b.stores.peek(key)?.n), [1, 1]);
});

Deno.test("FeedReader: what was said before a server began does not concern it", async () => {
  using kv = await memoryKv();
  await using a = await openMany(kv);
  for (let i = 0; i < 5; i++) await a.stores.update("x", increment);
  const clock = new FakeClock();
  await using b = await openMany(kv, { clock, isWatchDead: true });
  assert.deepEqual(await b.stores.get("x"), { n: 5 });
  await poll(clock);
  assert.deepEqual(b.kv.reads.filter(readOf("slot")), []);
});

Deno.test("Core.open() takes the cursors before any store can be loaded", async () => {
  using kv = await memoryKv();
  const node = new TestNode(kv, {});
  const gate = new Gate();
  node.kv.beforeRead(gate.pass, { match: readOf("feed") });
  let isOpen = false;
  const opening = node.open().then(() => isOpen = true);
  await gate.reached;
  await quiet();
  assert.equal(isOpen, false);
  gate.open();
  await opening;
  await node.close();
});

Deno.test("StoreRegistry: a store that is loaded while the feed speaks of it is not left behind", async () => {
  // The feed speaks while the store is read, and again while that is made good.
  for (const times of [1, 2]) {
    using kv = await memoryKv();
    const clock = new FakeClock();
    await using a = await openMany(kv);
    await a.stores.init("x");
    await using b = await openMany(kv, { clock, isWatchDead: true });
    const gates = [new Gate(), new Gate()].slice(0, times);
    for (const gate of gates) {
      b.kv.afterRead(gate.pass, { match: readOf("head") });
    }
    const loading = b.stores.get("x");
    for (const gate of gates) {
      await gate.reached;
      await a.stores.update("x", increment);
      const before = b.kv.reads.filter(readOf("slot")).length;
      await poll(clock);
      assert.ok(b.kv.reads.filter(readOf("slot")).length > before);
      gate.open();
    }
    await loading;
    await until(() => b.stores.peek("x")?.n === times);
  }
});

Deno.test("StoreRegistry: a store that may be behind, and cannot be checked, is not given out", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openMany(kv);
  await a.stores.init("x");
  await using b = await openMany(kv, { clock, isWatchDead: true });
  const gate = new Gate();
  b.kv.afterRead(gate.pass, { match: readOf("head") });
  const loading = b.stores.get("x");
  await gate.reached;
  await a.stores.update("x", increment);
  await poll(clock);
  b.kv.beforeRead(() => {
    throw new Error("connection reset");
  }, { match: readOf("head") });
  gate.open();
  await assert.rejects(loading, { code: "unavailable", outcome: "notApplied" });
  assert.equal(b.core.stores.size, 0);
  assert.deepEqual(await b.stores.get("x"), { n: 1 });
});

Deno.test("Store.check() does not rely on a read that began before it was called", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await a.counter.init();
  await using b = await openCounter(kv, { sync: false });
  await b.counter.get();
  const store = b.loaded("Counter");
  const gate = new Gate();
  b.kv.afterRead(gate.pass, { match: readOf("head") });
  const first = store.check();
  await gate.reached;
  await a.counter.update(increment);
  const second = store.check();
  gate.open();
  await Promise.all([first, second]);
  assert.deepEqual(b.counter.peek(), { n: 1 });
});

Deno.test("Store: a delete by another server ends it here", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.update(increment);
  await b.counter.get();
  const replica = new Replica(b.loaded("Counter"));
  await a.counter.delete();
  await until(() => replica.seen.length > 0);
  assert.deepEqual(replica.seen, ["deleted"]);
  assert.equal(b.counter.peek(), undefined);
  assert.equal((await b.counter.update(increment)).version, 2);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("FeedReader: the feed is read while the database is locked now and then", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv, { clock, isWatchDead: true });
  await a.counter.init();
  await b.counter.get();
  await poll(clock);
  await a.counter.update(increment);
  for (const kind of ["feed", "slot"]) {
    b.kv.beforeRead(() => {
      throw locked();
    }, { match: readOf(kind) });
  }
  await clock.advance(200);
  await drive(clock, until(() => b.counter.peek()?.n === 1));
});

Deno.test("Lane: every boot has a feed of its own", async () => {
  using kv = await memoryKv();
  for (let boot = 0; boot < 3; boot++) {
    await using node = await openCounter(kv);
    await node.counter.update(increment);
  }
  assert.deepEqual((await feedHeads(kv)).sort(), [1, 1, 2]);
});
