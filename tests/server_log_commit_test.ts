import assert from "node:assert/strict";
import { applyPatch } from "../protocol/patch.ts";
import { headKey } from "../server/log/keys.ts";
import { decodeBlobRef } from "../server/log/blob_ref.ts";
import { decodeEntry } from "../server/log/log_entry.ts";
import { until, within } from "./_harness.ts";
import {
  type Commit,
  Gate,
  keyOf,
  readOf,
  touches,
  valueBytes,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  type Counter,
  drive,
  entriesOf,
  freshState,
  headOf,
  idOf,
  increment,
  logVersions,
  memoryKv,
  openCounter,
  openNode,
  outgrowLog,
  Replica,
  TestNode,
} from "./_store_harness.ts";
import { FakeClock, settle } from "./_fake_clock.ts";

interface Padded {
  pad: string;
}

Deno.test("Lane: two servers write one store and no update is lost", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv);
  await using b = await openCounter(kv);
  const written = await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const node = i % 2 === 0 ? a : b;
      // Not all in one batch.
      for (let turn = 0; turn < i % 7; turn++) await node.kv.get(["turn"]);
      return await node.counter.update(increment);
    }),
  );
  assert.deepEqual(await freshState(kv), { n: 60 });
  const versions = written.map(({ version }) => version).sort((x, y) => x - y);
  // Version 1 is the creation.
  assert.deepEqual(versions, Array.from({ length: 60 }, (_, i) => i + 2));
  const values = written.map(({ value }) => value).sort((x, y) => x! - y!);
  assert.deepEqual(values, Array.from({ length: 60 }, (_, i) => i + 1));
});

Deno.test("Lane: a batch is one commit and one log entry, keyed by its last version", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const before = node.kv.commits.length;
  const written = await Promise.all(
    Array.from({ length: 10 }, () => node.counter.update(increment)),
  );
  assert.equal(node.kv.commits.length - before, 1);
  assert.deepEqual(
    written.map(({ version }) => version),
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  );
  assert.deepEqual(await logVersions(kv), [1, 11]);
  const [, entry] = await entriesOf(kv, ["hw", "log"]);
  const { from, mutations } = decodeEntry(entry?.value);
  assert.equal(from, 1);
  assert.equal(mutations.length, 10);
});

Deno.test("Lane: all that is written in one tick is one commit", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const before = node.kv.commits.length;
  await Promise.all(Array.from({ length: 10 }, async (_, i) => {
    for (let turn = 0; turn < i; turn++) await Promise.resolve();
    return await node.counter.update(increment);
  }));
  assert.equal(node.kv.commits.length - before, 1);
});

Deno.test("answerSubscription() may begin in the middle of a batch", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  await Promise.all(
    Array.from({ length: 10 }, () => node.counter.update(increment)),
  );
  await outgrowLog(node);
  const { version } = await headOf(kv);
  // A server that has never seen the client, and has none of it in memory.
  await using other = await openCounter(kv);
  await other.counter.get();
  for (const from of [1, 2, 5, 10, 11]) {
    const before = other.kv.reads.length;
    const token = { ...node.token("Counter"), version: from };
    const frame = await other.answer("Counter", token);
    assert.ok(frame.type === "resume", `from ${from}`);
    assert.deepEqual([frame.from, frame.version], [from, version]);
    const state = applyPatch({ n: from - 1 }, frame.patch);
    assert.deepEqual(state, { n: 10 }, `from ${from}`);
    assert.ok(other.kv.reads.slice(before).some(readOf("log")));
  }
});

Deno.test("Lane: what comes while a commit is in flight rides in the next one", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  const before = node.kv.commits.length;
  const first = node.counter.update(increment);
  await gate.reached;
  const others = Array.from(
    { length: 20 },
    () => node.counter.update(increment),
  );
  gate.open();
  await Promise.all([first, ...others]);
  assert.equal(node.kv.commits.length - before, 2);
  assert.deepEqual(await freshState(kv), { n: 21 });
});

Deno.test("Lane: an atomic has at most 9 stores and 10 checks", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  const keys = Array.from({ length: 20 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => stores.init(key)));
  const before = node.kv.commits.length;
  await Promise.all(keys.map((key) => stores.update(key, increment)));
  const commits = node.kv.commits.slice(before);
  const heads = commits.map(({ sets }) =>
    sets.filter(({ key }) => key[1] === "head").length
  );
  assert.deepEqual(heads, [9, 9, 2]);
  for (const { checks } of commits) assert.ok(checks.length <= 10);
  for (const key of keys) {
    assert.deepEqual(await freshState(kv, `C:${key}`), { n: 1 });
  }
});

Deno.test("Lane: an atomic stays under 500 writes and 700 KiB", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const stores = node.dynamic<Padded>("P:*", { pad: "" });
  await node.open();
  const keys = Array.from({ length: 9 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => stores.init(key)));
  await Promise.all(keys.flatMap((key) =>
    // Batches of one store that fit, that do not, and one mutation that never does.
    [90_000, 90_000, 300_000, 120_000, key === "4" ? 900_000 : 1].map((size) =>
      stores.update(key, (draft) => {
        draft.pad = key.repeat(size);
      })
    )
  ));
  assertSmall(node.kv.commits);
  for (const key of keys) {
    assert.deepEqual(await freshState(kv, `P:${key}`), {
      pad: key.repeat(key === "4" ? 900_000 : 1),
    });
  }
});

Deno.test("Lane: entries of several stores that fit the feed one by one may not fit one slot", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, { limits: { commitMs: 300 } });
  const stores = node.dynamic<Padded>("P:*", { pad: "" });
  await node.open();
  await using other = new TestNode(kv, {});
  const theirs = other.dynamic<Padded>("P:*", { pad: "" });
  await other.open();
  const keys = Array.from({ length: 9 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => stores.init(key)));
  await Promise.all(keys.map((key) => theirs.init(key)));
  const pad = "x".repeat(15_000);
  await Promise.all(
    keys.map((key) => stores.update(key, (draft) => void (draft.pad = pad))),
  );
  assertSmall(node.kv.commits);
  for (const key of keys) {
    await until(() => theirs.peek(key)?.pad === pad);
  }
});

Deno.test("CommitQueue: a batch of one store ends where an atomic is full", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const log = node.store<{ lines: string[] }>("Log", { lines: [] });
  await log.init();
  const lines = Array.from(
    { length: 3_000 },
    (_, i) => `${i} `.padEnd(1_000, "."),
  );
  await Promise.all(
    lines.map((line) => log.update((draft) => void draft.lines.push(line))),
  );
  assertSmall(node.kv.commits);
  // A batch that is too long for its atomic would be written ahead, as a blob.
  for (const { value } of await entriesOf(kv, ["hw", "log"])) {
    assert.match(decodeBlobRef(value)?.id ?? "v", /^v/);
  }
  assert.deepEqual((await log.get()).lines, lines);
  assert.deepEqual(await freshState(kv, "Log"), { lines });
});

Deno.test("Lane: a conflict on one store does not punish the others", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {
    clock: new FakeClock(),
    isWatchDead: true,
  });
  const mine = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  await using other = new TestNode(kv, {});
  const theirs = other.dynamic<Counter>("C:*", { n: 0 });
  await other.open();
  for (const key of ["a", "b", "hot"]) {
    await mine.init(key);
    await theirs.init(key);
  }
  const isHot = touches((key) => key[3] === "C:hot");
  // Each time that this server tries to write the hot store, another was quicker.
  node.kv.onCommit(async (run) => {
    await theirs.update("hot", increment);
    return await run();
  }, { match: isHot, times: 3 });
  const before = node.kv.commits.length;
  const hot = mine.update("hot", increment);
  const a = mine.update("a", increment);
  const b = mine.update("b", increment);
  // The clock stands still: whoever waits for a pause waits for ever.
  await within(Promise.all([a, b]), {
    describe: () => "others are held up by the hot store",
  });
  const heads = (commit: Commit) =>
    commit.sets.filter(({ key }) => key[1] === "head").map(({ key }) => key[3]);
  const [together, ...apart] = node.kv.commits.slice(before);
  assert.deepEqual(heads(together!), ["C:hot", "C:a", "C:b"]);
  for (const commit of apart) assert.equal(heads(commit).length, 1);

  const clock = node.environment().clock as FakeClock; // given above
  await within(drive(clock, hot), { describe: () => "the hot store starves" });
  assert.deepEqual(await freshState(kv, "C:hot"), { n: 4 });
});

Deno.test("Lane: a write that never fits beside the others comes before them in the next round", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const stores = node.dynamic<Padded>("P:*", { pad: "" });
  await node.open();
  await stores.init("busy");
  await stores.init("large");
  let rounds = 0;
  const fill = (key: string, size: number) =>
    stores.update(key, (draft) => {
      draft.pad = `${rounds} `.padEnd(size, key[0]);
    });
  // Whenever it commits, more has come meanwhile.
  const writing: Promise<unknown>[] = [];
  node.kv.onCommit((run) => {
    rounds++;
    writing.push(fill("busy", 60_000));
    return run();
  }, { match: touches((key) => key[3] === "P:busy"), times: 30 });
  writing.push(fill("busy", 60_000));
  await fill("large", 560_000);
  assert.ok(rounds < 5, `only after ${rounds} rounds`);
  await Promise.all(writing);
});

Deno.test("Lane: a store is always in the same lane, and each lane runs one atomic at a time", async () => {
  using kv = await memoryKv();
  const partitions: string[][] = [];
  for (let run = 0; run < 2; run++) {
    await using node = new TestNode(kv, { isLocal: false });
    const stores = node.dynamic<Counter>("C:*", { n: 0 });
    await node.open();
    const laneOf = new Map<string, string>();
    const busy = new Set<string>();
    let most = 0;
    node.kv.onCommit(async (real, commit) => {
      const lane = String(
        commit.sets.find(({ key }) => key[1] === "slot")?.key[2],
      );
      assert.ok(!busy.has(lane), "two atomics of one lane at once");
      busy.add(lane);
      most = Math.max(most, busy.size);
      for (const { key } of commit.sets) {
        if (key[1] !== "head") continue;
        const name = String(key[3]);
        assert.equal(laneOf.get(name) ?? lane, lane);
        laneOf.set(name, lane);
      }
      try {
        // Long enough for the others to begin, if they may.
        await settle();
        return await real();
      } finally {
        busy.delete(lane);
      }
    }, { match: writes("slot"), times: Infinity });
    const keys = Array.from({ length: 60 }, (_, i) => `${i}`);
    for (let round = 0; round < 2; round++) {
      await Promise.all(keys.map((key) => stores.update(key, increment)));
    }
    assert.ok(most > 1, "no two lanes at once");
    const lanes = new Map<string, string[]>();
    for (const [name, lane] of laneOf) {
      lanes.set(lane, [...lanes.get(lane) ?? [], name].sort());
    }
    partitions.push([...lanes.values()].map(String).sort());
  }
  assert.deepEqual(partitions[0], partitions[1]);
});

Deno.test("Lane: one lane where the KV is a local file", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, { isLocal: true });
  const stores = node.dynamic<Counter>("C:*", { n: 0 });
  await node.open();
  const keys = Array.from({ length: 24 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => stores.update(key, increment)));
  assert.equal((await entriesOf(kv, ["hw", "feed"])).length, 1);
});

Deno.test("update() runs a recipe again on what another server wrote", async () => {
  using kv = await memoryKv();
  await using a = await openCounter(kv, { sync: false });
  await using b = await openCounter(kv, { sync: false });
  await a.counter.init();
  a.kv.onCommit(async (run) => {
    await b.counter.set({ n: 41 });
    return await run();
  });
  const seen: number[] = [];
  const { version, value } = await a.counter.update((draft) => {
    seen.push(draft.n);
    draft.n++;
    return draft.n;
  });
  assert.deepEqual(seen, [0, 41]);
  assert.deepEqual({ version, value }, { version: 3, value: 42 });
  assert.deepEqual(await a.counter.get(), { n: 42 });
});

Deno.test("update() refuses a recipe that returns a promise, and changes nothing", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  await assert.rejects(
    // deno-lint-ignore require-await
    node.counter.update(async (draft) => {
      draft.n = 7;
    }),
    /synchronous/,
  );
  assert.deepEqual(await freshState(kv), { n: 0 });
  assert.equal((await headOf(kv)).version, 1);
});

Deno.test("update() with a recipe that throws changes nothing, and its neighbours in the batch do", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const results = await Promise.allSettled([
    node.counter.update(increment),
    node.counter.update((draft) => {
      draft.n = 100;
      throw new RangeError("no seats");
    }),
    node.counter.update(increment),
  ]);
  assert.deepEqual(
    results.map((r) =>
      r.status === "fulfilled" ? r.value.version : r.reason.message
    ),
    [2, "no seats", 3],
  );
  assert.deepEqual(await freshState(kv), { n: 2 });
});

Deno.test("update() keeps the limit on a state's size after a restart", async () => {
  using kv = await memoryKv();
  const limits = { stateBytes: 100_000 };
  for (let start = 0; start < 4; start++) {
    await using node = await openNode(kv, { limits });
    const store = node.store<Record<string, string>>("S", {});
    await store.update((draft) => {
      draft[start] = "x".repeat(20_000);
    });
  }
  await using node = await openNode(kv, { limits });
  const store = node.store<Record<string, string>>("S", {});
  const tooMuch = store.update((draft) => {
    draft["more"] = "x".repeat(20_000);
  });
  await assert.rejects(tooMuch, { code: "limit", name: "LimitError" });
  // It is a limit on the state, not on what was written in all.
  for (let i = 0; i < 6; i++) {
    await store.update((draft) => {
      draft["0"] = `${i}`.repeat(20_000);
    });
  }
});

Deno.test("update() keeps the limit on a state's size over what other servers write", async () => {
  using kv = await memoryKv();
  const limits = { stateBytes: 100_000 };
  await using a = await openNode(kv, { limits });
  await using b = await openNode(kv, { limits });
  const mine = a.store<Record<string, string>>("S", {});
  const theirs = b.store<Record<string, string>>("S", {});
  await mine.init();
  for (const key of ["a", "b", "c"]) {
    await theirs.update((draft) => {
      draft[key] = "x".repeat(30_000);
    });
    await until(() => mine.peek()?.[key]);
  }
  const tooMuch = mine.update((draft) => {
    draft["d"] = "x".repeat(12_000);
  });
  await assert.rejects(tooMuch, { code: "limit" });
});

Deno.test("LogEntry: time never goes back, when the clock jumps or another server's is behind", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using a = await openCounter(kv, { clock });
  const behind = new FakeClock(clock.now() - 3_600_000);
  await a.counter.update(increment);
  clock.jump(-86_400_000);
  await a.counter.update(increment);
  {
    await using b = await openCounter(kv, { clock: behind });
    await b.counter.update(increment);
  }
  clock.jump(2 * 86_400_000);
  await drive(clock, a.counter.update(increment));
  const times = (await entriesOf(kv, ["hw", "log"])).map(({ value }) =>
    decodeEntry(value).timeMs
  );
  assert.deepEqual(times, times.toSorted((x, y) => x - y));
  assert.ok(times.at(-1)! > times[0]!);
  assert.equal((await headOf(kv)).timeMs, times.at(-1));
});

Deno.test("Store: every commit is in the KV before a subscriber or the caller sees it", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  await node.counter.init();
  const replica = new Replica(node.loaded("Counter"));
  const gate = new Gate();
  node.kv.onCommit(waitsBefore(gate));
  let isAcknowledged = false;
  const writing = node.counter.update(increment).then(() =>
    isAcknowledged = true
  );
  await gate.reached;
  assert.deepEqual(node.counter.peek(), { n: 0 });
  assert.deepEqual(replica.seen, []);
  assert.equal(isAcknowledged, false);
  gate.open();
  await writing;
  assert.deepEqual(replica.seen, ["patch 1-2"]);
  assert.deepEqual(replica.state, { n: 1 });
  const { versionstamp } = await kv.get(headKey(idOf("Counter")));
  assert.ok(versionstamp);
});

function assertSmall(commits: readonly Commit[]): void {
  for (const commit of commits) {
    assert.ok(commit.sets.length + commit.deletes.length <= 500);
    assert.ok(
      valueBytes(commit) <= 700 * 1024,
      `${valueBytes(commit)} bytes in one atomic`,
    );
    for (const { key, value } of commit.sets) {
      const bytes = value instanceof Uint8Array ? value.byteLength : 8;
      assert.ok(bytes <= 65_536, `${bytes} bytes in ${String(key[1])}`);
    }
    assert.ok(!touches(keyOf("pending"))(commit) || commit.sets.length <= 500);
  }
}
