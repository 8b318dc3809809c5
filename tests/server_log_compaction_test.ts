import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { Sweeper } from "../server/log/blobs.ts";
import { PatientKv } from "../server/log/patient_kv.ts";
import {
  blobPrefix,
  chunkKey,
  headKey,
  logKey,
  logPrefix,
} from "../server/log/keys.ts";
import { decodeBlobRef } from "../server/log/blob_ref.ts";
import {
  decodeHead,
  encodeHead,
  type Head,
  snapshotsOf,
} from "../server/log/head.ts";
import {
  encodeEntry,
  entryVersion,
  type LogEntry,
} from "../server/log/log_entry.ts";
import { readStore } from "../server/log/reader.ts";
import type { Kv, KvKey } from "../server/ports.ts";
import type { StoreOptions } from "../server/stores/store_options.ts";
import type { StaticStore } from "../server/stores/static_store.ts";
import { FakeClock } from "./_fake_clock.ts";
import { until, within } from "./_harness.ts";
import {
  type Commit,
  FaultyKv,
  Gate,
  keyOf,
  locked,
  valueBytes,
  waitsAfter,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  entriesOf,
  headOf,
  idOf,
  keysOf,
  logVersions,
  memoryKv,
  type NodeOptions,
  Replica,
  TestNode,
} from "./_store_harness.ts";

interface Padded {
  n: number;
  pad: string;
}

const ID = idOf("P");
/** Six of them are a log that is worth a snapshot. */
const PAD = 12_000;

type PaddedNode = TestNode & { store: StaticStore<Padded> };

async function openPadded(
  kv: Kv,
  options: NodeOptions & { store?: StoreOptions } = {},
): Promise<PaddedNode> {
  const node = new TestNode(kv, options);
  const store = node.store<Padded>("P", { n: 0, pad: "" }, options.store);
  return Object.assign(await node.open(), { store });
}

/** One more version, of so many bytes. */
function grow({ store }: PaddedNode, bytes = PAD) {
  return store.update((draft) => {
    draft.n++;
    draft.pad = `${draft.n} `.padEnd(bytes, "x");
  });
}

/** Lets compactions end. */
async function quiet(node: PaddedNode): Promise<void> {
  // A server that has crashed in between is never idle again.
  await until(() => node.kv.isDead || node.loaded("P").isIdle);
}

/** As many versions more, each when the compaction before it has ended. */
async function growQuietly(node: PaddedNode, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await grow(node);
    await quiet(node);
  }
}

async function fresh(kv: Kv): Promise<Padded> {
  const read = await readStore(kv, ID);
  const state: unknown = read?.state;
  return state as Padded; // written by the tests
}

Deno.test("Compactor: chunks, then the flip, then the floor, then the deletes", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv, {
    store: { history: { versions: 2 } },
  });
  await growQuietly(node, 16);
  let last: Head | undefined;
  const steps = node.kv.commits.flatMap((commit) => {
    const steps: string[] = [];
    if (writes("blob")(commit)) {
      steps.push(commit.deletes.length > 0 ? "sweep" : "chunks");
    }
    for (const { key, value } of commit.sets) {
      if (key[1] !== "head") continue;
      const head = decodeHead(value);
      if (head.snapshot?.id !== last?.snapshot?.id) steps.push("flip");
      if (last && head.floor > last.floor) steps.push("floor");
      last = head;
    }
    if (commit.deletes.some(keyOf("log"))) steps.push("delete");
    return steps;
  });
  const once = ["chunks", "flip", "floor", "delete"];
  const again = ["chunks", "flip", "floor", "delete", "sweep"];
  assert.deepEqual(steps, [...once, ...again]);
  const { floor, snapshot, version } = await headOf(kv, "P");
  assert.ok(floor > 0 && floor <= snapshot!.version && floor <= version - 2);
  assert.equal((await logVersions(kv, "P"))[0], floor + 1);
  assert.equal((await fresh(kv)).n, 16);
});

Deno.test("Compactor: a crash at any step leaves a store that loads, and nothing for ever", async () => {
  let crashes = 0;
  for (const when of ["before", "after"]) {
    for (let step = 0;; step++) {
      using kv = await memoryKv();
      // Never closed: it has crashed. Its clock stands still, so it holds no timer.
      const node = await openPadded(kv, {
        clock: new FakeClock(),
        sync: false,
        store: { history: { versions: 2 } },
      });
      const crash = Promise.withResolvers<string>();
      node.kv.onCommit(async (run) => {
        const result = when === "after" ? await run() : undefined;
        node.kv.isDead = true;
        crash.resolve("crash");
        return result ?? { ok: false };
      }, { match: (commit) => node.kv.commits.indexOf(commit) === step });
      let acknowledged = 0;
      const work = async () => {
        for (let i = 0; i < 14; i++) {
          await grow(node, i === 4 ? 70_000 : PAD);
          acknowledged++;
          await until(() => node.kv.isDead || node.loaded("P").isIdle);
          if (node.kv.isDead) return "crash";
        }
        return "done";
      };
      const end = await Promise.race([work(), crash.promise]);
      if (end === "done") break;
      crashes++;
      // What was on its way when it died.
      await until(() => FaultyKv.busy === 0);
      const at = `${when} commit ${step}`;
      const state = await fresh(kv);
      if (state) {
        assert.ok(
          state.n === acknowledged || state.n === acknowledged + 1,
          `${at}: ${state.n} of ${acknowledged}`,
        );
      } else {
        assert.equal(acknowledged, 0, at);
      }
      // Another server takes over.
      await using next = await openPadded(kv, {
        sync: false,
        store: { history: { versions: 2 } },
      });
      for (let i = 0; i < 8; i++) await grow(next);
      await quiet(next);
      assert.equal((await fresh(kv)).n, (state?.n ?? 0) + 8, at);
      await new Sweeper(kv, () => 0, 0).sweep();
      await assertClean(kv, at);
      assert.equal((await fresh(kv)).n, (state?.n ?? 0) + 8, at);
    }
  }
  assert.ok(crashes > 30, `only ${crashes} crashes`);
});

Deno.test("readStore() starts over when a compaction overtakes it, at whatever moment", async () => {
  let moments = 0;
  for (const what of ["read", "entry"]) {
    for (let at = 0;; at++) {
      using kv = await memoryKv();
      await using writer = await openPadded(kv, {
        store: { history: { versions: 0 } },
      });
      for (let i = 0; i < 9; i++) await grow(writer, i === 7 ? 100_000 : PAD);
      await quiet(writer);
      // One at a time, or an entry would start no compaction while one is under way. The
      // snapshot has chunks; the log after it is too short for another, and has chunks, too.
      for (const bytes of [100_000, 90_000, 500]) {
        await grow(writer, bytes);
        await quiet(writer);
      }
      const { n } = await fresh(kv);
      let wasRun = false;
      const compact = async () => {
        wasRun = true;
        for (let i = 0; i < 9; i++) await grow(writer, i === 7 ? 100_000 : PAD);
        await quiet(writer);
      };
      const faulty = new FaultyKv(kv);
      let count = 0;
      const match = () => count++ === at;
      if (what === "read") faulty.beforeRead(compact, { match });
      else faulty.beforeEntry(compact, { match });
      const read = await readStore(faulty, ID);
      if (!wasRun) break;
      moments++;
      const state: unknown = read?.state;
      const got = (state as Padded).n; // as fresh()
      assert.ok(got >= n && got <= n + 9, `${what} ${at}: ${got}`);
      assert.equal(read?.head.version, got + 1);
    }
  }
  assert.equal(moments, 10);
});

Deno.test("Store.check() jumps ahead when a compaction overtakes it, at whatever moment", async () => {
  let moments = 0;
  for (let at = 0;; at++) {
    using kv = await memoryKv();
    await using writer = await openPadded(kv, {
      sync: false,
      store: { history: { versions: 0 } },
    });
    await grow(writer);
    await using reader = await openPadded(kv, { sync: false });
    await reader.store.get();
    const replica = new Replica(reader.loaded("P"));
    for (let i = 0; i < 3; i++) await grow(writer);
    let wasRun = false;
    let count = 0;
    reader.kv.beforeRead(async () => {
      wasRun = true;
      for (let i = 0; i < 9; i++) await grow(writer);
      await quiet(writer);
    }, { match: ({ key }) => isOfStore(key) && count++ === at });
    await reader.loaded("P").check();
    if (!wasRun) break;
    moments++;
    await reader.loaded("P").check();
    assert.equal(reader.store.peek()?.n, 13);
    assert.deepEqual(replica.state, reader.store.peek());
  }
  assert.ok(moments >= 2, `only ${moments} moments`);
});

Deno.test("Store: a hole in the log above the floor is an error, never an empty or an older store", async () => {
  for (const victim of [1, 3, 6]) {
    using kv = await memoryKv();
    {
      await using node = await openPadded(kv);
      for (let i = 0; i < 5; i++) await grow(node, 100);
    }
    const { epoch } = await headOf(kv, "P");
    await remove(kv, logKey(ID, epoch, victim));
    await using node = await openPadded(kv);
    await assert.rejects(node.store.get(), { code: "store_unreadable" });
    await assert.rejects(grow(node), { code: "store_unreadable" });
    await assert.rejects(node.answer("P"), { code: "store_unreadable" });
    assert.equal(await node.store.has(), true);
    assert.equal((await headOf(kv, "P")).version, 6);
  }
});

Deno.test("Store: bytes that cannot be what they should be are an error, whatever they are", async () => {
  const garbage = new Uint8Array([0xc1, 0xff, 0x00, 0x80]);
  const entry: LogEntry = {
    from: 2,
    previous: "?",
    writer: "?",
    timeMs: 0,
    bytesBefore: 0,
    mutations: [{ patch: [{ op: "remove", path: ["nothing", "here"] }] }],
  };
  const cases: [string, (kv: Kv, epoch: string) => Promise<unknown>][] = [
    ["head", (kv) => put(kv, headKey(ID), garbage)],
    ["head, half", async (kv) => {
      const bytes = encodeHead(await headOf(kv, "P"));
      return await put(kv, headKey(ID), bytes.subarray(0, bytes.length / 2));
    }],
    ["head, another type", (kv) => put(kv, headKey(ID), "text")],
    ["entry", (kv, epoch) => put(kv, logKey(ID, epoch, 3), garbage)],
    [
      "entry, empty",
      (kv, epoch) => put(kv, logKey(ID, epoch, 3), new Uint8Array()),
    ],
    [
      "entry that does not apply",
      (kv, epoch) => put(kv, logKey(ID, epoch, 3), encodeEntry(entry)),
    ],
    ["entry of another version", async (kv, epoch) => {
      const { value } = await kv.get(logKey(ID, epoch, 2));
      return await put(kv, logKey(ID, epoch, 3), value);
    }],
    [
      "chunk of an entry",
      (kv, epoch) =>
        put(kv, chunkKey(ID, epoch, "v5", 0), new Uint8Array(61_440)),
    ],
    [
      "chunk of an entry, gone",
      (kv, epoch) => remove(kv, chunkKey(ID, epoch, "v5", 1)),
    ],
  ];
  for (const [what, damage] of cases) {
    using kv = await memoryKv();
    {
      await using node = await openPadded(kv, {
        store: { history: { versions: 1_000 } },
      });
      for (let i = 0; i < 4; i++) await grow(node, i === 3 ? 100_000 : 100);
      await quiet(node);
      assert.equal((await headOf(kv, "P")).version, 5);
      await dropSnapshot(kv);
    }
    const { epoch } = await headOf(kv, "P");
    assert.equal((await fresh(kv)).n, 4);
    await damage(kv, epoch);
    await using node = await openPadded(kv);
    await assert.rejects(
      node.store.get(),
      { code: "store_unreadable" },
      what,
    );
    await assert.rejects(grow(node), { code: "store_unreadable" }, what);
  }
});

Deno.test("Store: a snapshot that is damaged or has lost a chunk is an error", async () => {
  for (const what of ["gone", "garbled", "short", "long"]) {
    using kv = await memoryKv();
    {
      await using node = await openPadded(kv);
      await grow(node, 150_000);
      await quiet(node);
    }
    const { epoch, snapshot } = await headOf(kv, "P");
    const chunk = chunkKey(ID, epoch, snapshot!.id, 0);
    const bytes = (await kv.get(chunk)).value;
    assert.ok(bytes instanceof Uint8Array);
    if (what === "gone") await remove(kv, chunk);
    if (what === "garbled") await put(kv, chunk, bytes.map((byte) => ~byte));
    if (what === "short") await put(kv, chunk, bytes.subarray(1));
    if (what === "long") {
      await put(kv, chunk, new Uint8Array([...bytes, 1]));
    }
    await using node = await openPadded(kv);
    await assert.rejects(node.store.get(), { code: "store_unreadable" }, what);
  }
});

Deno.test("Store: subscribers of a loaded store are told that it cannot be read any more", async () => {
  using kv = await memoryKv();
  await using writer = await openPadded(kv, { sync: false });
  await using reader = await openPadded(kv);
  await grow(writer, 100);
  await reader.store.get();
  const replica = new Replica(reader.loaded("P"));
  await grow(writer, 100);
  const { epoch } = await headOf(kv, "P");
  await remove(kv, logKey(ID, epoch, 3));
  await reader.loaded("P").check().catch(() => {});
  assert.deepEqual(replica.seen, ["ended: store_unreadable"]);
  assert.deepEqual(replica.state, { n: 1, pad: "1 ".padEnd(100, "x") });
  await assert.rejects(grow(reader), { code: "store_unreadable" });
});

Deno.test("Compactor: history is kept by count", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv, {
    store: { history: { versions: 10 } },
  });
  await growQuietly(node, 40);
  const { floor, snapshot, version } = await headOf(kv, "P");
  assert.ok(floor <= snapshot!.version);
  // What a compaction finds is trimmed to the setting; the rest came since.
  assert.ok(version - floor >= 10 && version - floor <= 20, `${floor}`);
  assert.equal((await logVersions(kv, "P"))[0], floor + 1);
});

Deno.test("Compactor: history is kept by bytes", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv, {
    store: { history: { bytes: 100_000 } },
  });
  await growQuietly(node, 40);
  let kept = 0;
  for (const { value } of await entriesOf(kv, ["hw", "log"])) {
    kept += (value as Uint8Array).byteLength;
  }
  assert.ok(kept >= 80_000 && kept <= 200_000, `${kept} bytes`);
  const { floor, snapshot } = await headOf(kv, "P");
  assert.ok(floor > 0 && floor <= snapshot!.version);
});

Deno.test("Compactor: history is kept by age", async () => {
  using kv = await memoryKv();
  const clock = new FakeClock();
  await using node = await openPadded(kv, {
    clock,
    store: { history: { ageMs: 60_000 } },
  });
  await growQuietly(node, 10);
  assert.equal((await headOf(kv, "P")).floor, 0);
  clock.jump(60_001);
  await growQuietly(node, 10);
  // The newest snapshot that is too old; what came after it begins with its state.
  assert.equal((await headOf(kv, "P")).floor, 7);
  assert.deepEqual(
    await logVersions(kv, "P"),
    [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21],
  );
});

Deno.test("Compactor: the floor is never above the snapshot, even where no history is kept", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv, {
    store: { history: { versions: 0, ageMs: 0, bytes: 0 } },
  });
  for (let i = 0; i < 20; i++) {
    await grow(node);
    const { floor, snapshot } = await headOf(kv, "P");
    assert.ok(floor <= (snapshot?.version ?? 0), `floor ${floor}`);
    assert.equal((await fresh(kv)).n, i + 1);
  }
});

Deno.test("Compactor: what is written for snapshots stays in proportion to what is written", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv);
  // A large state that changes little at a time.
  await grow(node, 1_500_000);
  await quiet(node);
  const before = node.kv.commits.length;
  const large = node.kv.commits.slice(0, before);
  assert.ok(bytesTo(large, "blob") < 3 * 1_600_000);
  for (let i = 0; i < 600; i++) {
    await node.store.update((draft) => {
      draft.n++;
      // The entry is 2 KB, the state stays as it is.
      (draft as { note?: string }).note = `${i} `.padEnd(2_000, "y");
    });
  }
  await quiet(node);
  const commits = node.kv.commits.slice(before);
  const log = commits.filter(writes("log")).reduce(
    (sum, commit) => sum + valueBytes(commit),
    0,
  );
  const chunks = bytesTo(commits, "blob");
  assert.ok(chunks <= 1.5 * log, `${chunks} bytes of snapshots, ${log} of log`);
});

Deno.test("Compactor: a small store is loaded from a short log", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv);
  for (let i = 0; i < 300; i++) await grow(node, 2_000);
  await quiet(node);
  const read = await readStore(kv, ID);
  assert.ok(read);
  let replayed = 0;
  for (const entry of read.replayed) {
    replayed += encodeEntry(entry).byteLength;
  }
  assert.ok(replayed <= 2 * 64 * 1024, `${replayed} bytes`);
  assert.equal(entryVersion(read.replayed.at(-1)!), 301);
});

Deno.test("Compactor: an older snapshot never takes the place of a newer one of another server", async () => {
  using kv = await memoryKv();
  const history = { versions: 0 };
  await using a = await openPadded(kv, { store: { history } });
  await using b = await openPadded(kv, { store: { history } });
  await b.store.init();
  // A is slow: its snapshot is written, but not yet reachable.
  const gate = new Gate();
  a.kv.onCommit(waitsAfter(gate), { match: writes("blob") });
  for (let i = 0; i < 6; i++) await grow(a);
  await gate.reached;
  for (let i = 0; i < 14; i++) await grow(b);
  await quiet(b);
  const { snapshot, floor } = await headOf(kv, "P");
  // A's is of version 7, and its log is gone by now.
  assert.ok(floor > 7);
  gate.open();
  await quiet(a);
  assert.equal((await headOf(kv, "P")).snapshot?.version, snapshot?.version);
  assert.equal((await fresh(kv)).n, 20);
  await grow(a);
  assert.equal((await fresh(kv)).n, 21);
});

Deno.test("Compactor: a floor that another server raised further is not raised for ever", async () => {
  using kv = await memoryKv();
  const history = { versions: 0 };
  await using a = await openPadded(kv, { store: { history } });
  await using b = await openPadded(kv, { store: { history } });
  await b.store.init();
  const gate = new Gate();
  // A knows how far the floor may rise, and is slow.
  a.kv.onCommit(waitsBefore(gate), {
    match: ({ sets }) =>
      sets.some(({ key, value }) =>
        key[1] === "head" && decodeHead(value).floor > 0
      ),
  });
  for (let i = 0; i < 6; i++) await grow(a);
  await gate.reached;
  for (let i = 0; i < 14; i++) await grow(b);
  await quiet(b);
  const before = await headOf(kv, "P");
  gate.open();
  await within(quiet(a), { describe: () => "it commits for ever" });
  assert.ok((await headOf(kv, "P")).floor >= before.floor);
  await grow(a);
  assert.equal((await fresh(kv)).n, 21);
});

Deno.test("Compactor: a store that was deleted while its snapshot was written is not disturbed by it", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv);
  const gate = new Gate();
  node.kv.onCommit(waitsAfter(gate), { match: writes("blob") });
  for (let i = 0; i < 6; i++) await grow(node);
  await gate.reached;
  await node.store.delete();
  await grow(node);
  gate.open();
  await grow(node);
  await quiet(node);
  assert.equal((await fresh(kv)).n, 2);
  await new Sweeper(kv, () => 0, 0).sweep();
  await assertClean(kv, "after the sweep");
});

Deno.test("Compactor: a snapshot that cannot be written harms nothing", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv);
  node.kv.onCommit(() => Promise.reject(new Error("disk full")), {
    match: writes("blob"),
    times: 2,
  });
  for (let i = 0; i < 20; i++) await grow(node);
  await quiet(node);
  assert.ok((await headOf(kv, "P")).snapshot);
  assert.equal((await fresh(kv)).n, 20);
});

Deno.test("PatientKv: a range goes on where it was when the database was locked in the middle", async () => {
  using kv = await memoryKv();
  await using node = await openPadded(kv);
  for (let i = 0; i < 30; i++) await grow(node, 100);
  const faulty = new FaultyKv(kv);
  const waiting = denoPorts();
  const patient = new PatientKv(faulty, waiting, 5_000);
  for (const at of [1, 7, 8, 30]) {
    faulty.beforeEntry(() => {
      throw locked();
    }, { match: (key) => key[1] === "log" && key[5] === at });
  }
  const read = await readStore(patient, ID);
  assert.equal(read?.head.version, 31);
  assert.equal(read.replayed.length, 31);
  const { epoch } = read.head;
  const prefix = logPrefix(ID, epoch);
  faulty.beforeEntry(() => {
    throw locked();
  }, { match: (key) => key[5] === 9 });
  const versions: number[] = [];
  for await (const { key } of patient.list({ prefix }, { limit: 12 })) {
    versions.push(Number(key[5]));
  }
  assert.deepEqual(versions, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  faulty.beforeEntry(() => {
    throw new Error("connection reset");
  }, { match: (key) => key[5] === 9 });
  await assert.rejects(readStore(patient, ID), /connection reset/);
});

/** Nothing is in the KV that the head and its log do not lead to. */
async function assertClean(kv: Kv, at: string): Promise<void> {
  const head = await headOf(kv, "P");
  const { epoch, floor } = head;
  const blobs = new Set(snapshotsOf(head).map(({ id }) => id));
  for (const { key, value } of await entriesOf(kv, ["hw", "log"])) {
    assert.equal(key[4], epoch, `${at}: log of a life that has ended`);
    assert.ok(Number(key[5]) > floor, `${at}: entry ${String(key[5])}`);
    const blob = decodeBlobRef(value);
    if (blob) blobs.add(blob.id);
  }
  const found = new Set<string>();
  for (const { key } of await entriesOf(kv, ["hw", "blob"])) {
    assert.equal(key[4], epoch, `${at}: chunk of a life that has ended`);
    found.add(String(key[5]));
  }
  assert.deepEqual([...found].sort(), [...blobs].sort(), at);
  assert.deepEqual(await keysOf(kv, "pending"), [], at);
}

/** Makes the log alone hold the state. */
async function dropSnapshot(kv: Kv): Promise<void> {
  const { snapshot, older = [], ...head } = await headOf(kv, "P");
  if (!snapshot) return;
  await put(kv, headKey(ID), encodeHead(head));
  for (const { id } of [...older, snapshot]) {
    const chunks = await entriesOf(kv, blobPrefix(ID, head.epoch, id));
    for (const { key } of chunks) await remove(kv, key);
  }
}

async function put(kv: Kv, key: KvKey, value: unknown): Promise<void> {
  await kv.atomic().set(key, value).commit();
}

async function remove(kv: Kv, key: KvKey): Promise<void> {
  await kv.atomic().delete(key).commit();
}

function bytesTo(commits: readonly Commit[], kind: string): number {
  return commits.filter(writes(kind)).reduce(
    (sum, commit) => sum + valueBytes(commit),
    0,
  );
}

/** What a store reads of itself; a server also sweeps, whenever it comes to that. */
function isOfStore(key: KvKey): boolean {
  return ["head", "log", "blob"].includes(String(key[1]));
}
