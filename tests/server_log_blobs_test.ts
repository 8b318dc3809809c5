import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { CHUNK_BYTES, Sweeper, writeBlob } from "../server/log/blobs.ts";
import type { Kv } from "../server/ports.ts";
import { until, within } from "./_harness.ts";
import {
  type Commit,
  FaultyKv,
  Gate,
  keyOf,
  readOf,
  touches,
  valueBytes,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";
import {
  entriesOf,
  freshState,
  headOf,
  idOf,
  jsonOf,
  keysOf,
  memoryKv,
  openNode,
} from "./_store_harness.ts";

interface Pages {
  pages: Record<string, string>;
}

const { random } = denoPorts();
const MB = 1024 * 1024;

/** Text of that many bytes that is like no other. */
function text(length: number, seed: number): string {
  const parts: string[] = [];
  for (let i = 0; i * 16 < length; i++) {
    parts.push(`${seed} ${i}`.padEnd(16, "·-"[seed % 2]!.charAt(0)));
  }
  return parts.join("").slice(0, length);
}

function sweeper(kv: Kv): Sweeper {
  return new Sweeper(kv, () => 0, 0);
}

Deno.test("Store: a value over 64 KiB lies in chunks, and comes back from a fresh load", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  for (const size of [100, 70_000, 500_000, 699_000, 760_000]) {
    await store.update((draft) => {
      draft.pages[size] = text(size, size);
    });
  }
  const entries = await entriesOf(kv);
  for (const { key, value } of entries) {
    if (value instanceof Uint8Array) {
      assert.ok(value.byteLength <= CHUNK_BYTES, String(key));
    }
  }
  assert.ok((await keysOf(kv, "blob")).length > 20);
  const pages: Pages["pages"] = {};
  for (const size of [100, 70_000, 500_000, 699_000, 760_000]) {
    pages[size] = text(size, size);
  }
  assert.deepEqual(await freshState(kv, "S"), { pages });
});

Deno.test("Store: a patch of 5 MB and a state of 20 MB work, and come back from a fresh load", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  const pages: Pages["pages"] = {};
  for (let i = 0; i < 4; i++) {
    pages[i] = text(5 * MB, i);
    await store.update((draft) => {
      draft.pages[i] = pages[i]!;
    });
  }
  assert.deepEqual(await freshState(kv, "S"), { pages });
  await until(async () => (await headOf(kv, "S")).snapshot);
  await until(() => node.loaded("S").isIdle);
  // From the snapshot now.
  await store.update((draft) => {
    draft.pages["4"] = "small";
  });
  pages["4"] = "small";
  assert.deepEqual(await freshState(kv, "S"), { pages });
  for (const commit of node.kv.commits) {
    assert.ok(valueBytes(commit) <= 700 * 1024);
    assert.ok(commit.sets.length + commit.deletes.length <= 500);
  }
  await node.close();
  await sweeper(kv).sweep();
  assert.deepEqual(await keysOf(kv, "pending"), []);
});

Deno.test("Store: a large patch reaches another server by the log, and one at the feed's limit", async () => {
  using kv = await memoryKv();
  await using a = await openNode(kv);
  await using b = await openNode(kv);
  const mine = a.store<Pages>("S", { pages: {} });
  const theirs = b.store<Pages>("S", { pages: {} });
  await mine.init();
  await theirs.init();
  for (const size of [16_000, 16_384, 17_000, 100_000, 2 * MB]) {
    await mine.update((draft) => {
      draft.pages["p"] = text(size, size);
    });
    await until(() => theirs.peek()?.pages["p"]?.length === size);
    assert.deepEqual(theirs.peek(), mine.peek());
  }
});

Deno.test("writeBlob() writes the marker before the first chunk, and the flip checks and removes it", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  await store.init();
  const before = node.kv.commits.length;
  await store.update((draft) => {
    draft.pages["p"] = text(2 * MB, 1);
  });
  const commits = node.kv.commits.slice(before);
  const marked = commits.findIndex(isMark);
  const chunked = commits.findIndex(writes("blob"));
  const flipped = commits.findIndex(writes("log"));
  assert.ok(0 <= marked && marked < chunked && chunked < flipped);
  const marker = commits[marked]!.sets.find(({ key }) => key[1] === "pending")!
    .key;
  const flip = commits[flipped]!;
  assert.ok(
    flip.checks.some(({ key, versionstamp }) =>
      String(key) === String(marker) && versionstamp !== null
    ),
  );
  assert.ok(flip.deletes.some((key) => String(key) === String(marker)));
});

Deno.test("Store: a large write whose chunks were swept before the flip is written again", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  await store.init();
  node.kv.onCommit(async (run) => {
    await sweeper(kv).sweep();
    return await run();
  }, { match: (commit) => writes("log")(commit) && writes("pending")(commit) });
  const { version } = await store.update((draft) => {
    draft.pages["p"] = text(2 * MB, 1);
  });
  assert.equal(version, 2);
  assert.deepEqual(await freshState(kv, "S"), {
    pages: { p: text(2 * MB, 1) },
  });
});

Deno.test("Store: a snapshot whose chunks were swept before the flip is given up, and a later one takes its place", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  await store.init();
  let swept = 0;
  node.kv.onCommit(async (run) => {
    await sweeper(kv).sweep();
    swept++;
    return await run();
  }, { match: isFlip });
  for (let i = 0; i < 8; i++) await grow(i);
  assert.equal(swept, 1);
  const pages = () =>
    Object.fromEntries(
      Object.entries(node.loaded("S").state as object).flatMap(([, all]) =>
        Object.entries(all)
      ),
    );
  assert.deepEqual(await freshState(kv, "S"), { pages: pages() });
  for (let i = 8; i < 20; i++) await grow(i);
  await until(async () => (await headOf(kv, "S")).snapshot);
  assert.deepEqual(await freshState(kv, "S"), { pages: pages() });

  async function grow(i: number): Promise<void> {
    await store.update((draft) => {
      draft.pages[i] = text(20_000, i);
    });
    await until(() => node.loaded("S").isIdle);
  }
});

Deno.test("Sweeper: what a writer left that died between its chunks and the flip is removed", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  await store.init();
  const { epoch } = await headOf(kv, "S");
  await writeBlob(kv, random, {
    id: idOf("S"),
    epoch,
    bytes: new Uint8Array(2 * MB),
  });
  assert.equal((await keysOf(kv, "blob")).length, 35);
  assert.equal((await keysOf(kv, "pending")).length, 1);
  await sweeper(kv).sweep();
  assert.deepEqual(await keysOf(kv, "blob"), []);
  assert.deepEqual(await keysOf(kv, "pending"), []);
  assert.deepEqual(await freshState(kv, "S"), { pages: {} });
});

Deno.test("Sweeper: a writer has its time, counted from when the marker was first seen", async () => {
  using kv = await memoryKv();
  await writeBlob(kv, random, {
    id: idOf("S"),
    epoch: "e",
    bytes: new Uint8Array(100),
  });
  let now = 1_000_000;
  const patient = new Sweeper(kv, () => now, 60_000);
  await patient.sweep();
  now += 59_999;
  await patient.sweep();
  assert.equal((await keysOf(kv, "blob")).length, 1);
  now += 1;
  await patient.sweep();
  assert.deepEqual(await keysOf(kv, "blob"), []);
});

Deno.test("Sweeper: what a head or a log entry refers to stays", async () => {
  using kv = await memoryKv();
  await using node = await openNode(kv);
  const store = node.store<Pages>("S", { pages: {} });
  await store.init();
  for (let i = 0; i < 5; i++) {
    await store.update((draft) => {
      draft.pages[i] = text(i === 2 ? 2 * MB : 40_000, i);
    });
    await until(() => node.loaded("S").isIdle);
    await sweeper(kv).sweep();
  }
  assert.ok((await headOf(kv, "S")).snapshot);
  assert.deepEqual(await freshState(kv, "S"), await store.get());
});

Deno.test("Sweeper: a sweep that died goes on where it was, and nobody can flip meanwhile", async () => {
  using kv = await memoryKv();
  const faulty = new FaultyKv(kv);
  const bytes = new Uint8Array(2 * MB);
  const blob = await writeBlob(kv, random, {
    id: idOf("S"),
    epoch: "e",
    bytes,
  });
  faulty.onCommit(() => Promise.reject(new Error("gone")), {
    match: writes("blob"),
  });
  await assert.rejects(sweeper(faulty).sweep(), /gone/);
  // The chunks are still there, but they are not to be relied on.
  assert.ok((await keysOf(kv, "blob")).length > 0);
  const marker = ["hw", "pending", blob.ref.id];
  const { ok } = await kv.atomic()
    .check({ key: marker, versionstamp: blob.markerStamp })
    .delete(marker).commit();
  assert.equal(ok, false);
  await sweeper(kv).sweep();
  assert.deepEqual(await keysOf(kv, "blob"), []);
  assert.deepEqual(await keysOf(kv, "pending"), []);
});

Deno.test("Sweeper: a flip that comes while a marker is being swept wins or loses, whole", async () => {
  using kv = await memoryKv();
  const faulty = new FaultyKv(kv);
  const bytes = new Uint8Array(200_000);
  const { ref, markerStamp } = await writeBlob(kv, random, {
    id: idOf("S"),
    epoch: "e",
    bytes,
  });
  // The sweep has read the marker; in this moment the writer flips.
  faulty.onCommit(async (run) => {
    const marker = ["hw", "pending", ref.id];
    const flipped = await kv.atomic()
      .check({ key: marker, versionstamp: markerStamp })
      .delete(marker).commit();
    assert.equal(flipped.ok, true);
    return await run();
  });
  await sweeper(faulty).sweep();
  assert.equal((await keysOf(kv, "blob")).length, ref.chunks);
});

Deno.test("writeBlob() of a writer that is too slow stops when it is swept, and leaves nothing", async () => {
  using kv = await memoryKv();
  const faulty = new FaultyKv(kv);
  const gate = new Gate();
  let chunks = 0;
  faulty.onCommit(waitsBefore(gate), {
    match: (commit) => writes("blob")(commit) && ++chunks === 2,
  });
  const writing = writeBlob(faulty, random, {
    id: idOf("S"),
    epoch: "e",
    bytes: new Uint8Array(4 * MB),
  });
  await gate.reached;
  await sweeper(kv).sweep();
  gate.open();
  await assert.rejects(writing);
  assert.deepEqual(await keysOf(kv, "blob"), []);
  assert.deepEqual(await keysOf(kv, "pending"), []);
});

Deno.test("Sweeper: one marker that cannot be read does not keep the others from being swept", async () => {
  using kv = await memoryKv();
  await kv.atomic().set(["hw", "pending", "!"], new Uint8Array([0xc1]))
    .commit();
  await writeBlob(kv, random, {
    id: idOf("S"),
    epoch: "e",
    bytes: new Uint8Array(100),
  });
  await sweeper(kv).sweep().catch(() => {});
  assert.deepEqual(await keysOf(kv, "blob"), []);
});

Deno.test("Core: leftovers are swept when a server begins", async () => {
  using kv = await memoryKv();
  {
    await using node = await openNode(kv);
    const store = node.store<Pages>("S", { pages: {} });
    await store.update((draft) => {
      draft.pages["p"] = text(100_000, 1);
    });
    await until(() => node.loaded("S").isIdle);
    await store.delete();
  }
  assert.ok((await keysOf(kv, "log")).length > 0);
  await using next = await openNode(kv);
  await within(until(async () => (await keysOf(kv, "log")).length === 0), {
    describe: () => "the log of the deleted store stays",
  });
  await until(async () => (await keysOf(kv, "blob")).length === 0);
  await until(async () => (await keysOf(kv, "pending")).length === 0);
  assert.ok(next.kv.reads.some(readOf("pending")));
});

function isMark(commit: Commit): boolean {
  return commit.sets.some(({ key, value }) =>
    key[1] === "pending" &&
    (jsonOf(value) as Record<string, unknown>)["k"] === "new"
  );
}

/** Commits that make a snapshot reachable. */
function isFlip(commit: Commit): boolean {
  return writes("head")(commit) && commit.deletes.some(keyOf("pending")) &&
    !touches(keyOf("log"))(commit);
}
