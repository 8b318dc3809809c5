/** Transactions that go together in one atomic, and that nobody pays for another's conflict. */
import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { AtomicWriter } from "../server/log/atomic_writer.ts";
import type { StoreCommit } from "../server/log/commit.ts";
import type { Clock, Kv } from "../server/ports.ts";
import { Transactions } from "../server/transaction.ts";
import { WriterPool } from "../server/stores/writer_pool.ts";
import { FakeClock } from "./_fake_clock.ts";
import { FaultyKv, Gate, keyOf, waitsBefore } from "./_kv_faults.ts";
import { freshState, memoryKv, TestNode } from "./_store_harness.ts";

const COMMIT_MS = 2_000;

/** A pool of one writer, whose first atomic waits at a gate. */
class Bench {
  readonly kv: FaultyKv;
  readonly gate = new Gate();
  readonly clock: Clock;
  readonly #pool: WriterPool;

  constructor(kv: Kv, clock: Clock = denoPorts().clock) {
    this.kv = new FaultyKv(kv);
    this.kv.onCommit(waitsBefore(this.gate));
    this.clock = clock;
    const { random } = denoPorts();
    const shared = { clock, random, sync: false, isLocal: true };
    const writers = [new AtomicWriter({ ...shared, kv: this.kv })];
    this.#pool = new WriterPool({ clock, writers, commitMs: COMMIT_MS });
  }

  commit(
    names: string,
    { leftMs = COMMIT_MS, isAlone = false, stamp = null }: {
      leftMs?: number;
      isAlone?: boolean;
      stamp?: string | null;
    } = {},
  ): Promise<{ ok: boolean }> {
    const deadline = this.clock.monotonic() + leftMs;
    const commits = [...names].map((name) => toCommit(name, stamp));
    return this.#pool.commit(commits, { deadline, isAlone });
  }

  /** The stores of each atomic that was tried. */
  get atomics(): string[] {
    return this.kv.commits.map(({ sets }) =>
      sets.map(({ key }) => key).filter(keyOf("head"))
        .map((key) => String(key[3])).join("")
    );
  }
}

/** The first commit to a store. */
function toCommit(name: string, stamp: string | null): StoreCommit {
  return {
    id: { namespace: "default", name },
    stamp,
    epoch: "epoch",
    head: {
      epoch: "epoch",
      version: 1,
      writer: "writer",
      floor: 0,
      timeMs: 0,
      logBytes: 0,
      initialized: true,
    },
  };
}

Deno.test("WriterPool takes what waits for a writer in one atomic, up to 9 stores", async () => {
  using kv = await memoryKv();
  const bench = new Bench(kv);
  const all = ["ab", "cd", "ef", "gh", "ij", "kl", "m"].map((names) =>
    bench.commit(names)
  );
  bench.gate.open();
  for (const { ok } of await Promise.all(all)) assert.equal(ok, true);
  assert.deepEqual(bench.atomics, ["ab", "cdefghij", "klm"]);
});

Deno.test("WriterPool lets nobody pay for what another one has lost to a server", async () => {
  using kv = await memoryKv();
  const bench = new Bench(kv);
  const all = [
    bench.commit("a"),
    bench.commit("b"),
    bench.commit("cd", { stamp: "00000000000000010000" }),
    bench.commit("e"),
  ];
  bench.gate.open();
  const oks = (await Promise.all(all)).map(({ ok }) => ok);
  assert.deepEqual(oks, [true, true, false, true]);
  assert.deepEqual(bench.atomics, ["a", "bcde", "b", "cd", "e"]);
});

Deno.test("WriterPool puts nobody together with what has lost before, or has little time left", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const bench = new Bench(kv, clock);
  const all = [
    bench.commit("a"),
    bench.commit("b", { isAlone: true }),
    bench.commit("c"),
    bench.commit("d", { leftMs: COMMIT_MS / 8 - 1 }),
    bench.commit("e"),
    bench.commit("f"),
  ];
  bench.gate.open();
  for (const { ok } of await Promise.all(all)) assert.equal(ok, true);
  assert.deepEqual(bench.atomics, ["a", "b", "c", "d", "ef"]);
});

Deno.test("WriterPool does not try what has no time left", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const bench = new Bench(kv, clock);
  const all = [
    bench.commit("a", { leftMs: 5_000 }),
    bench.commit("b", { leftMs: 50 }),
    bench.commit("c", { leftMs: 5_000 }),
  ];
  await bench.gate.reached;
  await clock.advance(100);
  bench.gate.open();
  const oks = (await Promise.all(all)).map(({ ok }) => ok);
  assert.deepEqual(oks, [true, false, true]);
  assert.deepEqual(bench.atomics, ["a", "c"]);
});

Deno.test("WriterPool rejects all of those of which it cannot be told what became", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  const bench = new Bench(kv, clock);
  const all = [bench.commit("a"), bench.commit("b"), bench.commit("c")];
  const hanging = new Gate();
  bench.kv.onCommit(waitsBefore(hanging));
  bench.gate.open();
  assert.equal((await all[0]!).ok, true); // there are three
  const results = Promise.allSettled(all);
  await hanging.reached;
  await clock.advance(COMMIT_MS);
  const fates = (await results).map(({ status }) => status);
  assert.deepEqual(fates, ["fulfilled", "rejected", "rejected"]);
  hanging.open();
  // A later one finds a writer.
  assert.equal((await bench.commit("d")).ok, true);
});

Deno.test("transactions of different stores go together, whatever others write between", async () => {
  using kv = await memoryKv();
  await using node = await new TestNode(kv, {}).open();
  await using other = await new TestNode(kv, {}).open();
  const stores = node.dynamic<{ n: number }>("S:*", { n: 0 });
  const others = other.dynamic<{ n: number }>("S:*", { n: 0 });
  const transactions = new Transactions(node);
  const keys = Array.from({ length: 12 }, (_, index) => `${index}`);
  for (const key of keys) await stores.init(key);
  const isJoint = (
    { sets }: { sets: readonly { key: readonly unknown[] }[] },
  ) => sets.filter(({ key }) => key[1] === "head").length > 1;
  let isFirst = true;
  node.kv.onCommit(async (run) => {
    // In the way of one of those that go together.
    if (!isFirst) await others.update("5", (draft) => void (draft.n += 100));
    isFirst = false;
    return await run();
  }, { match: isJoint, times: 2 });
  const before = node.kv.commits.length;
  const written = await Promise.all(
    Array.from({ length: 6 }, (_, index) =>
      transactions.run((tx) => {
        for (const key of [keys[index * 2]!, keys[index * 2 + 1]!]) { // of 12
          tx(stores, key).update((draft) => draft.n += 1);
        }
      })),
  );
  const first = written.flat().map(({ value }) => value);
  assert.deepEqual(first, keys.map((key) => key === "5" ? 101 : 1));
  for (const key of keys) {
    const n = key === "5" ? 101 : 1;
    assert.deepEqual(await freshState(kv, `S:${key}`), { n });
  }
  const atomics = node.kv.commits.slice(before).filter(isJoint);
  assert.ok(
    atomics.some(({ sets }) =>
      sets.filter(({ key }) => key[1] === "head").length > 2
    ),
  );
});
