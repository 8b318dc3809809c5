/** Stored states of another version than the definition's. */
import assert from "node:assert/strict";
import { z } from "zod";
import type { Kv } from "../server/ports.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { StaticStore } from "../server/stores/static_store.ts";
import { until } from "./_harness.ts";
import { FaultyKv, Gate, waitsBefore, writes } from "./_kv_faults.ts";
import {
  type Counter,
  entriesOf,
  headOf,
  increment,
  memoryKv,
  openCounter,
  outgrowLog,
  Replica,
  type TestNode,
} from "./_store_harness.ts";

type Node = TestNode & { counter: StaticStore<Counter> };

/** A server whose counter has `version`: each version from 2 on counts ten times as fine. */
async function open(
  kv: Kv,
  version?: number,
  options: StoreOptions = {},
): Promise<Node & { migrated: number[] }> {
  const migrated: number[] = [];
  const migrate = (state: unknown, from: number): Counter => {
    migrated.push(from);
    const counter = state as Counter; // so it is stored
    for (let at = from; at < (version ?? 1); at++) counter.n *= 10;
    return counter;
  };
  const store = { version, migrate, ...options };
  return Object.assign(await openCounter(kv, { store }), { migrated });
}

/** A KV in which the counter was written with `version`, and is at 3, version 4 of the store. */
async function stored(version?: number): Promise<Kv & Disposable> {
  const kv = await memoryKv();
  await using node = await open(kv, version);
  for (let i = 0; i < 3; i++) await node.counter.update(increment);
  return kv;
}

/** Everything that the KV holds of stores, to see that nothing has changed. */
async function contents(kv: Kv): Promise<unknown> {
  const kinds = new Set(["head", "log", "snap", "pending"]);
  return (await entriesOf(kv)).filter(({ key }) => kinds.has(String(key[1])));
}

const TOO_NEW = {
  code: "store_unreadable",
  outcome: "notApplied",
  message:
    'Cannot use store "Counter": it is stored with version 2, and here its version is 1',
};

Deno.test("a state of an older version is migrated at load, once, as a version of the store", async () => {
  using kv = await stored();
  assert.equal((await headOf(kv)).schema, undefined);
  await using a = await open(kv, 2);
  assert.deepEqual(await a.counter.get(), { n: 30 });
  assert.deepEqual(a.migrated, [1]);
  const { schema, version } = await headOf(kv);
  assert.deepEqual([schema, version], [2, 5]);
  await a.counter.update(increment);
  await using b = await open(kv, 2);
  assert.deepEqual(await b.counter.get(), { n: 31 });
  assert.deepEqual(b.migrated, []);
  assert.equal((await headOf(kv)).schema, 2);
});

Deno.test("migrate() is told from which version, however many there are between", async () => {
  using kv = await stored(2);
  await using node = await open(kv, 5);
  assert.deepEqual(await node.counter.get(), { n: 3_000 });
  assert.deepEqual(node.migrated, [2]);
});

Deno.test("a write is made on the migrated state", async () => {
  using kv = await stored();
  await using node = await open(kv, 2);
  const { value, version } = await node.counter.update(increment);
  assert.deepEqual([value, version], [31, 6]);
});

Deno.test("several servers that load at once migrate once", async () => {
  using kv = await stored();
  const nodes = await Promise.all([1, 2, 3, 4].map(() => open(kv, 2)));
  let arrived = 0;
  for (const node of nodes) {
    node.kv.onCommit(async (run) => {
      arrived++;
      await until(() => arrived === nodes.length);
      return await run();
    }, { match: writes("head") });
  }
  try {
    const states = await Promise.all(nodes.map(({ counter }) => counter.get()));
    assert.deepEqual(states, Array(4).fill({ n: 30 }));
    assert.equal((await headOf(kv)).version, 5);
  } finally {
    for (const node of nodes) await node.close();
  }
});

Deno.test("what an old server writes while a new one migrates is migrated, too", async () => {
  using kv = await stored();
  await using old = await open(kv);
  await old.counter.get();
  await using node = await open(kv, 2);
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate), { match: writes("head") });
  const reading = node.counter.get();
  await gate.reached;
  assert.equal((await old.counter.update(increment)).value, 4);
  gate.open();
  assert.deepEqual(await reading, { n: 40 });
  assert.deepEqual(node.migrated, [1, 1]);
  assert.equal((await headOf(kv)).version, 6);
});

Deno.test("an atomic that took effect though it threw migrates once", async () => {
  using kv = await stored();
  await using node = await open(kv, 2);
  node.kv.onCommit(async (run) => {
    await run();
    throw new TypeError("connection lost");
  }, { match: writes("head") });
  assert.deepEqual(await node.counter.get(), { n: 30 });
  assert.equal((await headOf(kv)).version, 5);
});

Deno.test("a state of a newer version is refused, and stays as it is", async () => {
  using kv = await stored(2);
  const before = await contents(kv);
  await using node = await open(kv);
  await assert.rejects(node.counter.get(), TOO_NEW);
  await assert.rejects(node.counter.update(increment), TOO_NEW);
  await assert.rejects(node.counter.set({ n: 0 }), TOO_NEW);
  await assert.rejects(node.counter.reset(), TOO_NEW);
  assert.deepEqual(await contents(kv), before);
  assert.equal(await node.counter.has(), true);
});

Deno.test("a server that has a store loaded ends it when a newer one migrates it", async () => {
  using kv = await stored();
  await using old = await open(kv);
  await old.counter.get();
  const replica = new Replica(old.loaded("Counter"));
  await using node = await open(kv, 2);
  assert.deepEqual(await node.counter.get(), { n: 30 });
  await until(() => replica.seen.length > 0);
  // And no patch before that: nothing of the new shape is shown.
  assert.deepEqual(replica.seen, ["ended: store_unreadable"]);
  await assert.rejects(old.counter.update(increment), TOO_NEW);
  assert.deepEqual(await node.counter.get(), { n: 30 });
});

Deno.test("a write of an old server that is on its way when a newer one migrates is refused", async () => {
  using kv = await stored();
  await using old = await open(kv);
  await old.counter.get();
  const gate = new Gate();
  old.kv.onCommit(waitsBefore(gate), { match: writes("head") });
  const writing = old.counter.update(increment);
  await gate.reached;
  await using node = await open(kv, 2);
  assert.deepEqual(await node.counter.get(), { n: 30 });
  gate.open();
  await assert.rejects(writing, TOO_NEW);
  assert.deepEqual(await node.counter.get(), { n: 30 });
});

const FAILING: Record<string, [StoreOptions, RegExp]> = {
  "throws": [{
    migrate(state) {
      (state as Counter).n = -1;
      throw new Error("no idea");
    },
  }, /^Cannot migrate store "Counter" from version 1 to 2: no idea$/],
  "is asynchronous": [{
    migrate: () => Promise.reject(new Error("late")),
  }, /migrate\(\) must not be asynchronous$/],
  "returns nothing": [{
    migrate: (() => {}) as unknown as () => object,
  }, /undefined/],
  "returns a list": [{ migrate: () => [] }, /must be an object$/],
  "returns what cannot be shared": [{
    migrate: () => ({ n: new Date() }),
  }, /found an instance of Date at \/n$/],
  "returns what the schema refuses": [{
    migrate: () => ({ n: "3" }),
    schema: z.object({ n: z.number() }),
  }, /at \/n$/],
};

for (const [how, [options, message]] of Object.entries(FAILING)) {
  Deno.test(`a migration that fails leaves the store as it was: it ${how}`, async () => {
    using kv = await stored();
    const before = await contents(kv);
    {
      await using node = await open(kv, 2, options);
      const refusal = { code: "store_unreadable", message };
      await assert.rejects(node.counter.get(), refusal);
      await assert.rejects(node.counter.update(increment), refusal);
      assert.deepEqual(await contents(kv), before);
    }
    await using old = await open(kv);
    assert.equal((await old.counter.update(increment)).value, 4);
    await using mended = await open(kv, 2);
    assert.deepEqual(await mended.counter.get(), { n: 40 });
  });
}

Deno.test("a definition with a higher version, but without migrate(), is told so", async () => {
  using kv = await stored();
  await using node = await openCounter(kv, { store: { version: 2 } });
  await assert.rejects(node.counter.get(), {
    message:
      'Cannot migrate store "Counter" from version 1 to 2: its definition has no migrate()',
  });
});

Deno.test("migrate() may give what the schema fills in", async () => {
  using kv = await stored();
  const schema = z.object({ n: z.number(), step: z.number().default(1) });
  await using node = await open(kv, 2, { schema });
  assert.deepEqual(await node.counter.get(), { n: 30, step: 1 });
});

Deno.test("a migration that changes nothing is a version all the same", async () => {
  using kv = await stored();
  await using node = await open(kv, 2, {
    migrate: (state) => state as Counter,
  });
  assert.deepEqual(await node.counter.get(), { n: 3 });
  const { schema, version } = await headOf(kv);
  assert.deepEqual([schema, version], [2, 5]);
});

Deno.test("a store is born with the version of its definition, and keeps it over resets and lives", async () => {
  using kv = await memoryKv();
  await using node = await open(kv, 3);
  await node.counter.init();
  assert.equal((await headOf(kv)).schema, 3);
  await node.counter.reset();
  assert.equal((await headOf(kv)).schema, 3);
  await node.counter.delete();
  await node.counter.update(increment);
  assert.equal((await headOf(kv)).schema, 3);
  assert.deepEqual(node.migrated, []);
});

Deno.test("the version outlives snapshots", async () => {
  using kv = await stored();
  {
    await using node = await open(kv, 2);
    await outgrowLog(node);
    assert.ok((await headOf(kv)).snapshot);
  }
  await using next = await open(kv, 2);
  assert.deepEqual(await next.counter.get(), { n: 30 });
  assert.deepEqual(next.migrated, []);
});

Deno.test("a store that is set back to before its migration is migrated again", async () => {
  using kv = await stored();
  const backup = await entriesOf(kv);
  await using node = await open(kv, 2);
  await node.counter.update(increment);
  for (const { key } of await entriesOf(kv)) {
    if (key[1] === "head" || key[1] === "log") {
      await kv.atomic().delete(key).commit();
    }
  }
  for (const { key, value } of backup) {
    if (key[1] === "head" || key[1] === "log") {
      await kv.atomic().set(key, value).commit();
    }
  }
  await node.core.stores.checkAll().catch(() => {});
  assert.deepEqual(await node.counter.get(), { n: 30 });
  assert.equal((await headOf(kv)).schema, 2);
  assert.deepEqual(node.migrated, [1, 1]);
});

Deno.test("createStore() refuses a version that is none", async () => {
  using kv = await memoryKv();
  for (const version of [0, -1, 1.5, NaN, Infinity]) {
    await assert.rejects(openCounter(kv, { store: { version } }), {
      name: "RangeError",
      message: /version must be an integer from 1/,
    });
  }
});

Deno.test("a store without a version is as before: its records do not tell one", async () => {
  using kv = await memoryKv();
  const faulty = new FaultyKv(kv);
  await using node = await openCounter(faulty);
  await node.counter.update(increment);
  const { schema } = await headOf(kv);
  assert.equal(schema, undefined);
});
