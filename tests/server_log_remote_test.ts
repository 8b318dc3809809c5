/**
 * What a remote KV's client does behind the back of who uses it: it sends a
 * commit again where the answer was lost, and says `ok: false` to its own writes.
 */
import assert from "node:assert/strict";
import { until } from "./_harness.ts";
import { type CommitFault, keyOf, writes } from "./_kv_faults.ts";
import {
  freshState,
  increment,
  logVersions,
  memoryKv,
  openCounter,
} from "./_store_harness.ts";

/** The commit takes effect, its answer is lost, and the client sends it again. */
const isSentTwice: CommitFault = async (run) => {
  assert.equal((await run()).ok, true);
  const again = await run();
  assert.equal(again.ok, false);
  return again;
};

Deno.test("Lane: a commit that a remote KV's client sent twice is acknowledged, and applies once", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { isLocal: false });
  await using other = await openCounter(kv, { isLocal: false });
  await node.counter.init();
  await other.counter.init();
  for (let n = 1; n <= 5; n++) {
    node.kv.onCommit(isSentTwice, { match: writes("head") });
    const { version, value } = await node.counter.update(increment);
    assert.deepEqual({ version, value }, { version: 1 + n, value: n });
  }
  assert.equal(node.core.stores.figures.conflicts, 0);
  assert.deepEqual(await freshState(kv), { n: 5 });
  assert.deepEqual(await logVersions(kv), [1, 2, 3, 4, 5, 6]);
  await until(() => other.counter.peek()?.n === 5);
});

Deno.test("Lane: another server's commit between the two sendings changes nothing", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { isLocal: false });
  await using other = await openCounter(kv, { isLocal: false });
  await node.counter.init();
  await other.counter.init();
  node.kv.onCommit(async (run) => {
    await run();
    await other.counter.update(increment);
    return await run();
  }, { match: writes("head") });
  assert.equal((await node.counter.update(increment)).value, 1);
  assert.equal((await node.counter.update(increment)).value, 3);
  assert.deepEqual(await freshState(kv), { n: 3 });
});

Deno.test("Lane: a conflict with another server is one on a remote KV, too", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { isLocal: false });
  await using other = await openCounter(kv, { isLocal: false });
  await node.counter.init();
  await other.counter.init();
  node.kv.onCommit(async (run) => {
    await other.counter.update(increment);
    return await run();
  }, { match: writes("head") });
  assert.equal((await node.counter.update(increment)).value, 2);
  assert.equal(node.core.stores.figures.conflicts, 1);
});

Deno.test("Lane: a store deleted by a commit that was sent twice is deleted, and not missing", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { isLocal: false });
  await node.counter.update(increment);
  node.kv.onCommit(isSentTwice, {
    match: ({ deletes }) => deletes.some(keyOf("head")),
  });
  assert.equal(await node.counter.delete(), true);
  assert.equal(await node.counter.has(), false);
});

Deno.test("writeBlob(): a marker that was sent twice costs a try, and not the store", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { isLocal: false });
  await node.counter.init();
  const isMarker = (
    { checks, sets }: Parameters<ReturnType<typeof writes>>[0],
  ) =>
    checks.length === 1 && sets.length === 1 && keyOf("pending")(sets[0]!.key);
  node.kv.onCommit(isSentTwice, { match: isMarker });
  // One entry that is too long for an atomic is written ahead, behind such a marker.
  await node.counter.update((draft: { n: number; pad?: string }) => {
    draft.pad = "x".repeat(900_000);
  });
  assert.equal(node.loaded("Counter").ended, undefined);
  await node.counter.update((draft: { n: number; pad?: string }) => {
    delete draft.pad;
    draft.n++;
  });
  assert.deepEqual(await freshState(kv), { n: 1 });
});
