/** Transactions without sockets: all or nothing, once, and never for ever. */
import assert from "node:assert/strict";
import { HeadwaterError, LimitError } from "../protocol/errors.ts";
import type { Json } from "../protocol/value.ts";
import { createServer } from "../server/mod.ts";
import type { Kv } from "../server/ports.ts";
import type { StaticStore } from "../server/stores/static_store.ts";
import { type Transaction, Transactions } from "../server/transaction.ts";
import { until, within } from "./_harness.ts";
import {
  type Commit,
  Gate,
  keyOf,
  type Read,
  throwsAfter,
  throwsAndLandsLater,
  throwsBefore,
  waitsBefore,
} from "./_kv_faults.ts";
import {
  type Counter,
  freshState,
  headOf,
  increment,
  memoryKv,
  type NodeOptions,
  Replica,
  TestNode,
} from "./_store_harness.ts";

/** Two counters whose sum is to stay the same, and what changes them together. */
class Bank extends TestNode {
  readonly a: StaticStore<Counter> = this.store<Counter>("A", { n: 100 });
  readonly b: StaticStore<Counter> = this.store<Counter>("B", { n: 0 });
  readonly #transactions = new Transactions(this);

  transaction(run: (tx: Transaction) => unknown) {
    return this.#transactions.run(run);
  }

  /** Moves from one to the other; `[A's, B's]` rest is returned. */
  async move(amount = 1, order: "ab" | "ba" = "ab") {
    const change = {
      a: (tx: Transaction) => tx(this.a).update((draft) => draft.n -= amount),
      b: (tx: Transaction) => tx(this.b).update((draft) => draft.n += amount),
    };
    const written = await this.transaction((tx) => {
      for (const which of order) change[which as "a" | "b"](tx);
    });
    return written.map(({ value }) => value);
  }

  async init(): Promise<void> {
    await this.a.init();
    await this.b.init();
  }

  get states() {
    return [this.a.peek()?.n, this.b.peek()?.n];
  }
}

async function openBank(kv: Kv, options: NodeOptions = {}): Promise<Bank> {
  return await new Bank(kv, options).open() as Bank; // it returns itself
}

/** Matches the commits of transactions: those that check the heads of several stores that exist. */
function isJoint({ checks }: Commit): boolean {
  const heads = checks.filter(({ key, versionstamp }) =>
    keyOf("head")(key) && versionstamp !== null
  );
  return heads.length > 1;
}

/** Matches the commits that depend on the head of this store. */
function isOf(name: string, { checks }: Commit): boolean {
  return checks.some(({ key }) => keyOf("head")(key) && key[3] === name);
}

/** Lets a server fail to read such keys from now on. */
function refuseReads(node: TestNode, kind: string, name?: string): void {
  const refuse = () => {
    throw new Error(`no ${kind}`);
  };
  const match = ({ key }: Read) =>
    key[1] === kind && (name === undefined || key[3] === name);
  node.kv.beforeRead(refuse, { match, times: 1_000_000 });
}

async function versions(kv: Kv): Promise<number[]> {
  return [(await headOf(kv, "A")).version, (await headOf(kv, "B")).version];
}

Deno.test("transaction() writes all of its stores in one atomic, and gives versions and values", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await node.init();
  const [a, b, c] = await node.transaction((tx) => {
    tx(node.a).update((draft) => draft.n -= 30);
    tx(node.b).update((draft) => {
      draft.n += 30;
      return { moved: 30 };
    });
    tx(node.a).set({ n: 7 });
  });
  assert.deepEqual(a, { version: 2, value: 70 });
  assert.deepEqual(b, { version: 2, value: { moved: 30 } });
  assert.deepEqual(c, { version: 3, value: undefined });
  const commits = node.kv.commits.filter(isJoint);
  assert.equal(commits.length, 1);
  const sets = commits[0]!.sets.map(({ key }) => key[1]).toSorted(); // there is one
  assert.deepEqual(sets, ["feed", "head", "head", "log", "log", "slot"]);
  assert.deepEqual(await freshState(kv, "A"), { n: 7 });
  assert.deepEqual(await freshState(kv, "B"), { n: 30 });
});

Deno.test("transaction() takes a list, types its recipes by their stores, and gives no change for none", async () => {
  await using server = createServer({ kv: ":memory:" });
  const todos = server.createStore("Todos", { items: [] as string[] });
  const rooms = server.createStore("Room:*", { title: "" });
  const written = await server.transaction([
    { store: todos, update: (draft) => draft.items.push("a") },
    { store: rooms, key: "x", set: { title: "X" } },
  ]);
  assert.deepEqual(written.map(({ value }) => value), [1, undefined]);
  assert.deepEqual(await rooms.get("x"), { title: "X" });
  assert.deepEqual(await server.transaction([]), []);
  assert.deepEqual(await server.transaction(() => {}), []);
  await assert.rejects(
    server.transaction([
      // @ts-expect-error: no such member
      { store: todos, update: (draft) => void draft.nope.length },
    ]),
    TypeError,
  );
});

Deno.test("transaction() tells each change what came of it, and takes none after its end", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  let late: Transaction | undefined;
  let early: unknown;
  const changes: { written: { value: number } }[] = [];
  await node.transaction((tx) => {
    late = tx;
    const change = tx(node.a).update((draft) => draft.n -= 1);
    assert.throws(() => change.written, TypeError);
    changes.push(change);
    early = change;
  });
  assert.ok(early);
  assert.equal(changes[0]?.written.value, 99);
  assert.throws(() => late?.(node.a).set({ n: 1 }), TypeError);
});

Deno.test("transaction() writes nothing where a recipe throws, the callback throws, or a value cannot be shared", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await node.init();
  const before = await versions(kv);
  const spend = (tx: Transaction) => tx(node.a).update((d) => d.n -= 1);
  const cases: [(tx: Transaction) => unknown, RegExp][] = [
    [(tx) => {
      spend(tx);
      tx(node.b).update(() => {
        throw new Error("no room");
      });
    }, /no room/],
    [async (tx) => {
      spend(tx);
      await Promise.resolve();
      throw new Error("changed my mind");
    }, /changed my mind/],
    [(tx) => {
      spend(tx);
      tx(node.b).update((draft) => void (draft.n = NaN));
    }, /NaN/],
    [(tx) => {
      spend(tx);
      tx(node.b).update(
        (async () => {
          await Promise.resolve();
        }) as unknown as () => void,
      );
    }, /synchronous/],
  ];
  for (const [run, message] of cases) {
    await assert.rejects(node.transaction(run), message);
  }
  assert.deepEqual(await versions(kv), before);
  assert.deepEqual(node.states, [100, 0]);
  assert.deepEqual(await node.move(), [99, 1], "and the stores go on");
});

Deno.test("transaction() refuses what is no store of this server", async () => {
  await using server = createServer({ kv: ":memory:" });
  await using other = createServer({ kv: ":memory:" });
  const mine = server.createStore("A", { n: 0 });
  const rooms = server.createStore("Room:*", { n: 0 });
  const foreign = other.createStore("A", { n: 0 });
  const wrong: ((tx: Transaction) => unknown)[] = [
    (tx) => (tx as (store: unknown) => unknown)({ name: "A" }),
    (tx) => tx(server.store<Counter>("Nowhere")!).set({ n: 1 }), // wrongly
    (tx) => (tx as (store: unknown, key: unknown) => unknown)(mine, "key"),
    (tx) => tx(mine).update(undefined as unknown as () => void),
    (tx) => tx(mine).set([] as unknown as Counter),
  ];
  for (const run of wrong) {
    await assert.rejects(server.transaction(run), TypeError);
  }
  const codes: [(tx: Transaction) => unknown, string][] = [
    [(tx) => tx(foreign).set({ n: 1 }), "store_missing"],
    [(tx) => tx(rooms, ""), "bad_name"],
    [(tx) => tx(rooms, undefined as unknown as string), "bad_name"],
  ];
  for (const [run, code] of codes) {
    await assert.rejects(server.transaction(run), { code });
  }
  assert.equal(await server.hasStore("A"), false);
});

Deno.test("transaction() creates what is missing, after onCreate, and is refused where that fails", async () => {
  await using server = createServer({ kv: ":memory:" });
  const log: string[] = [];
  const rooms = server.createStore("Room:*", { title: "", visits: 0 })
    .onCreate(async (key) => {
      await Promise.resolve();
      log.push(`create ${key}`);
      if (key === "bad") throw new Error("not this one");
      return { title: `Room ${key}` };
    });
  await server.transaction((tx) => {
    for (const key of ["x", "y"]) {
      tx(rooms, key).update((draft) => {
        log.push(`visit ${draft.title}`);
        draft.visits++;
      });
    }
  });
  // Both are made at once; what changes them waits for both.
  assert.deepEqual(log.slice(0, 2).toSorted(), ["create x", "create y"]);
  assert.deepEqual(log.slice(2), ["visit Room x", "visit Room y"]);
  assert.deepEqual(await rooms.get("y"), { title: "Room y", visits: 1 });
  await assert.rejects(
    server.transaction((tx) => {
      tx(rooms, "x").update((draft) => void draft.visits++);
      tx(rooms, "bad").update((draft) => void draft.visits++);
    }),
    /not this one/,
  );
  assert.equal((await rooms.get("x"))?.visits, 1);
});

Deno.test("transaction() within onCreate may change other stores, and is refused its own", async () => {
  await using server = createServer({ kv: ":memory:" });
  const log = server.createStore("Log", { lines: [] as string[] });
  const rooms = server.createStore("Room:*", { n: 0 }).onCreate(async (key) => {
    await server.transaction((tx) => {
      tx(log).update((draft) => void draft.lines.push(`${key}`));
      if (key === "self") tx(rooms, key).set({ n: 1 });
    });
  });
  await rooms.update("x", (draft) => void draft.n++);
  assert.deepEqual(await log.get(), { lines: ["x"] });
  await within(assert.rejects(rooms.init("self"), /onCreate/), {
    describe: () => "a hook that waits for itself",
  });
});

Deno.test("transaction() comes after what was asked for before it, whatever its stores have to do", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  const order: string[] = [];
  const note = (what: string) => (draft: Counter) => {
    order.push(what);
    draft.n++;
  };
  for (let round = 0; round < 3; round++) {
    order.length = 0;
    await Promise.all([
      node.a.update(note("before")),
      node.b.update(note("before")),
      node.b.update(note("before")),
      node.transaction((tx) => {
        tx(node.b).update(note("with b"));
        tx(node.a).update(note("with a"));
        tx(node.b).update(note("with b again"));
      }),
    ]);
    const expected = ["with b", "with a", "with b again"];
    assert.deepEqual(order, ["before", "before", "before", ...expected]);
  }
});

Deno.test("transaction() awaits updates and transactions inside without a deadlock: they are committed apart", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await within(
    node.transaction(async (tx) => {
      tx(node.a).update((draft) => draft.n -= 1);
      await node.a.update((draft) => void (draft.n += 1000));
      await node.transaction((inner) => {
        inner(node.a).update((draft) => draft.n += 5000);
        inner(node.b).update((draft) => draft.n += 5000);
      });
      tx(node.b).update((draft) => draft.n += 1);
    }),
    { describe: () => "a transaction that waits for itself" },
  );
  assert.deepEqual(node.states, [6099, 5001]);
});

Deno.test("transaction() refuses what is over a limit, and writes nothing", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  const rooms = node.dynamic("Room:*", { text: "" });
  const limited = async (run: (tx: Transaction) => unknown, limit: string) =>
    await assert.rejects(node.transaction(run), (error) => {
      assert.ok(error instanceof LimitError);
      assert.equal(error.limit, limit);
      assert.equal(error.outcome, "notApplied");
      return true;
    });
  await limited((tx) => {
    for (let n = 0; n < 10; n++) tx(rooms, `${n}`).set({ text: "" });
  }, "storesPerTransaction");
  assert.equal(await rooms.has("0"), false);
  await limited((tx) => {
    for (let n = 0; n <= 1_000; n++) tx(node.a).set({ n });
  }, "changesPerTransaction");
  const large = (bytes: number) => (tx: Transaction) => {
    for (const key of ["x", "y"]) {
      tx(rooms, key).set({ text: "x".repeat(bytes) });
    }
  };
  await limited(large(320_000), "transactionBytes");
  assert.deepEqual([await rooms.get("x"), await rooms.get("y")], [
    { text: "" },
    { text: "" },
  ]);
  const nine = await node.transaction((tx) => {
    for (let n = 0; n < 9; n++) tx(rooms, `${n}`).set({ text: `${n}` });
  });
  assert.equal(nine.length, 9);
  await node.transaction(large(300_000));
  assert.equal((await rooms.get("x"))?.text.length, 300_000);
});

Deno.test("transactions wait for each other as long as it takes, but not more than may be queued", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv, {
    limits: { commitMs: 2_000, queuedMutations: 120 },
  });
  await node.init();
  // Each commit takes a while: together they take much longer than one may.
  node.kv.onCommit(async (run) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return await run();
  }, { match: isJoint, times: 1_000 });
  const beganMs = performance.now();
  const moves = Array.from({ length: 121 }, () => node.move());
  const results = await Promise.allSettled(moves);
  assert.ok(performance.now() - beganMs > 2_000);
  const failed = results.filter(({ status }) => status === "rejected");
  assert.equal(failed.length, 1);
  const [{ reason }] = failed as PromiseRejectedResult[] as [
    PromiseRejectedResult,
  ];
  assert.equal(reason.limit, "queuedMutations");
  assert.deepEqual(node.states, [-20, 120]);
});

Deno.test("transaction() runs again on what another server wrote, also to a store that it leaves as it is", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv);
  await Promise.all([node.init(), other.init()]);
  node.kv.onCommit(async (run) => {
    await other.b.update((draft) => void (draft.n = 1));
    return await run();
  }, { match: isJoint });
  const seen: number[] = [];
  const written = await node.transaction((tx) => {
    tx(node.b).update((draft) => void seen.push(draft.n));
    tx(node.a).update((draft) => draft.n += seen.at(-1)!); // the first of each run
  });
  assert.deepEqual(seen, [0, 1]);
  assert.deepEqual(written[1], { version: 2, value: 101 });
  const [, again] = node.kv.commits.filter(isJoint);
  const sets = again?.sets.map(({ key }) => key).filter(keyOf("head"));
  assert.deepEqual(sets?.map((key) => key[3]), ["A"]);
});

for (const isLocal of [true, false]) {
  Deno.test(`transactions in opposite order on two servers all get through, ${isLocal ? "over a file" : "in several lanes"}`, async () => {
    using kv = await memoryKv();
    await using first = await openBank(kv, {
      isLocal,
      limits: { commitMs: 20_000 },
    });
    await using second = await openBank(kv, {
      isLocal,
      limits: { commitMs: 20_000 },
    });
    await Promise.all([first.init(), second.init()]);
    const each = 30;
    await within(
      Promise.all(
        Array.from({ length: each }, (_, n) => [
          first.move(1, n % 2 ? "ab" : "ba"),
          second.move(1, n % 2 ? "ba" : "ab"),
          first.a.update((draft) => void (draft.n += 10)),
          second.b.update((draft) => void (draft.n += 10)),
        ]).flat(),
      ),
      { ms: 30_000, describe: () => `${[...first.states, ...second.states]}` },
    );
    const expected = [100 - 2 * each + 10 * each, 2 * each + 10 * each];
    await until(() => `${first.states}` === `${expected}`);
    await until(() => `${second.states}` === `${expected}`);
    assert.deepEqual(await versions(kv), [1 + 3 * each, 1 + 3 * each]);
  });
}

Deno.test("a transaction of a call gives its first values when it runs again, here and elsewhere", async () => {
  using kv = await memoryKv();
  await using first = await openBank(kv);
  await using second = await openBank(kv);
  const run = (node: Bank) =>
    node.call({ call: 1 }, async () => {
      const before = (await node.a.update(increment)).value;
      const moved = await node.move(10);
      const after = (await node.b.update(increment)).value;
      return [before, ...moved, after];
    });
  const once = await run(first);
  assert.deepEqual(once, [101, 91, 10, 11]);
  await first.a.update((draft) => void (draft.n = 0));
  assert.deepEqual(await run(first), once);
  assert.deepEqual(await run(second), once);
  await second.b.delete();
  assert.deepEqual(
    await run(second),
    once,
    "though one of the stores has ended",
  );
  assert.equal(await second.b.has(), false);
  assert.deepEqual(await freshState(kv, "A"), { n: 0 });
});

Deno.test("a transaction of a call that runs on two servers at once applies once", async () => {
  for (let round = 1; round <= 10; round++) {
    using kv = await memoryKv();
    await using first = await openBank(kv);
    await using second = await openBank(kv);
    const runs = [first, second].map((node) =>
      node.call({ call: 1 }, async () => [
        await node.move(10, "ab"),
        await node.move(1, "ba"),
      ])
    );
    const [once, twice] = await Promise.all(runs);
    assert.deepEqual(once, [[90, 10], [11, 89]]);
    assert.deepEqual(twice, once);
    assert.deepEqual(await freshState(kv, "A"), { n: 89 });
    assert.deepEqual(await freshState(kv, "B"), { n: 11 });
  }
});

Deno.test("a transaction of a call that was refused gives the same error again, whatever there is by then", async () => {
  using kv = await memoryKv();
  await using first = await openBank(kv);
  await using second = await openBank(kv);
  const run = (node: Bank) =>
    node.call({ call: 1 }, async () => {
      const error: unknown = await node.transaction((tx) => {
        tx(node.a).update((draft) => draft.n -= 200);
        tx(node.b).update((draft) => {
          if (draft.n === 0) {
            throw new HeadwaterError("refused", "closed", { data: { why: 1 } });
          }
          draft.n += 200;
        });
      }).then(() => undefined, (error) => error);
      await node.a.update(increment);
      return error;
    });
  const error = await run(first);
  assert.ok(error instanceof HeadwaterError);
  assert.deepEqual([error.code, error.message, error.data], [
    "refused",
    "closed",
    { why: 1 },
  ]);
  await first.b.update(increment);
  for (const node of [first, second]) {
    const again = await run(node);
    assert.ok(again instanceof HeadwaterError);
    assert.deepEqual([again.code, again.message, again.data], [
      "refused",
      "closed",
      { why: 1 },
    ]);
  }
  assert.deepEqual(await freshState(kv, "A"), { n: 101 });
  assert.deepEqual(await freshState(kv, "B"), { n: 1 });
});

Deno.test("a transaction whose commit took effect, though the KV said otherwise, has succeeded once", async () => {
  for (const sync of [true, false]) {
    using kv = await memoryKv();
    await using node = await openBank(kv, { sync });
    await node.init();
    for (const fault of [throwsAfter, throwsBefore]) {
      node.kv.onCommit(fault, { match: isJoint });
      await node.move();
    }
    assert.deepEqual(node.states, [98, 2]);
    assert.deepEqual(await versions(kv), [3, 3]);
  }
});

Deno.test("a transaction whose outcome cannot be told is rejected as unknown, and shown whole if it lands later", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv, { limits: { commitMs: 150 } });
  await node.init();
  const views: string[] = [];
  const replicas = ["A", "B"].map((name) => new Replica(node.loaded(name)));
  const { fault, land } = throwsAndLandsLater();
  node.kv.onCommit((run, commit) => {
    node.kv.outage = new Error("gone");
    return fault(run, commit);
  }, { match: isJoint });
  const rejected = await within(
    node.move().then(() => undefined, (error) => error),
    { describe: () => "a transaction while the KV is gone" },
  );
  assert.equal(rejected?.code, "unavailable");
  assert.equal(rejected?.outcome, "unknown");
  const later = node.a.update(increment);
  await assert.rejects(later, { code: "unavailable", outcome: "notApplied" });
  await land();
  for (const replica of replicas) {
    const { patched } = replica;
    replica.patched = (...args) => {
      patched.apply(replica, args);
      // The other's turn is in the same tick.
      queueMicrotask(() =>
        views.push(JSON.stringify(replicas.map((r) => r.state)))
      );
    };
  }
  node.kv.outage = undefined;
  await until(() => views.length > 0 && node.states.join() === "99,1");
  for (const view of views) assert.equal(view, '[{"n":99},{"n":1}]');
  assert.deepEqual(await node.move(), [98, 2]);
  assert.deepEqual(await versions(kv), [3, 3]);
});

Deno.test("a transaction ends within its time where the KV is gone, or a store has no turn for it", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv, { limits: { commitMs: 600 } });
  await node.init();
  node.kv.outage = new Error("gone");
  await within(assert.rejects(node.move(), { code: "unavailable" }), {
    describe: () => "a transaction while the KV is gone",
  });
  node.kv.outage = undefined;
  await until(() => node.move().then(() => true, () => false));
  const gate = new Gate();
  // Each of them: after a while the lane tries another, and with that one through
  // the transaction would have its turn just before its own time is over.
  node.kv.onCommit(waitsBefore(gate), {
    match: (commit) => !isJoint(commit) && isOf("B", commit),
    times: 1_000,
  });
  const stuck = node.b.update((draft) => void (draft.n += 1)).catch(() => {});
  await gate.reached;
  await within(
    assert.rejects(node.move(), { code: "unavailable", outcome: "notApplied" }),
    { describe: () => "a transaction behind a commit that hangs" },
  );
  gate.open();
  await stuck;
  // Its commit may have been in one atomic with the one that hung.
  const set = () => node.a.set({ n: 50 }).then(() => true, () => false);
  await within(until(set), { describe: () => "a store that is not held" });
  await within(until(() => node.move().then(() => true, () => false)), {
    describe: () => "a transaction afterwards",
  });
  assert.equal(node.states[0], 49);
});

Deno.test("a transaction whose store is deleted by another server meanwhile begins its next life, whole", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv);
  await Promise.all([node.init(), other.init()]);
  await node.move(50);
  node.kv.onCommit(async (run) => {
    await other.b.delete();
    return await run();
  }, { match: isJoint });
  assert.deepEqual(await within(node.move(), { describe: () => "it hangs" }), [
    49,
    1,
  ]);
  assert.deepEqual(await freshState(kv, "A"), { n: 49 });
  assert.deepEqual(await freshState(kv, "B"), { n: 1 });
});

Deno.test("a deletion and a transaction of the same server wait for each other", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await node.init();
  for (let round = 0; round < 10; round++) {
    const results = await within(
      Promise.all([
        node.move(),
        node.b.delete(),
        node.move(),
        node.a.delete(),
        node.move(),
      ]),
      { describe: () => `round ${round}` },
    );
    assert.equal(results.length, 5);
  }
  const [a, b] = [await node.a.get(), await node.b.get()];
  assert.ok(a.n < 100 && b.n > 0);
});

Deno.test("close() waits for a transaction that is under way, and refuses later ones", async () => {
  using kv = await memoryKv();
  const node = await openBank(kv);
  await node.init();
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate), { match: isJoint });
  const first = node.move();
  const second = node.move();
  await gate.reached;
  let isClosed = false;
  const closing = node.close().then(() => isClosed = true);
  for (let n = 0; n < 10; n++) await freshState(kv, "A");
  assert.equal(isClosed, false, "the KV would be closed under it");
  gate.open();
  await within(closing, { describe: () => "close() while a transaction runs" });
  assert.deepEqual(await first, [99, 1]);
  assert.deepEqual(await second, [98, 2]);
  await assert.rejects(node.move(), { code: "closed" });
  assert.deepEqual(await freshState(kv, "B"), { n: 2 });
});

Deno.test("a transaction on a store whose KV was set back goes on in its new epoch", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv, { isWatchDead: true });
  await node.init();
  const old = await kv.get(["hw", "head", "default", "B"]);
  await node.move();
  const { epoch } = node.loaded("B");
  // B alone is set back, as by a backup that was taken store by store.
  await kv.atomic().set(old.key, old.value).commit();
  const values = await within(node.move(), { describe: () => "it hangs" });
  assert.deepEqual(values, [98, 1]);
  assert.notEqual(node.loaded("B").epoch, epoch);
});

Deno.test("another server is told of a transaction whole, whichever store it learns of first", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv, { isWatchDead: true });
  await Promise.all([node.init(), other.init()]);
  const sums: number[] = [];
  const replicas = ["A", "B"].map((name) => new Replica(other.loaded(name)));
  for (const replica of replicas) {
    const { patched } = replica;
    replica.patched = (...args) => {
      patched.apply(replica, args);
      queueMicrotask(() =>
        sums.push(
          replicas.reduce(
            (sum, { state }) => sum + (state as unknown as Counter).n,
            0,
          ),
        )
      );
    };
  }
  for (let n = 0; n < 20; n++) {
    await node.move();
    // As a conflict or a resume would: one of them looks before the feed is read.
    await other.loaded(n % 2 ? "A" : "B").check();
  }
  await until(() => other.states.join() === "80,20");
  await until(() => replicas.every((r) => r.position?.version === 21));
  assert.ok(sums.length >= 2);
  assert.deepEqual([...new Set(sums)], [100]);
});

Deno.test("a transaction of a call that left a store as it was leaves it so when it runs again", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  const run = () =>
    node.call({ call: 1 }, () =>
      node.transaction((tx) => {
        tx(node.a).update((draft) => void draft.n--);
        tx(node.b).update((draft) => void (draft.n &&= -1));
      }));
  const [once] = await run();
  await node.b.set({ n: 5 });
  const [again, other] = await run();
  assert.deepEqual(again, once);
  assert.equal(other?.value, undefined);
  assert.deepEqual(node.states, [99, 5]);
});

Deno.test("a transaction of a call gives all of its values on a server that has heard of one of its stores", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv, { isWatchDead: true });
  await Promise.all([node.init(), other.init()]);
  refuseReads(other, "feed");
  const run = (node: Bank) => node.call({ call: 1 }, () => node.move());
  const once = await run(node);
  await other.loaded("B").check();
  assert.deepEqual(await run(other), once);
  await until(() => other.states.join() === "99,1");
});

Deno.test("a transaction of a call is not told of a store's old life, which a commit in flight keeps", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv);
  await Promise.all([node.init(), other.init()]);
  const gate = new Gate();
  other.kv.onCommit(waitsBefore(gate));
  const inFlight = other.b.update(increment);
  await gate.reached;
  await node.b.delete();
  const run = (node: Bank) => node.call({ call: 1 }, () => node.move());
  const once = await run(node);
  await node.a.delete();
  const again = run(other);
  await until(() => other.loaded("B").isGone);
  // It asks the KV for what is known of the call, and then for the store.
  for (let n = 0; n < 10; n++) await freshState(kv, "B");
  gate.open();
  assert.deepEqual(await again, once);
  assert.deepEqual(once, [99, 1]);
  await inFlight;
});

Deno.test("a server that learns of a transaction by one of its stores reads the others", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv, { isWatchDead: true });
  await Promise.all([node.init(), other.init()]);
  refuseReads(other, "feed");
  const replicas = ["A", "B"].map((name) => new Replica(other.loaded(name)));
  await node.move();
  await other.loaded("A").check();
  await until(() => replicas.every(({ position }) => position?.version === 2));
});

Deno.test("a store that is loaded with a transaction lets those in memory catch up first", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv, { isWatchDead: true });
  await Promise.all([node.init(), other.a.init()]);
  refuseReads(other, "feed");
  await node.move();
  assert.equal((await other.b.get()).n, 1);
  assert.deepEqual(other.states, [99, 1]);
});

Deno.test("subscribers do not wait for ever for a store of a transaction that cannot be read", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await using other = await openBank(kv, {
    isWatchDead: true,
    limits: { commitMs: 100 },
  });
  await Promise.all([node.init(), other.init()]);
  const replica = new Replica(other.loaded("A"));
  refuseReads(other, "head", "B");
  refuseReads(other, "feed");
  await node.move();
  await other.loaded("A").check();
  assert.deepEqual(replica.state, { n: 100 }, "it waits for B");
  await until(() => (replica.state as unknown as Counter).n === 99);
});

Deno.test("commitTogether() leaves no record of a refusal that is to be forgotten", async () => {
  using kv = await memoryKv();
  await using node = await openBank(kv);
  await node.init();
  const before = await versions(kv);
  const origin = {
    session: "s",
    issuedAtMs: Date.now(),
    call: 1,
    n: 0,
    oldest: 1,
  };
  const part = (name: string, run: () => void) => ({
    id: { namespace: "default", name },
    change: (state: Json) => {
      run();
      return { state, patch: [], value: 1 };
    },
    source: { origin, forgetsRefusal: true },
  });
  let isRefusing = true;
  const commit = () =>
    node.core.stores.commitTogether([
      part("A", () => {}),
      part("B", () => {
        if (isRefusing) throw new HeadwaterError("refused", "not now");
      }),
    ]);
  await assert.rejects(commit(), /not now/);
  assert.deepEqual(await versions(kv), before);
  isRefusing = false;
  const written = await commit();
  assert.deepEqual(written.map(({ id, version }) => [id.name, version]), [[
    "A",
    2,
  ], ["B", 2]]);
  assert.equal(written[0]?.epoch, node.loaded("A").epoch);
});
