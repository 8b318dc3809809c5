import assert from "node:assert/strict";
import { join } from "node:path";
import { openDenoKv } from "../adapters/deno_kv.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { applyPatch } from "../protocol/patch.ts";
import { freezeDeep, type Json } from "../protocol/value.ts";
import { headKey, logKey } from "../server/log/keys.ts";
import { encodeHead } from "../server/log/head.ts";
import type { Kv, KvEntry } from "../server/ports.ts";
import { FakeClock } from "./_fake_clock.ts";
import { tempDir, until } from "./_harness.ts";
import { Gate, readOf, waitsAfter, waitsBefore, writes } from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  entriesOf,
  freshState,
  headOf,
  idOf,
  increment,
  memoryKv,
  openCounter,
  outgrowLog,
  Replica,
  TestNode,
} from "./_store_harness.ts";

const ID = idOf("Counter");

type Resume = Extract<DownFrame, { type: "resume" }>;

function asResume(frame: DownFrame): Resume {
  assert.ok(frame.type === "resume", `a resume, not ${frame.type}`);
  return frame;
}

/** Everything under the prefix, to be put back later as a backup is. */
async function backup(kv: Kv): Promise<KvEntry[]> {
  return await entriesOf(kv);
}

async function restore(kv: Kv, entries: readonly KvEntry[]): Promise<void> {
  for (const { key } of await entriesOf(kv)) {
    await kv.atomic().delete(key).commit();
  }
  for (const { key, value } of entries) {
    await kv.atomic().set(key, value).commit();
  }
}

Deno.test("answerSubscription() gives exactly what was missed, from a server that has never seen the client", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await a.counter.init();
  const states: Json[] = [{ n: 0 }];
  const tokens = [a.token("Counter")];
  for (let i = 0; i < 12; i++) {
    await a.counter.update(increment);
    states.push({ n: i + 1 });
    tokens.push(a.token("Counter"));
  }
  // From the log that it has just replayed, and from one that lies below its snapshot.
  for (const source of ["memory", "log"]) {
    if (source === "log") await outgrowLog(a);
    const { version, writer } = await headOf(kv);
    await using b = await openCounter(kv);
    await b.counter.get();
    const before = b.kv.reads.length;
    for (const [i, token] of tokens.entries()) {
      const frame = asResume(await b.answer("Counter", token));
      assert.deepEqual([frame.from, frame.version], [i + 1, version]);
      assert.equal(frame.writer, writer);
      assert.deepEqual(applyPatch(states[i]!, frame.patch), { n: 12 });
    }
    const reads = b.kv.reads.slice(before).some(readOf("log"));
    assert.equal(reads, source === "log");
  }
});

Deno.test("answerSubscription() wants epoch, version and writer to be those of the log", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  for (let i = 0; i < 3; i++) await a.counter.update(increment);
  const token = a.token("Counter");
  await using b = await openCounter(kv);
  await b.counter.update(increment);
  await using c = await openCounter(kv);
  const kinds = async (node: typeof a) => [
    (await node.answer("Counter")).type,
    (await node.answer("Counter", token)).type,
    (await node.answer("Counter", { ...token, epoch: "another" })).type,
    (await node.answer("Counter", { ...token, writer: "another" })).type,
    // Version 5 is B's.
    (await node.answer("Counter", { ...token, version: 5 })).type,
    (await node.answer("Counter", { ...token, version: 3 })).type,
    (await node.answer("Counter", { ...token, version: 0 })).type,
  ];
  const expected = ["snap", "resume", "snap", "snap", "snap", "resume", "snap"];
  // From what it has just replayed, and from the memory of servers that saw it happen.
  assert.deepEqual(await kinds(c), expected);
  await until(() => a.counter.peek()?.n === 4);
  assert.deepEqual(await kinds(a), expected);
  assert.deepEqual(await kinds(b), expected);
  // From the log below a snapshot.
  await outgrowLog(b);
  await using d = await openCounter(kv);
  assert.deepEqual(await kinds(d), expected);
  assert.ok(d.kv.reads.some(readOf("log")));
  assert.equal((await headOf(kv)).epoch, token.epoch);
});

Deno.test("answerSubscription() resumes from the log of a store that others write to meanwhile", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await a.counter.update(increment);
  const token = a.token("Counter");
  for (let i = 0; i < 3; i++) await a.counter.update(increment);
  await outgrowLog(a);
  const { version } = await headOf(kv);
  await using b = await openCounter(kv);
  await b.counter.get();
  let isOvertaken = false;
  b.kv.beforeRead(async () => {
    await a.counter.update(increment);
    await until(() => b.counter.peek()?.n === 5);
    isOvertaken = true;
  }, { match: readOf("log") });
  const frame = asResume(await b.answer("Counter", token));
  assert.ok(isOvertaken);
  assert.equal(frame.version, version);
  assert.deepEqual(applyPatch({ n: 1 }, frame.patch), { n: 4 });
});

Deno.test("answerSubscription() reads the head where a client knows as much as the server, or more", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv, { sync: false });
  await a.counter.update(increment);
  await using b = await openCounter(kv, { sync: false });
  await b.counter.get();
  await a.counter.update(increment);
  // The client of A comes to B, which has not heard of version 3.
  const ahead = asResume(await b.answer("Counter", a.token("Counter")));
  assert.deepEqual([ahead.from, ahead.version, ahead.patch], [3, 3, []]);
  assert.deepEqual(b.counter.peek(), { n: 2 });

  const token = b.token("Counter");
  await a.counter.update(increment);
  const level = asResume(await b.answer("Counter", token));
  assert.deepEqual([level.from, level.version], [3, 4]);

  await a.counter.delete();
  await a.counter.update(increment);
  const other = await b.answer("Counter", a.token("Counter")).catch(() => {});
  // Told of the end of the epoch that it has; the next one who asks is answered.
  assert.equal(other, undefined);
  const frame = asResume(await b.answer("Counter", a.token("Counter")));
  assert.equal(frame.epoch, (await headOf(kv)).epoch);
});

Deno.test("answerSubscription() gives a snapshot where the log does not reach back", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const store = node.store<{ pad: string }>("Counter", { pad: "" }, {
    history: { versions: 2 },
  });
  await node.open();
  await store.init();
  const tokens = [node.token("Counter")];
  for (let i = 0; i < 14; i++) {
    await store.update((draft) => {
      draft.pad = `${i}`.repeat(12_000);
    });
    tokens.push(node.token("Counter"));
  }
  await until(() => node.loaded("Counter").isIdle);
  await until(async () => (await headOf(kv)).floor > 3);
  await using fresh = await openCounter(kv);
  for (const token of tokens) {
    // It may rise still, on a machine that is slow.
    const before = (await headOf(kv)).floor;
    const { type } = await fresh.answer("Counter", token);
    const after = (await headOf(kv)).floor;
    // The entry that made the token's version has to be there to prove it.
    if (type === "resume") assert.ok(token.version > before);
    else assert.ok(type === "snap" && token.version <= after);
  }
});

Deno.test("A restored backup: clients that saw more begin anew in another epoch, and no patch is wrong", async () => {
  using kv = await memoryKv();
  const saved = await (async () => {
    await using a = await openCounter(kv);
    for (let i = 0; i < 3; i++) await a.counter.update(increment);
    return await backup(kv);
  })();
  const { token, old } = await (async () => {
    await using a = await openCounter(kv);
    await a.counter.get();
    const old = a.token("Counter");
    for (let i = 0; i < 4; i++) await a.counter.update(increment);
    return { token: a.token("Counter"), old };
  })();
  await restore(kv, saved);
  await using b = await openCounter(kv);
  await b.counter.get();
  const watcher = new Replica(b.loaded("Counter"));
  const { epoch } = await headOf(kv);
  assert.equal(token.epoch, epoch);
  // Version 4 is in the backup: it goes on as if nothing had been.
  assert.equal((await b.answer("Counter", old)).type, "resume");
  // Version 8 is not.
  const frame = await b.answer("Counter", token);
  assert.ok(frame.type === "snap");
  assert.notEqual(frame.epoch, epoch);
  assert.deepEqual(frame.state, { n: 3 });
  assert.deepEqual(watcher.seen, ["jump 4"]);
  assert.deepEqual(watcher.position?.epoch, frame.epoch);
  assert.deepEqual(await freshState(kv), { n: 3 });
  // Who comes with a token of the past that was lost gets a snapshot.
  for (const version of [4, 5, 6, 7, 8]) {
    const { type } = await b.answer("Counter", { ...token, version });
    assert.equal(type, "snap");
  }
  await b.counter.update(increment);
  assert.deepEqual(await freshState(kv), { n: 4 });
});

Deno.test("A restored backup that was written on: the writer tells the histories apart", async () => {
  using kv = await memoryKv();
  const saved = await (async () => {
    await using a = await openCounter(kv);
    await a.counter.update(increment);
    return await backup(kv);
  })();
  const token = await (async () => {
    await using a = await openCounter(kv);
    for (let i = 0; i < 3; i++) await a.counter.update(increment);
    return a.token("Counter");
  })();
  await restore(kv, saved);
  {
    // As many versions again, and more, with another content.
    await using b = await openCounter(kv);
    for (let i = 0; i < 5; i++) {
      await b.counter.update((draft) => void (draft.n += 100));
    }
  }
  await using c = await openCounter(kv);
  for (const version of [3, 4, 5]) {
    const frame = await c.answer("Counter", { ...token, version });
    assert.ok(frame.type === "snap", `version ${version}`);
    assert.ok(frame.version > version);
    assert.deepEqual(frame.state, { n: 501 });
  }
});

Deno.test("A KV set back under a running server: it goes on in a new epoch with what the KV has", async () => {
  const triggers = ["write", "check", "subscription", "feed", "overtaken"];
  for (const trigger of triggers) {
    using kv = await memoryKv();
    await using a = await openCounter(kv, { sync: trigger !== "overtaken" });
    await a.counter.update(increment);
    const saved = await backup(kv);
    for (let i = 0; i < 4; i++) await a.counter.update(increment);
    const replica = new Replica(a.loaded("Counter"));
    const token = a.token("Counter");
    await restore(kv, saved);
    let added = 0;
    if (trigger === "write") {
      assert.deepEqual((await a.counter.update(increment)).value, 2);
      added = 1;
    } else if (trigger === "check") {
      await a.loaded("Counter").check();
    } else if (trigger === "subscription") {
      assert.equal((await a.answer("Counter", token)).type, "snap");
    } else if (trigger === "overtaken") {
      await using b = await openCounter(kv);
      for (; added < 8; added++) await b.counter.update(increment);
      await a.loaded("Counter").check();
    } else {
      await using b = await openCounter(kv);
      await b.counter.update(increment);
      added = 1;
      await until(() => replica.seen.length > 0);
      await until(() => b.counter.peek()?.n === 2);
    }
    const { epoch, version } = await headOf(kv);
    assert.notEqual(epoch, token.epoch, trigger);
    assert.equal(version, 2 + added);
    // Memory, KV and subscribers have the same, and it is what the KV had.
    assert.deepEqual(await freshState(kv), { n: 1 + added }, trigger);
    assert.deepEqual(await a.counter.get(), { n: 1 + added }, trigger);
    a.loaded("Counter").fanout.flush();
    assert.deepEqual(replica.state, { n: 1 + added }, trigger);
    assert.equal(replica.position?.epoch, epoch);
    await a.counter.update(increment);
    assert.deepEqual(await freshState(kv), { n: 2 + added }, trigger);
  }
});

Deno.test("A KV file that is put back: the store goes on, and its clients are told by a snapshot", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "state.db");
  const copy = join(folder.path, "copy.db");
  const session = async <R>(run: (node: OpenCounter) => Promise<R>) => {
    const opened = await openDenoKv(path);
    try {
      await using node = await openCounter(opened.kv);
      return await run(node);
    } finally {
      await opened.close();
    }
  };
  await session(async ({ counter }) => {
    for (let i = 0; i < 3; i++) await counter.update(increment);
  });
  for await (const { name } of Deno.readDir(folder.path)) {
    await Deno.copyFile(
      join(folder.path, name),
      join(folder.path, name.replace("state", "copy")),
    );
  }
  const token = await session(async (node) => {
    for (let i = 0; i < 3; i++) await node.counter.update(increment);
    return node.token("Counter");
  });
  for (const suffix of ["", "-wal", "-shm"]) {
    await Deno.remove(path + suffix).catch(() => {});
    await Deno.rename(copy + suffix, path + suffix).catch(() => {});
  }
  await session(async (node) => {
    const frame = await node.answer("Counter", token);
    assert.ok(frame.type === "snap");
    assert.notEqual(frame.epoch, token.epoch);
    assert.deepEqual(frame.state, { n: 3 });
    await node.counter.update(increment);
  });
  await session(async ({ counter }) => {
    assert.deepEqual(await counter.get(), { n: 4 });
  });
});

Deno.test("A lost write: a head that went back alone is a past that was lost, too", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await a.counter.update(increment);
  const before = await headOf(kv);
  await a.counter.update(increment);
  const token = a.token("Counter");
  await kv.atomic().set(headKey(ID), encodeHead(before))
    .delete(logKey(ID, before.epoch, 3)).commit();
  const { value, version } = await a.counter.update(increment);
  assert.deepEqual({ value, version }, { value: 2, version: 3 });
  const now = await headOf(kv);
  assert.notEqual(now.epoch, before.epoch);
  assert.equal((await a.answer("Counter", token)).type, "snap");
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("Store: a KV that was set back while others write never shows a subscriber an older version of its epoch", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await a.counter.update(increment);
  await b.counter.get();
  const saved = await backup(kv);
  for (let i = 0; i < 6; i++) await a.counter.update(increment);
  await until(() => b.counter.peek()?.n === 7);
  const replicas = [a, b].map((node) => new Replica(node.loaded("Counter")));
  await restore(kv, saved);
  await Promise.all(
    Array.from(
      { length: 8 },
      (_, i) => (i % 2 ? a : b).counter.update(increment),
    ),
  );
  const { epoch, version } = await headOf(kv);
  await until(() => {
    for (const node of [a, b]) node.loaded("Counter").fanout.flush();
    return replicas.every(({ position }) =>
      position?.epoch === epoch && position.version === version
    );
  });
  const state = await freshState(kv);
  for (const replica of replicas) assert.deepEqual(replica.state, state);
  assert.deepEqual(state, { n: 9 });
});

Deno.test("Store: a fork is settled though the lane never rests", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  await stores.update("x", increment);
  const saved = await backup(kv);
  await stores.update("x", increment);
  const token = node.token("C:x");
  await restore(kv, saved);
  let isBusy = true;
  const busy = (async () => {
    while (isBusy) await stores.update("busy", increment);
  })();
  const frame = await node.answer("C:x", token);
  isBusy = false;
  await busy;
  assert.ok(frame.type === "snap");
  assert.deepEqual(frame.state, { n: 1 });
});

Deno.test("Store: a new epoch is committed once, and every server goes over to it", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  await using c = await openCounter(kv);
  await a.counter.update(increment);
  const saved = await backup(kv);
  await a.counter.update(increment);
  await b.counter.get();
  await c.counter.get();
  const replica = new Replica(c.loaded("Counter"));
  await restore(kv, saved);
  // B settles it in the moment in which A is about to.
  a.kv.onCommit(async (run) => {
    await b.loaded("Counter").check();
    return await run();
  }, { match: writes("head") });
  await a.loaded("Counter").check();
  const { epoch, mintedFrom } = await headOf(kv);
  const minted = [a, b].flatMap(({ kv }) => kv.commits).filter((commit) =>
    writes("head")(commit) && writes("pending")(commit) &&
    !writes("log")(commit)
  );
  // A tries and B is quicker; nobody tries again.
  assert.ok(minted.length <= 2, `${minted.length} tries`);
  await until(() => replica.position?.epoch === epoch);
  assert.deepEqual(replica.seen, ["jump 2"]);
  assert.ok(mintedFrom);
  for (const node of [a, b, c]) {
    assert.equal(node.token("Counter").epoch, epoch);
  }
});

Deno.test("Store: a look at the KV from before a new epoch does not begin another", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv, { sync: false });
  await a.counter.update(increment);
  const saved = await backup(kv);
  await a.counter.update(increment);
  await restore(kv, saved);
  const store = a.loaded("Counter");
  const gate = new Gate();
  a.kv.onCommit(waitsBefore(gate), { match: writes("head") });
  const settling = store.check();
  await gate.reached;
  const slow = new Gate();
  a.kv.afterRead(slow.pass, { match: readOf("head") });
  const checking = store.check();
  await slow.reached;
  gate.open();
  await settling;
  const { epoch } = await headOf(kv);
  slow.open();
  await checking;
  await a.counter.update(increment);
  assert.equal((await headOf(kv)).epoch, epoch);
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("Store: a state that was jumped to is frozen like any other", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await a.counter.update(increment);
  const saved = await backup(kv);
  await a.counter.update(increment);
  await restore(kv, saved);
  await a.loaded("Counter").check();
  const state = await a.counter.get();
  assert.ok(Object.isFrozen(state));
  assert.equal(freezeDeep(state), state);
});

Deno.test("answerSubscription(): a claim to be ahead can be false, and moves the epoch only now and then", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openCounter(kv, { clock });
  await node.counter.update(increment);
  const lie = () => ({ ...node.token("Counter"), version: 1_000 });
  const first = await drive(clock, node.answer("Counter", lie()));
  assert.equal(first.type, "snap");
  const { epoch } = await headOf(kv);
  await assert.rejects(node.answer("Counter", lie()), { code: "unavailable" });
  assert.equal((await headOf(kv)).epoch, epoch);
});

Deno.test("answerSubscription(): what a subscription is answered while a store is set back is of one piece", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv, { sync: false });
  for (let i = 0; i < 2; i++) await a.counter.update(increment);
  const early = a.token("Counter");
  const saved = await backup(kv);
  for (let i = 0; i < 4; i++) await a.counter.update(increment);
  await restore(kv, saved);
  const gate = new Gate();
  a.kv.onCommit(waitsAfter(gate), { match: writes("head") });
  const settling = a.loaded("Counter").check();
  await gate.reached;
  const answers = Promise.all([
    a.answer("Counter"),
    a.answer("Counter", early),
  ]);
  gate.open();
  await settling;
  const now = { n: 2 };
  for (const frame of await answers) {
    assert.ok(frame.type === "snap" || frame.type === "resume");
    const state = frame.type === "snap"
      ? frame.state
      : applyPatch({ n: 2 }, frame.patch);
    // Either the past that was lost, as its own epoch had it, or what there is now.
    if (frame.epoch === early.epoch) {
      assert.deepEqual([frame.version, state], [7, { n: 6 }]);
    } else {
      assert.deepEqual([frame.version, state], [3, now]);
    }
  }
});

Deno.test("Compactor: a snapshot of an epoch that was given up never gets into the next", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const store = node.store<Counter & { pad?: string }>("Counter", { n: 0 });
  await node.open();
  await store.update(increment);
  const saved = await headOf(kv);
  const gate = new Gate();
  node.kv.onCommit(waitsAfter(gate), { match: writes("blob") });
  for (let i = 0; i < 6; i++) {
    await store.update((draft) => {
      draft.pad = `${++draft.n}`.repeat(12_000);
    });
  }
  await gate.reached;
  // It is about to be reachable, and with that the state would be the one that was lost.
  for (const { key } of await entriesOf(kv, ["hw", "log"])) {
    if (Number(key[5]) > 2) await kv.atomic().delete(key).commit();
  }
  await kv.atomic().set(headKey(ID), encodeHead(saved)).commit();
  await node.loaded("Counter").check();
  gate.open();
  await store.update(increment);
  await until(() => node.loaded("Counter").isIdle);
  assert.deepEqual(await freshState(kv), { n: 2 });
  await store.update(increment);
  assert.deepEqual(await freshState(kv), { n: 3 });
});

type OpenCounter = Awaited<ReturnType<typeof openCounter>>;
