/** A store's past: what is kept of it, and what the handles make of it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { diffStates } from "../protocol/diff.ts";
import { applyJsonPatch } from "../protocol/json_patch.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import { Sweeper } from "../server/log/blobs.ts";
import { addSnapshot } from "../server/log/compaction.ts";
import { readMutations, readStates } from "../server/log/history.ts";
import { chunkKey, headKey, logKey, logPrefix } from "../server/log/keys.ts";
import {
  decodeHead,
  encodeHead,
  type SnapshotRef,
  snapshotsOf,
} from "../server/log/head.ts";
import {
  decodeEntry,
  encodeEntry,
  type LogEntry,
} from "../server/log/log_entry.ts";
import type { Kv, KvKey } from "../server/ports.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { StaticStore } from "../server/stores/static_store.ts";
import { shareEqual } from "../server/stores/restore.ts";
import { anyJson } from "./_arbitraries.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until } from "./_harness.ts";
import { FaultyKv, Gate, readOf, waitsBefore, writes } from "./_kv_faults.ts";
import {
  entriesOf,
  headOf,
  idOf,
  memoryKv,
  type NodeOptions,
  Replica,
  TestNode,
} from "./_store_harness.ts";

interface Page {
  n: number;
  pad: string;
  items: { id: number }[];
}

const FIRST: Page = { n: 0, pad: "", items: [] };
const ID = idOf("P");
/** Six of them are a log that is worth a snapshot. */
const PAD = 12_000;

type PageNode = TestNode & {
  store: StaticStore<Page>;
  /** What each version was, as it was shown. */
  truth: Map<number, Json>;
};

async function openPage(
  kv: Kv,
  options: NodeOptions & { store?: StoreOptions } = {},
  truth = new Map<number, Json>(),
): Promise<PageNode> {
  const node = new TestNode(kv, options);
  const store = node.store<Page>("P", FIRST, options.store);
  return Object.assign(await node.open(), { store, truth });
}

/** One more version, of so many bytes; returns it. */
async function grow(node: PageNode, bytes = PAD): Promise<number> {
  const { version } = await node.store.update((draft) => {
    draft.n++;
    draft.items.unshift({ id: draft.n });
    if (draft.items.length > 5) draft.items.length = 5;
    draft.pad = `${draft.n} `.padEnd(bytes, "x");
  });
  node.truth.set(version, node.loaded("P").state);
  return version;
}

/** Lets compactions end. */
async function quiet(node: PageNode): Promise<void> {
  await until(() => node.kv.isDead || node.loaded("P").isIdle);
}

async function growQuietly(node: PageNode, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await grow(node);
    await quiet(node);
  }
}

/** Every version that the head promises is what it was; returns the oldest. */
async function checkPast(
  kv: Kv,
  truth: ReadonlyMap<number, Json>,
  at = "",
): Promise<number> {
  const { floor, version: newest } = await headOf(kv, "P");
  const oldest = Math.max(1, floor);
  for (let version = oldest; version <= newest; version++) {
    const [state] = await readStates(kv, ID, [version]) ?? [];
    const known = truth.get(version);
    if (known !== undefined) {
      assert.deepEqual(state, known, `${at}: version ${version}`);
    }
  }
  await assert.rejects(readStates(kv, ID, [oldest - 1]), { code: "limit" }, at);
  await assert.rejects(readStates(kv, ID, [newest + 1]), { code: "limit" }, at);
  return oldest;
}

async function put(kv: Kv, key: KvKey, value: unknown): Promise<void> {
  await kv.atomic().set(key, value).commit();
}

async function remove(kv: Kv, key: KvKey): Promise<void> {
  await kv.atomic().delete(key).commit();
}

Deno.test("StaticStore.at() gives every version from the floor on, as the floor rises", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv, {
    store: { history: { versions: 15 } },
  });
  let most = 0;
  for (let i = 0; i < 60; i++) {
    // Some lie in chunks.
    await grow(node, i % 7 === 3 ? 100_000 : PAD);
    await quiet(node);
    if (i % 6 !== 5) continue;
    const oldest = await checkPast(kv, node.truth);
    const { version, older = [] } = await headOf(kv, "P");
    assert.ok(version - oldest >= Math.min(15, i), `${oldest} of ${version}`);
    assert.ok(version - oldest < 15 + 8, `${oldest} of ${version}`);
    most = Math.max(most, older.length);
  }
  assert.ok(most >= 2, `${most} older snapshots`);
  assert.ok((await headOf(kv, "P")).floor > 30);
});

Deno.test("StaticStore.at() within a batch gives each version its own state", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await node.store.init();
  const written = await Promise.all(
    Array.from(
      { length: 50 },
      () => node.store.update((draft) => ++draft.n),
    ),
  );
  const { epoch } = await headOf(kv, "P");
  assert.ok((await entriesOf(kv, logPrefix(ID, epoch))).length < 5);
  for (const { version, value } of written) {
    assert.equal((await node.store.at(version)).n, value);
  }
  const page = await node.store.history();
  assert.deepEqual(
    page.entries.map(({ version }) => version),
    Array.from({ length: 51 }, (_, index) => index + 1),
  );
  assert.deepEqual(page.entries[7]?.patch, [
    { op: "replace", path: "/n", value: 7 },
  ]);
});

Deno.test("Compactor: after a crash at any step every version that is kept can be told, and nothing stays for ever", async () => {
  let crashes = 0;
  const options = { sync: false, store: { history: { versions: 4 } } };
  for (const when of ["before", "after"]) {
    for (let step = 0;; step++) {
      using kv = await memoryKv();
      // Never closed: it has crashed. Its clock stands still, so it holds no timer.
      const node = await openPage(kv, { ...options, clock: new FakeClock() });
      const crash = Promise.withResolvers<string>();
      node.kv.onCommit(async (run) => {
        const result = when === "after" ? await run() : undefined;
        node.kv.isDead = true;
        crash.resolve("crash");
        return result ?? { ok: false };
      }, { match: (commit) => node.kv.commits.indexOf(commit) === step });
      const work = async () => {
        for (let i = 0; i < 22 && !node.kv.isDead; i++) {
          await grow(node, i === 4 ? 70_000 : PAD);
          await until(() => node.kv.isDead || node.loaded("P").isIdle);
        }
        return node.kv.isDead ? "crash" : "done";
      };
      const end = await Promise.race([work(), crash.promise]);
      if (end === "done") break;
      crashes++;
      await until(() => FaultyKv.busy === 0);
      const at = `${when} commit ${step}`;
      if ((await kv.get(headKey(ID))).value) {
        await checkPast(kv, node.truth, at);
      }
      // Another server takes over.
      await using next = await openPage(kv, options, node.truth);
      await growQuietly(next, 10);
      await checkPast(kv, node.truth, `${at}, afterwards`);
      await new Sweeper(kv, () => 0, 0).sweep();
      await checkPast(kv, node.truth, `${at}, swept`);
      await assertClean(kv, at);
    }
  }
  assert.ok(crashes > 60, `only ${crashes} crashes`);
});

Deno.test("StaticStore.at() that a compaction overtakes gives the version or says that it is gone, at whatever moment", async () => {
  for (const wanted of ["oldest", "middle", "pair", "list"] as const) {
    const told = { right: 0, gone: 0 };
    for (const what of ["read", "entry"]) {
      for (let at = 0;; at++) {
        using kv = await memoryKv();
        await using writer = await openPage(kv, {
          sync: false,
          store: { history: { versions: 8 } },
        });
        await growQuietly(writer, 30);
        const oldest = await checkPast(kv, writer.truth);
        const version = wanted === "middle" ? oldest + 5 : oldest;
        await using reader = await openPage(kv, { sync: false });
        await reader.store.get();
        let wasRun = false;
        let count = 0;
        const isIt = (key: KvKey) =>
          ["head", "log", "blob"].includes(String(key[1])) && count++ === at;
        const compact = async () => {
          wasRun = true;
          await growQuietly(writer, 24);
        };
        if (what === "entry") reader.kv.beforeEntry(compact, { match: isIt });
        else {
          reader.kv.beforeRead(compact, { match: ({ key }) => isIt(key) });
        }
        try {
          if (wanted === "list") {
            const { entries } = await reader.store.history({
              from: version + 1,
            });
            assert.deepEqual(entries[0]?.version, version + 1);
            assert.ok(entries.length >= 8);
          } else if (wanted === "pair") {
            const patch = await reader.store.diff(version + 6, version);
            assert.deepEqual(
              applyJsonPatch(writer.truth.get(version + 6)!, patch),
              writer.truth.get(version),
            );
          } else {
            assert.deepEqual(
              await reader.store.at(version),
              writer.truth.get(version),
            );
          }
          told.right++;
        } catch (error) {
          assert.equal((error as { code?: string }).code, "limit", `${error}`);
          told.gone++;
        }
        if (!wasRun) break;
      }
    }
    assert.ok(told.right >= 2 && told.gone >= 2, JSON.stringify(told));
  }
});

Deno.test("Compactor: of several servers that compact at once, none takes what another's versions need", async () => {
  using kv = await memoryKv();
  const options = { store: { history: { versions: 12 } } };
  await using a = await openPage(kv, options);
  await using b = await openPage(kv, options, a.truth);
  await a.store.init();
  await b.store.init();
  for (let round = 0; round < 12; round++) {
    const versions = await Promise.all(
      [a, b, a, b, b].map(async (node) => {
        const { version } = await node.store.update((draft) => {
          draft.n++;
          draft.pad = `${draft.n} `.padEnd(PAD, "z");
        });
        return version;
      }),
    );
    assert.equal(new Set(versions).size, versions.length);
    for (const version of versions) {
      const state = await a.store.at(version);
      assert.equal(state.n, version - 1);
      a.truth.set(version, state as unknown as Json);
    }
    await checkPast(kv, a.truth, `round ${round}`);
  }
  await quiet(a);
  await quiet(b);
  assert.ok((await headOf(kv, "P")).floor > 20);
  await new Sweeper(kv, () => 0, 0).sweep();
  await assertClean(kv, "at the end");
});

Deno.test("Compactor: a floor that was to rise to a snapshot which another server dropped rises to one that is there", async () => {
  using kv = await memoryKv();
  await using a = await openPage(kv, {
    sync: false,
    store: { history: { versions: 10 } },
  });
  const gate = new Gate();
  a.kv.onCommit(waitsBefore(gate), {
    match: ({ sets }) =>
      sets.some(({ key, value }) =>
        key[1] === "head" && decodeHead(value).floor > 0
      ),
  });
  await a.store.init();
  let isHeld = false;
  gate.reached.then(() => isHeld = true);
  // The write that rides with it waits as well.
  while (!isHeld) {
    grow(a).catch(() => {});
    await until(() => isHeld || a.loaded("P").isIdle);
  }
  // A server that keeps everything has to choose among its snapshots.
  await using b = await openPage(kv, {
    sync: false,
    store: { history: { versions: 1_000_000 } },
  }, a.truth);
  await b.store.get();
  const [first] = snapshotsOf(await headOf(kv, "P"));
  await growQuietly(b, 130);
  const left = snapshotsOf(await headOf(kv, "P"));
  assert.ok(!left.some(({ version }) => version === first!.version));
  gate.open();
  await until(async () => (await headOf(kv, "P")).floor > 0);
  await quiet(a);
  await checkPast(kv, a.truth);
});

Deno.test("Compactor: at most 16 older snapshots are kept, spread over all that is kept", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv, {
    store: { history: { versions: 150 } },
  });
  await growQuietly(node, 200);
  const head = await headOf(kv, "P");
  const { older = [], floor } = head;
  assert.ok(older.length >= 12 && older.length <= 16, `${older.length}`);
  assert.ok(floor > 0 && floor <= 50);
  assert.equal(older[0]?.version, floor);
  const gaps = snapshotsOf(head).slice(1).map(({ version }, index) =>
    version - older[index]!.version
  );
  assert.ok(Math.max(...gaps) <= 4 * Math.min(...gaps), gaps.join(" "));
  for (let version = floor; version <= head.version; version += 7) {
    assert.deepEqual(await node.store.at(version), node.truth.get(version));
  }
  await new Sweeper(kv, () => 0, 0).sweep();
  await assertClean(kv, "at the end");
});

Deno.test("addSnapshot() never drops the snapshot at the floor, whose absence would be felt the least", () => {
  const at = (version: number): SnapshotRef => ({
    id: `${version}`,
    chunks: 1,
    bytes: 1,
    version,
    stateBytes: 1,
    logBytes: version * 1_000,
  });
  const older = Array.from({ length: 16 }, (_, index) => at(index + 1));
  const head = {
    epoch: "e",
    version: 17,
    writer: "w",
    floor: 1,
    snapshot: at(17),
    older,
    timeMs: 0,
    logBytes: 17_000,
    initialized: true,
  };
  for (const floor of [0, 1]) {
    const change = addSnapshot({ ...head, floor }, at(18));
    assert.deepEqual(change.dropped, [at(1 + floor)]);
    assert.equal(change.head.older?.length, 16);
    assert.deepEqual(change.head.snapshot, at(18));
  }
});

Deno.test("Store: what an earlier release left loads, tells what it can, and goes on", async () => {
  using kv = await memoryKv();
  {
    await using node = await openPage(kv, { store: { history: {} } });
    await growQuietly(node, 17);
  }
  // One snapshot without a time, no older ones, and a floor somewhere below.
  const { older = [], snapshot, ...head } = await headOf(kv, "P");
  const { timeMs: _, ...bare } = snapshot!;
  await put(kv, headKey(ID), encodeHead({ ...head, floor: 9, snapshot: bare }));
  for (let version = 1; version <= 9; version++) {
    await remove(kv, logKey(ID, head.epoch, version));
  }
  for (const { id } of older) {
    await remove(kv, chunkKey(ID, head.epoch, id, 0));
  }
  await using node = await openPage(kv, {
    store: { history: { versions: 8, ageMs: 3_600_000 } },
  });
  assert.equal((await node.store.get()).n, 17);
  assert.equal((await node.store.at(bare.version)).n, bare.version - 1);
  await assert.rejects(node.store.at(bare.version - 1), {
    code: "limit",
    message: `Cannot read version ${
      bare.version - 1
    } of store "P": the oldest version that is kept is ${bare.version}, the newest 18`,
    data: { version: bare.version - 1, oldest: bare.version, newest: 18 },
  });
  // Changes are kept from further back than states.
  assert.equal((await node.store.history({ from: 10 })).entries.length, 9);
  await assert.rejects(node.store.at({ timeMs: 5 }), { code: "limit" });
  await growQuietly(node, 20);
  assert.ok((await headOf(kv, "P")).floor >= bare.version);
  await checkPast(kv, node.truth);
});

Deno.test("StaticStore.history() of a store that began anew in another epoch begins there", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await growQuietly(node, 14);
  assert.ok((await headOf(kv, "P")).older?.length);
  const before = await node.store.history();
  await node.loaded("P").refute(99);
  const { epoch, floor, older = [] } = await headOf(kv, "P");
  assert.equal(floor, 15);
  assert.equal(older.length, 0);
  const after = await node.store.history();
  assert.deepEqual(after, { epoch, oldest: 16, newest: 15, entries: [] });
  assert.notEqual(epoch, before.epoch);
  assert.equal((await node.store.at(15)).n, 14);
  await assert.rejects(node.store.at(14), { code: "limit" });
  await growQuietly(node, 20);
  await checkPast(kv, node.truth);
  assert.equal((await node.store.history()).oldest, 16);
});

Deno.test("StaticStore.history() of a store that was deleted is that of its next life", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  const missing = { code: "store_missing", message: /there is no store "P"/ };
  const ask = [
    () => node.store.history(),
    () => node.store.at(1),
    () => node.store.diff(1, 1),
    () => node.store.restore(1),
  ];
  for (const run of ask) await assert.rejects(run(), missing);
  assert.equal(await node.store.has(), false);
  await growQuietly(node, 14);
  await node.store.delete();
  for (const run of ask) await assert.rejects(run(), missing);
  await grow(node);
  const { entries, oldest, newest } = await node.store.history();
  assert.deepEqual([entries.length, oldest, newest], [2, 1, 2]);
  await assert.rejects(node.store.restore(9), {
    code: "limit",
    data: { version: 9, oldest: 1, newest: 2 },
  });
});

Deno.test("StaticStore.history() goes on over a reset, and restore() goes back before it", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await grow(node);
  await grow(node);
  await node.store.reset();
  assert.deepEqual(await node.store.at(4), FIRST);
  const { version } = await node.store.restore(3);
  assert.equal((await node.store.get()).n, 2);
  assert.equal(await node.store.isInitialized(), true);
  const { entries } = await node.store.history();
  // The creation, two writes, the reset, what onCreate did anew, the restoration.
  assert.deepEqual(entries.map(({ version }) => version), [1, 2, 3, 4, 5, 6]);
  assert.equal(version, 6);
});

Deno.test("StaticStore.at() takes a time: what was the newest version then", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openPage(kv, {
    clock,
    store: { history: { versions: 20 } },
  });
  const times = new Map<number, number>();
  for (let i = 0; i < 60; i++) {
    clock.jump(i % 5 === 0 ? 0 : 1_000);
    times.set(await grow(node), clock.now());
    await quiet(node);
  }
  const oldest = await checkPast(kv, node.truth);
  assert.ok(oldest > 20);
  for (const [version, timeMs] of times) {
    if (version < oldest) continue;
    // Two may have the same time; the newer one was the newest then.
    const expected = times.get(version + 1) === timeMs ? version + 1 : version;
    for (const at of [timeMs, timeMs + 999]) {
      const state = await node.store.at({ timeMs: at });
      assert.deepEqual(state, node.truth.get(expected), `${version} at ${at}`);
    }
  }
  // A time to come, too.
  assert.equal((await node.store.at({ timeMs: 9e15 })).n, 60);
  await assert.rejects(
    node.store.at({ timeMs: times.get(oldest)! - 1 }),
    {
      code: "limit",
      message: new RegExp(
        `the oldest version that is kept is ${oldest} and younger`,
      ),
    },
  );
});

Deno.test("StaticStore.at() of a time before the first version is refused", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openPage(kv, { clock });
  const born = clock.now();
  await grow(node);
  clock.jump(50);
  await grow(node);
  await grow(node);
  assert.equal((await node.store.at({ timeMs: born })).n, 1);
  assert.equal((await node.store.at({ timeMs: born + 49 })).n, 1);
  assert.equal((await node.store.at({ timeMs: born + 50 })).n, 3);
  await assert.rejects(node.store.at({ timeMs: born - 1 }), {
    code: "limit",
    data: { timeMs: born - 1, oldest: 1, newest: 4 },
  });
});

Deno.test("StaticStore.history() pages: the newest by default, from a version, to its end", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await node.store.init();
  for (let i = 0; i < 130; i++) {
    // Some alone, some in batches.
    await Promise.all(Array.from({ length: i % 4 }, () => grow(node, 10)));
  }
  const { version } = await headOf(kv, "P");
  const newest = await node.store.history();
  assert.equal(newest.entries.length, 100);
  assert.equal(newest.entries[0]?.version, version - 99);
  assert.equal(newest.next, undefined);
  for (const limit of [1, 2, 7, 1_000]) {
    const seen: number[] = [];
    let from: number | undefined = 1;
    while (from !== undefined) {
      const page = await node.store.history({ from, limit });
      assert.ok(page.entries.length <= limit && page.entries.length > 0);
      assert.deepEqual([page.oldest, page.newest], [1, version]);
      seen.push(...page.entries.map(({ version }) => version));
      from = page.next;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: version }, (_, index) => index + 1),
    );
    const tail = await node.store.history({ limit });
    assert.deepEqual(
      tail.entries.map(({ version }) => version),
      seen.slice(-limit),
    );
  }
  const none = await node.store.history({ from: version + 1 });
  assert.deepEqual([none.entries, none.next], [[], undefined]);
  // The changes of all versions give the state.
  const { entries } = await node.store.history({ limit: 1_000 });
  let state: Json = null;
  for (const { patch } of entries) state = applyJsonPatch(state, patch);
  assert.deepEqual(state, await node.store.get());
});

Deno.test("StaticStore.history() ends a page early where it is too large", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv, {
    store: { history: { bytes: 1e9 } },
  });
  for (let i = 0; i < 30; i++) await grow(node, 600_000);
  const page = await node.store.history({ from: 1, limit: 1_000 });
  assert.ok(page.entries.length >= 10 && page.entries.length <= 16);
  assert.equal(page.next, page.entries.at(-1)!.version + 1);
  const tail = await node.store.history({ limit: 1_000 });
  assert.ok(tail.entries.length >= 10 && tail.entries.length <= 16);
  assert.equal(tail.entries.at(-1)?.version, 31);
  assert.equal(tail.next, undefined);
});

Deno.test("StaticStore.history() refuses what it cannot give, and says what it can", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv, {
    store: { history: { versions: 3 } },
  });
  await growQuietly(node, 30);
  const { floor } = await headOf(kv, "P");
  assert.ok(floor > 10);
  const oldest = floor + 1;
  await assert.rejects(node.store.history({ from: floor }), {
    name: "HeadwaterError",
    code: "limit",
    message:
      `Cannot list the history of store "P" from version ${floor}: the oldest version that is kept is ${oldest}, the newest 31`,
    data: { from: floor, oldest, newest: 31 },
  });
  assert.equal((await node.store.history({ from: oldest })).oldest, oldest);
  await assert.rejects(node.store.history({ limit: 1_001 }), {
    name: "LimitError",
    message:
      `Cannot list the history of store "P": 1001 is over the limit history of 1000, which cannot be changed`,
  });
  for (const limit of [0, -1, 1.5, NaN, "9"]) {
    const range = { limit: limit as number }; // as from JavaScript
    await assert.rejects(node.store.history(range), RangeError);
  }
  for (const moment of [NaN, 1.5, "1", null, undefined, {}, { timeMs: NaN }]) {
    const version = moment as number; // as from JavaScript
    await assert.rejects(node.store.at(version), TypeError);
    await assert.rejects(node.store.diff(1, version), TypeError);
    await assert.rejects(node.store.restore(version), TypeError);
  }
  await assert.rejects(node.store.history({ from: 1.5 }), TypeError);
  for (const version of [0, -5, 32, 1e15]) {
    await assert.rejects(node.store.at(version), { code: "limit" });
    await assert.rejects(node.store.restore(version), { code: "limit" });
  }
  assert.equal((await headOf(kv, "P")).version, 31);
});

Deno.test("StaticStore.diff() is the patch between any two versions, and no longer than what differs", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv, {
    store: { history: { versions: 20 } },
  });
  await growQuietly(node, 30);
  await node.store.set({ n: -1, pad: "new", items: [{ id: 1 }] });
  node.truth.set(32, node.loaded("P").state);
  const oldest = await checkPast(kv, node.truth);
  for (let a = oldest; a <= 32; a += 3) {
    for (let b = oldest; b <= 32; b += 2) {
      const patch = await node.store.diff(a, b);
      const made = applyJsonPatch(node.truth.get(a)!, patch);
      assert.deepEqual(made, node.truth.get(b), `${a} to ${b}`);
    }
  }
  assert.deepEqual(await node.store.diff(30, 30), []);
  const next = await node.store.diff(30, 31);
  assert.deepEqual(next.map(({ op, path }) => `${op} ${path}`), [
    "replace /n",
    "replace /pad",
    "add /items/0",
    "remove /items/5",
  ]);
});

Deno.test("A hole in the log is an error for the versions behind it, a lost snapshot for those that need it", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await growQuietly(node, 20);
  const { epoch, older = [], snapshot } = await headOf(kv, "P");
  assert.ok(older.length >= 2);
  const [first, second] = older;
  await remove(kv, chunkKey(ID, epoch, first!.id, 0));
  await remove(kv, logKey(ID, epoch, snapshot!.version - 1));
  const isLost = { code: "store_unreadable" };
  for (let version = 1; version <= 21; version++) {
    const isBad = version >= first!.version && version < second!.version ||
      version === snapshot!.version - 1;
    if (isBad) await assert.rejects(node.store.at(version), isLost);
    else {
      const { n } = await node.store.at(version);
      assert.equal(n, version - 1);
    }
  }
  await assert.rejects(node.store.history({ from: 1 }), isLost);
  await assert.rejects(node.store.history(), isLost);
  await assert.rejects(node.store.restore(first!.version), isLost);
});

Deno.test("StaticStore.at() says so where the KV fails", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await grow(node);
  node.kv.outage = new Error("connection reset");
  const failure = { code: "unavailable", message: /connection reset/ };
  await assert.rejects(node.store.at(1), failure);
  await assert.rejects(node.store.history(), failure);
  await assert.rejects(node.store.restore(1), failure);
  node.kv.outage = undefined;
  assert.equal((await node.store.at(2)).n, 1);
});

Deno.test("StaticStore.at() of 1 MB with 1,000 versions on top takes one replay", async () => {
  using kv = await memoryKv();
  await using node = new TestNode(kv, {});
  const rows = Array.from({ length: 10_000 }, () => ({
    text: "t".repeat(80),
    n: 0,
  }));
  const store = node.store("P", { rows }, { history: { versions: 5_000 } });
  await node.open();
  await store.init();
  for (let i = 0; i < 10; i++) {
    await Promise.all(
      Array.from({ length: 100 }, (_, j) =>
        store.update((draft) => {
          draft.rows[i * 100 + j]!.n = i * 100 + j + 1;
        })),
    );
  }
  await until(() => node.loaded("P").isIdle);
  const { version, snapshot } = await headOf(kv, "P");
  assert.equal(version, 1_001);
  assert.equal(snapshot?.version, 1);
  const readsOfChunks = () => node.kv.reads.filter(readOf("blob")).length;
  const before = readsOfChunks();
  const began = performance.now();
  const state = await store.at(1_000);
  const tookMs = performance.now() - began;
  assert.equal(readsOfChunks(), before + 1);
  assert.equal(state.rows[998]?.n, 999);
  assert.equal(state.rows[999]?.n, 0);
  assert.ok(tookMs < 1_000, `${tookMs} ms`);
});

Deno.test("StaticStore.restore() is one new version whose state is that of the old one, sent as what differs", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await using other = await openPage(kv, {}, node.truth);
  for (let i = 0; i < 8; i++) await grow(node, 5_000);
  await node.store.update((draft) => void draft.items.push({ id: 77 }));
  await other.store.get();
  const replica = new Replica(other.loaded("P"));
  const { epoch } = await headOf(kv, "P");
  const written = await node.store.restore(9);
  assert.deepEqual(written, { version: 11, value: undefined });
  assert.deepEqual(node.store.peek(), node.truth.get(9));
  assert.deepEqual(await node.store.at(11), node.truth.get(9));
  assert.equal((await headOf(kv, "P")).epoch, epoch);
  const { entries: [entry] } = await node.store.history({ limit: 1 });
  assert.deepEqual(entry?.patch, [{ op: "remove", path: "/items/5" }]);
  assert.equal(entry.author, undefined);
  await until(() => replica.position?.version === 11);
  assert.deepEqual(replica.seen, ["patch 10-11"]);
  assert.deepEqual(replica.state, node.truth.get(9));
  // Every version, on top of one another.
  for (let version = 1; version <= 11; version++) {
    await node.store.restore(version);
    assert.deepEqual(node.store.peek(), await node.store.at(version));
    assert.deepEqual(
      await readStates(kv, ID, [
        (await headOf(kv, "P")).version,
      ]),
      [node.loaded("P").state],
    );
  }
});

Deno.test("StaticStore.restore() of what the state is already makes no version", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  await grow(node);
  assert.deepEqual(await node.store.restore(2), {
    version: 2,
    value: undefined,
  });
  assert.equal((await headOf(kv, "P")).version, 2);
});

Deno.test("StaticStore.restore() stands on what others wrote meanwhile", async () => {
  using kv = await memoryKv();
  await using a = await openPage(kv, { sync: false });
  await using b = await openPage(kv, { sync: false }, a.truth);
  for (let i = 0; i < 4; i++) await grow(a, 100);
  await b.store.get();
  for (let i = 0; i < 3; i++) await grow(a, 100);
  // B has not heard of them.
  const { version } = await b.store.restore(3);
  assert.equal(version, 9);
  assert.deepEqual(b.store.peek(), a.truth.get(3));
  assert.deepEqual(await readStates(kv, ID, [9]), [a.truth.get(3)]);
});

Deno.test("StaticStore.restore() of a store that is deleted meanwhile does not bring its old life back", async () => {
  using kv = await memoryKv();
  await using a = await openPage(kv, { sync: false });
  await using b = await openPage(kv, { sync: false }, a.truth);
  for (let i = 0; i < 5; i++) await grow(a, 100);
  await b.store.get();
  const commits = b.kv.commits.length;
  b.kv.onCommit(async (run) => {
    await a.store.delete();
    await grow(a, 100);
    return await run();
  }, { match: writes("log") });
  await assert.rejects(b.store.restore(4), {
    code: "limit",
    data: { version: 4, oldest: 1, newest: 2 },
  });
  assert.ok(b.kv.commits.length > commits);
  assert.equal((await headOf(kv, "P")).version, 2);
});

Deno.test("StaticStore.restore() in a call that runs again applies once, also where the version is gone by then", async () => {
  using kv = await memoryKv();
  const options = { store: { history: { versions: 3 } } };
  await using a = await openPage(kv, options);
  for (let i = 0; i < 5; i++) await grow(a, 100);
  const call = { call: 1 };
  const first = await a.call(call, () => a.store.restore(3));
  assert.equal(first.version, 7);
  const { entries: [entry] } = await a.store.history({ from: 7 });
  assert.equal(entry?.author, "client");
  // At once, on this server and on another one.
  await using b = await openPage(kv, options, a.truth);
  assert.deepEqual(await b.call(call, () => b.store.restore(3)), first);
  await growQuietly(a, 20);
  assert.ok((await headOf(kv, "P")).floor > 3);
  await assert.rejects(a.store.restore(3), { code: "limit" });
  const { n } = await a.store.get();
  for (const node of [a, b]) {
    assert.deepEqual(await node.call(call, () => node.store.restore(3)), first);
  }
  assert.equal((await a.store.get()).n, n);
});

Deno.test("StaticStore.restore() in a call that was refused is refused again, and history() shows it", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  for (let i = 0; i < 3; i++) await grow(node, 100);
  const call = { call: 1 };
  const refused = {
    code: "limit",
    message:
      'Cannot read version 6 of store "P": the oldest version that is kept is 1, the newest 4',
  };
  await assert.rejects(node.call(call, () => node.store.restore(6)), refused);
  for (let i = 0; i < 3; i++) await grow(node, 100);
  // By now there is such a version.
  await assert.rejects(node.call(call, () => node.store.restore(6)), refused);
  assert.equal((await node.store.get()).n, 6);
  const { entries } = await node.store.history({ from: 5, limit: 1 });
  assert.deepEqual(
    entries.map(({ timeMs: _, ...entry }) => entry),
    [{ version: 5, patch: [], refused }],
  );
});

Deno.test("StaticStore.restore() in a call numbers itself at once, before what is written while it reads", async () => {
  using kv = await memoryKv();
  await using node = await openPage(kv);
  for (let i = 0; i < 3; i++) await grow(node, 100);
  const run = (call: number) =>
    node.call({ call }, async () => {
      const restored = node.store.restore(2);
      const updated = node.store.update((draft) => {
        draft.pad = "u";
        return "updated";
      });
      return [await restored, await updated];
    });
  const first = await run(1);
  const { version } = await headOf(kv, "P");
  // The restoration reads first, so that the update is committed before it.
  const range = { from: version - 1, limit: 2 };
  const past = await readMutations(kv, ID, range);
  assert.deepEqual(past?.mutations.map(({ origin }) => origin?.n), [1, 0]);
  assert.deepEqual(await run(1), first);
  assert.equal((await headOf(kv, "P")).version, version);
});

Deno.test("StaticStore.restore() does not go back to a state of a shape that was migrated since", async () => {
  using kv = await memoryKv();
  const truth = new Map<number, Json>();
  {
    await using node = await openPage(kv, {}, truth);
    for (let i = 0; i < 3; i++) await grow(node, 100);
  }
  const store: StoreOptions = {
    version: 2,
    migrate: (state) => ({ ...state as object, shape: 2 }),
  };
  await using node = await openPage(kv, { store }, truth);
  for (let i = 0; i < 3; i++) await grow(node, 100);
  assert.deepEqual(await node.store.at(4), truth.get(4));
  const call = { call: 1 };
  const refused = {
    code: "refused",
    message:
      'Cannot restore version 4 of store "P": it was migrated since, in version 5',
  };
  await assert.rejects(node.store.restore(4), refused);
  await assert.rejects(node.call(call, () => node.store.restore(4)), refused);
  await node.store.restore(6);
  assert.deepEqual(node.store.peek(), truth.get(6));
});

Deno.test("DynamicStore takes the key first", async () => {
  using kv = await memoryKv();
  const node = new TestNode(kv, {});
  await using _ = node;
  const rooms = node.dynamic<{ said: string[] }>("Room:*", { said: [] });
  await node.open();
  await rooms.update("1", (draft) => void draft.said.push("one"));
  await rooms.update("1", (draft) => void draft.said.push("two"));
  await rooms.update("2", (draft) => void draft.said.push("other"));
  assert.deepEqual(await rooms.at("1", 2), { said: ["one"] });
  assert.deepEqual(await rooms.diff("1", 3, 2), [
    { op: "remove", path: "/said/1" },
  ]);
  assert.deepEqual((await rooms.history("2")).newest, 2);
  assert.deepEqual((await rooms.history("1", { from: 3 })).entries.length, 1);
  assert.equal((await rooms.restore("1", 1)).version, 4);
  assert.deepEqual(await rooms.get("1"), { said: [] });
  await assert.rejects(rooms.restore("3", 1), { code: "store_missing" });
  assert.equal(await rooms.has("3"), false);
});

Deno.test("shareEqual() is the same value, and what equals the other is the other's", () => {
  fc.assert(
    fc.property(anyJson(), anyJson(), (before, after) => {
      const shared = shareEqual(before, after);
      assert.deepEqual(shared, after);
      const patch = diffStates(before, shared);
      assert.deepEqual(applyPatch(before, patch), after);
      assert.equal(shareEqual(before, structuredClone(before)), before);
    }),
  );
  const list = Array.from({ length: 100 }, (_, id) => ({ id, tags: ["a"] }));
  const clone = structuredClone(list);
  clone.splice(30, 2);
  clone.splice(60, 0, { id: 1_000, tags: [] }, clone[10]!);
  clone[90]!.tags.push("b");
  const patch = diffStates(list, shareEqual(list, clone));
  assert.deepEqual(applyPatch(list, patch), clone);
  assert.ok(patch.length <= 6, JSON.stringify(patch));
});

/** Nothing is in the KV that the head and its log do not lead to. */
async function assertClean(kv: Kv, at: string): Promise<void> {
  const head = await headOf(kv, "P");
  const blobs = new Set(snapshotsOf(head).map(({ id }) => id));
  const found = new Set<string>();
  for (const { key } of await entriesOf(kv, ["hw", "blob"])) {
    if (/^v\d+$/.test(String(key[5]))) continue; // a large entry
    found.add(String(key[5]));
  }
  assert.deepEqual([...found].sort(), [...blobs].sort(), at);
  assert.deepEqual(await entriesOf(kv, ["hw", "pending"]), [], at);
  for (const { key } of await entriesOf(kv, ["hw", "log"])) {
    assert.ok(Number(key[5]) > head.floor, `${at}: entry ${String(key[5])}`);
  }
}

Deno.test("decodeEntry() reads what was written before entries named users, and writes it as before", () => {
  const entry: LogEntry = {
    from: 1,
    previous: "p",
    writer: "w",
    timeMs: 2,
    bytesBefore: 3,
    mutations: [{ patch: [], author: "c1" }],
  };
  const old = [0x86, 0xa1, 0x66, 0x01, 0xa1, 0x71, 0xa1, 0x70, 0xa1, 0x77, 0xa1]
    .concat([0x77, 0xa1, 0x74, 0x02, 0xa1, 0x62, 0x03, 0xa1, 0x6d, 0x91, 0x82])
    .concat([0xa1, 0x70, 0x90, 0xa1, 0x61, 0xa2, 0x63, 0x31]);
  assert.deepEqual([...encodeEntry(entry)], old);
  assert.deepEqual(decodeEntry(new Uint8Array(old)), entry);
  const named = { ...entry, mutations: [{ patch: [], userId: "u1" }] };
  assert.deepEqual(decodeEntry(encodeEntry(named)), named);
});
