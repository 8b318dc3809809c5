import assert from "node:assert/strict";
import { HeadwaterError } from "../protocol/errors.ts";
import type { Json } from "../protocol/value.ts";
import { CallAbort } from "../server/call_abort.ts";
import { encodeStoreSnapshot } from "../server/log/compaction.ts";
import { headKey } from "../server/log/keys.ts";
import { WriteNumbers } from "../server/log/numbers.ts";
import { readStore } from "../server/log/reader.ts";
import type { Origin } from "../server/log/mutation.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";
import type { Kv } from "../server/ports.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import {
  Gate,
  keyOf,
  lockedBefore,
  throwsAfter,
  throwsBefore,
  touches,
  waitsBefore,
} from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  freshState,
  headOf,
  idOf,
  increment,
  jsonOf,
  keysOf,
  memoryKv,
  type NodeOptions,
  openCounter,
  openNode,
  TestNode,
} from "./_store_harness.ts";
import { decodeDown } from "../protocol/codec.ts";
import type { CallFrame } from "../protocol/frames.ts";
import type { Session } from "../server/session.ts";

type ManyNode = TestNode & { stores: DynamicStore<Counter> };

async function openMany(kv: Kv, options: NodeOptions = {}): Promise<ManyNode> {
  const node = new TestNode(kv, options);
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  return Object.assign(await node.open(), { stores });
}

function origin(call: number, n: number, oldest = 1): Origin {
  return { session: "s", issuedAtMs: 0, call, n, oldest };
}

Deno.test("A call that is run again writes once, and sees the first values", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  const run = () =>
    node.call({ call: 1 }, async () => {
      const first = await node.counter.update(increment);
      const second = await node.counter.update((draft) => {
        draft.n += 10;
        return draft.n;
      });
      return [first, second];
    });
  const once = await run();
  assert.deepEqual(once, [{ version: 2, value: 1 }, { version: 3, value: 11 }]);
  await node.counter.update((draft) => void (draft.n *= 2));
  assert.deepEqual(await run(), once);
  assert.deepEqual(await freshState(kv), { n: 22 });
});

Deno.test("A call that is run again on another server, or on two at once, writes once", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv, { sync: false });
  await using b = await openCounter(kv, { sync: false });
  await a.counter.init();
  await b.counter.init();
  const run = (node: typeof a, call: number) =>
    node.call({ call }, () => node.counter.update(increment));
  const first = await run(a, 1);
  assert.deepEqual(await run(b, 1), first);
  for (let call = 2; call < 12; call++) {
    const [x, y] = await Promise.all([run(a, call), run(b, call)]);
    assert.deepEqual(x, y, `call ${call}`);
  }
  assert.deepEqual(await freshState(kv), { n: 11 });
});

Deno.test("A call that is run twice at once on one server writes once, in one batch", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const run = () =>
    node.call({ call: 1 }, () => node.counter.update(increment));
  const [x, y] = await Promise.all([run(), run()]);
  assert.deepEqual(x, y);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("Calls of two sessions with the same number are two calls", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  for (const session of ["one", "two"]) {
    await node.call(
      { session, call: 1 },
      () => node.counter.update(increment),
    );
  }
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("Calls overlap: a call that ends later than its successor is not taken for one that was seen", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const run = (call: number) =>
    node.call({ call }, () => node.counter.update(increment));
  assert.equal((await run(5)).value, 1);
  assert.equal((await run(3)).value, 2);
  assert.equal((await run(4)).value, 3);
  assert.equal((await run(3)).value, 2);
  assert.equal((await run(5)).value, 1);
  assert.deepEqual(await freshState(kv), { n: 3 });
});

Deno.test("Writes are numbered per store: what another store was written does not shift them", async () => {
  using kv = await memoryKv();
  await using a = await openMany(kv);
  await using b = await openMany(kv);
  // The first run died after its writes to x.
  await a.call({ call: 1 }, async () => {
    await a.stores.update("x", increment);
    await a.stores.update("x", increment);
  });
  // The second run writes y in between, and all of x again.
  const values = await b.call({ call: 1 }, async () => [
    (await b.stores.update("y", increment)).value,
    (await b.stores.update("x", increment)).value,
    (await b.stores.update("y", increment)).value,
    (await b.stores.update("x", increment)).value,
  ]);
  assert.deepEqual(values, [1, 1, 2, 2]);
  assert.deepEqual(await freshState(kv, "C:x"), { n: 2 });
  assert.deepEqual(await freshState(kv, "C:y"), { n: 2 });
});

Deno.test("A call that died in the middle goes on where it was", async () => {
  using kv = await memoryKv();
  await using a = await openMany(kv);
  await a.call({ call: 1 }, () => a.stores.update("x", increment));
  await using b = await openMany(kv);
  for (let time = 0; time < 2; time++) {
    await b.call({ call: 1 }, async () => {
      await b.stores.update("x", increment);
      await b.stores.update("y", increment);
    });
  }
  assert.deepEqual(await freshState(kv, "C:x"), { n: 1 });
  assert.deepEqual(await freshState(kv, "C:y"), { n: 1 });
});

Deno.test("A recipe that refused refuses again, though it could succeed now", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  const take = (node: typeof a) =>
    node.call({ call: 1 }, () =>
      node.counter.update((draft) => {
        if (draft.n === 0) {
          throw new HeadwaterError("limit", "no seats", { path: "/n" });
        }
        draft.n--;
        return "taken";
      }));
  const isRefused = { code: "limit", message: "no seats" };
  await assert.rejects(take(a), isRefused);
  await a.counter.update(increment);
  await assert.rejects(take(a), isRefused);
  await assert.rejects(take(b), isRefused);
  await using c = await openCounter(kv);
  await assert.rejects(take(c), isRefused);
  assert.deepEqual(await freshState(kv), { n: 1 });
  // It has used its number up: version 2 changed nothing.
  assert.equal((await headOf(kv)).version, 3);
});

Deno.test("A refusal outside of a call leaves nothing", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  await assert.rejects(
    node.counter.update(() => {
      throw new RangeError("no");
    }),
    RangeError,
  );
  assert.equal((await headOf(kv)).version, 1);
});

Deno.test("A recipe that changes nothing but returns something gives the same when it is run again", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  const peek = () =>
    node.call({ call: 1 }, () => node.counter.update((draft) => draft.n));
  assert.equal((await peek()).value, 0);
  await node.counter.update(increment);
  assert.equal((await peek()).value, 0);
});

Deno.test("WriteNumbers: forgotten below the oldest call that the client awaits", () => {
  const numbers = new WriteNumbers();
  const add = (call: number, oldest: number) =>
    numbers.add({ patch: [], origin: origin(call, 0, oldest) }, call);
  for (const call of [1, 2, 3]) add(call, 1);
  add(7, 3);
  const found = () =>
    [1, 2, 3, 7].map((call) => {
      const recorded = numbers.find(origin(call, 0));
      return recorded?.refused?.code ?? recorded?.version;
    });
  assert.deepEqual(found(), ["unknown", "unknown", 3, 7]);
  const [row] = numbers.toJson() as [[string, number, number, Json[]]];
  assert.equal(row[3].length, 2);
  // A call that was late tells an older one; nothing comes back, and nothing goes.
  add(4, 2);
  assert.deepEqual(found(), ["unknown", "unknown", 3, 7]);
});

Deno.test("WriteNumbers: a session is forgotten when its token is refused", () => {
  const numbers = new WriteNumbers();
  for (const [session, issuedAtMs] of [["old", 10], ["new", 20]] as const) {
    numbers.add(
      { patch: [], origin: { ...origin(1, 0), session, issuedAtMs } },
      1,
    );
  }
  numbers.prune(15);
  assert.equal(numbers.size, 1);
  assert.ok(numbers.find({ ...origin(1, 0), session: "new" }));
});

Deno.test("WriteNumbers: the table of a snapshot keeps all of it, gaps too", () => {
  const numbers = new WriteNumbers();
  const values: (Json | undefined)[] = [null, undefined, { a: [1] }, false];
  for (const [n, value] of values.entries()) {
    if (n === 1) continue;
    numbers.add({
      patch: [],
      origin: origin(4, n),
      ...(value !== undefined && { value }),
      ...(n === 3 && { refused: { code: "limit", message: "no" } }),
    }, 10 + n);
  }
  const { bytes, stateBytes } = encodeStoreSnapshot(
    new Uint8Array(1),
    numbers,
  );
  const again = WriteNumbers.fromJson(jsonOf(bytes.subarray(stateBytes)));
  for (let n = 0; n < 5; n++) {
    assert.deepEqual(again.find(origin(4, n)), numbers.find(origin(4, n)));
  }
});

Deno.test("Numbers survive a snapshot, the trimming of the log and a restart", async () => {
  using kv = await memoryKv();
  const open = async () => {
    const node = new TestNode(kv, {});
    const store = node.store<{ pad: string; n: number }>(
      "P",
      { pad: "", n: 0 },
      { history: { versions: 0 } },
    );
    return Object.assign(await node.open(), { store });
  };
  const run = (node: Awaited<ReturnType<typeof open>>) =>
    node.call({ call: 1 }, () =>
      node.store.update((draft) => {
        if (draft.n > 0) throw new RangeError("again");
        return ++draft.n;
      }));
  const refuse = (node: Awaited<ReturnType<typeof open>>) =>
    node.call({ call: 2 }, () =>
      node.store.update((draft) => {
        if (draft.pad === "") throw new HeadwaterError("limit", "empty");
      }));
  {
    await using a = await open();
    assert.deepEqual(await run(a), { version: 2, value: 1 });
    await assert.rejects(refuse(a), { code: "limit" });
    for (let i = 0; i < 8; i++) {
      await a.store.update((draft) => {
        draft.pad = `${i}`.repeat(12_000);
      });
    }
    await until(() => a.loaded("P").isIdle);
  }
  const { floor, snapshot } = await headOf(kv, "P");
  assert.ok(floor > 3 && snapshot);
  await using b = await open();
  assert.deepEqual(await run(b), { version: 2, value: 1 });
  await assert.rejects(refuse(b), { code: "limit", message: "empty" });
});

Deno.test("Numbers of a session that is over leave the snapshot", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = new TestNode(kv, { clock, limits: { sessionMs: 60_000 } });
  const store = node.store<{ pad: string }>("P", { pad: "" });
  await node.open();
  const fill = (i: number) =>
    store.update((draft) => {
      draft.pad = `${i}`.repeat(12_000);
    });
  await node.call(
    { call: 1, session: "old", issuedAtMs: clock.now() },
    () => fill(0),
  );
  for (let i = 1; i < 8; i++) await fill(i);
  await until(() => node.loaded("P").isIdle);
  const sizeOf = async () => (await readStore(kv, idOf("P")))?.numbers.size;
  assert.equal(await sizeOf(), 1);
  clock.jump(60_001);
  for (let i = 1; i < 8; i++) await fill(i);
  await until(() => node.loaded("P").isIdle);
  assert.equal(await sizeOf(), 0);
});

Deno.test("A write of a call whose commit throws after it landed is applied once and gives its value", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  node.kv.onCommit(throwsAfter);
  const run = () =>
    node.call({ call: 1 }, () => node.counter.update(increment));
  assert.equal((await run()).value, 1);
  assert.equal((await run()).value, 1);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("A call that was told `unknown` and is run again, after its write landed late, applies once", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv, { clock, limits: { commitMs: 500 } });
  await using b = await openCounter(kv);
  await a.counter.init();
  await b.counter.init();
  const late = new Gate();
  let landed: Promise<unknown> = Promise.resolve();
  a.kv.onCommit((run) => {
    landed = late.pass().then(run);
    return new Promise(() => {});
  });
  const run = (node: typeof a) =>
    node.call({ call: 1 }, () => node.counter.update(increment));
  await assert.rejects(drive(clock, run(a)), { outcome: "unknown" });
  // It lands while the client's resend is on its way to another server.
  late.open();
  await landed;
  assert.equal((await run(b)).value, 1);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("A reset within a call is numbered like any write: it does not happen again", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.update(increment);
  const run = () => node.call({ call: 1 }, () => node.counter.reset());
  await run();
  await node.counter.update(increment);
  await run();
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("A value that a recipe returns within a call has a limit, since it is recorded", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv, { limits: { recipeValueBytes: 100 } });
  const store = node.store<Counter>("Counter", { n: 0 });
  const big = () =>
    store.update((draft) => {
      draft.n++;
      return "x".repeat(200);
    });
  assert.equal((await big()).value?.length, 200);
  await assert.rejects(node.call({ call: 1 }, big), { code: "limit" });
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("Hooks run outside of the call that made them necessary: their writes have no number", async () => {
  using kv = await memoryKv();
  const open = async () => {
    const node = new TestNode(kv, {});
    const log = node.store<{ lines: string[] }>("Log", { lines: [] });
    const rooms = node.dynamic<Counter>("Room:*", { n: 0 })
      .onCreate(async (key) => {
        await log.update((draft) => void draft.lines.push(`created ${key}`));
      })
      .onTerminate(async (key) => {
        await log.update((draft) => void draft.lines.push(`ended ${key}`));
      });
    return Object.assign(await node.open(), { log, rooms });
  };
  await using a = await open();
  // This run dies after its first write, for which the hook was necessary.
  await a.call({ call: 1 }, () => a.rooms.update("r", increment));
  // Run again, no hook runs: had it taken a number, that of "entered" would be used up.
  await using b = await open();
  await b.call({ call: 1 }, async () => {
    await b.rooms.update("r", increment);
    await b.log.update((draft) => void draft.lines.push("entered"));
  });
  assert.deepEqual(await freshState(kv, "Log"), {
    lines: ["created r", "entered"],
  });
  await a.call({ call: 2 }, () => a.rooms.delete("r"));
  assert.deepEqual(await freshState(kv, "Log"), {
    lines: ["created r", "entered", "ended r"],
  });
});

Deno.test("Answers of `once` are created if absent: of two servers the first one's counts", async () => {
  using kv = await memoryKv();
  await using a = await openNode(kv);
  await using b = await openNode(kv);
  let runs = 0;
  const session = await begin(a);
  const same = await begin(b, session.token);
  assert.equal(same.id, session.id);
  for (const node of [a, b]) {
    node.functions.define("pay", () => ({ receipt: ++runs }), { once: true });
  }
  const gate = new Gate();
  // B is slow: A's answer is recorded first.
  b.kv.onCommit(waitsBefore(gate), { match: touches(keyOf("answer")) });
  const slow = result(b, same, { call: 1 });
  await gate.reached;
  const quick = await result(a, session, { call: 1 });
  gate.open();
  assert.deepEqual(await slow, quick);
  assert.equal(runs, 2);
  // And whoever asks again, wherever, gets it without a run.
  await using c = await openNode(kv);
  c.functions.define("pay", () => assert.fail("runs again"), { once: true });
  const later = await begin(c, session.token);
  assert.deepEqual(await result(c, later, { call: 1, resent: true }), quick);
  assert.equal((await keysOf(kv, "answer")).length, 1);
});

Deno.test("Answers of `once` are kept when they are errors, too", async () => {
  using kv = await memoryKv();
  await using a = await openNode(kv);
  await using b = await openNode(kv);
  const session = await begin(a);
  a.functions.define("pay", () => {
    throw new HeadwaterError("limit", "no money");
  }, { once: true });
  b.functions.define("pay", () => "paid", { once: true });
  const first = await result(a, session, { call: 1 });
  assert.equal(first.error?.code, "limit");
  const again = await begin(b, session.token);
  assert.deepEqual(await result(b, again, { call: 1, resent: true }), first);
});

Deno.test("Answers of `once` are recorded though the database is locked, or the commit's answer is lost", async () => {
  for (const fault of [lockedBefore, throwsBefore, throwsAfter]) {
    using kv = await memoryKv();
    await using a = await openNode(kv);
    const session = await begin(a);
    let runs = 0;
    a.functions.define("pay", () => ++runs, { once: true });
    a.kv.onCommit(fault, { match: touches(keyOf("answer")) });
    const first = await result(a, session, { call: 1 });
    assert.equal(first.value, 1);
    await using b = await openNode(kv);
    b.functions.define("pay", () => assert.fail("runs again"), { once: true });
    const again = await begin(b, session.token);
    assert.deepEqual(await result(b, again, { call: 1, resent: true }), first);
  }
});

Deno.test("A server that answers a resent call shows its effects first", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv, { sync: false });
  for (const node of [a, b]) {
    node.functions.define(
      "add",
      async () => (await node.counter.update(increment)).value,
      { once: true },
    );
  }
  await b.counter.get();
  await a.counter.init();
  await b.counter.get();
  const session = await begin(a);
  assert.equal((await result(a, session, { call: 1 })).value, 1);
  assert.equal(b.counter.peek()?.n, 0);
  const again = await begin(b, session.token);
  const { value } = await result(b, again, { call: 1, resent: true });
  assert.equal(value, 1);
  assert.equal(b.counter.peek()?.n, 1);
});

Deno.test("A function that was resent on a server that lags behind ends with what it wrote on show", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv, { sync: false });
  await a.counter.init();
  await b.counter.get();
  for (const node of [a, b]) {
    node.functions.define("add", async () => {
      const { value } = await node.counter.update((draft) => {
        draft.n = 1;
      });
      return value ?? null;
    }, {});
  }
  const session = await begin(a);
  await result(a, session, { call: 1 });
  const again = await begin(b, session.token);
  await result(b, again, { call: 1, resent: true });
  assert.equal(b.counter.peek()?.n, 1);
  assert.equal((await headOf(kv)).version, 2);
  assert.ok((await kv.get(headKey(idOf("Counter")))).versionstamp);
});

async function begin(node: TestNode, token?: string): Promise<Session> {
  const { session } = await node.core.sessions.begin({ resume: token });
  return session;
}

async function result(
  node: TestNode,
  session: Session,
  { call, resent = false }: { call: number; resent?: boolean },
) {
  const name = node.definitions.find("Counter") ? "add" : "pay";
  const frame: CallFrame = {
    type: "rpc",
    id: call,
    name,
    oldest: 1,
    elapsedMs: 0,
    resent,
  };
  const user = null;
  const caller = { session, user, info: { user }, abort: new CallAbort() };
  const answer = await node.functions.call(node.environment(), caller, frame);
  const [res] = decodeDown(answer.frame);
  assert.ok(res?.type === "res");
  return res;
}

Deno.test("A run of a call that nobody awaits any more writes nothing: it may have been run elsewhere", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.init();
  // A is slow: before its write, the client has its answer from B, and goes on.
  const gate = new Gate();
  const slow = a.call({ call: 1, oldest: 1 }, async () => {
    await gate.pass();
    return await a.counter.update(increment);
  });
  await gate.reached;
  await b.call({ call: 1, oldest: 1 }, () => b.counter.update(increment));
  await b.call({ call: 2, oldest: 2 }, () => b.counter.update(increment));
  gate.open();
  await assert.rejects(slow, { code: "unknown", outcome: "unknown" });
  assert.deepEqual(await freshState(kv), { n: 2 });
  // Known to whoever loads the store from the log, or from a snapshot.
  await using c = await openCounter(kv);
  await assert.rejects(
    c.call({ call: 1 }, () => c.counter.update(increment)),
    { code: "unknown" },
  );
  const numbers = (await readStore(kv, idOf("Counter")))!.numbers;
  const again = WriteNumbers.fromJson(numbers.toJson());
  const forgotten = { ...origin(1, 0), session: "session" };
  assert.equal(again.find(forgotten)?.refused?.code, "unknown");
  assert.equal(again.find({ ...forgotten, call: 3 }), undefined);
});
