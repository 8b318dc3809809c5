import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { RawClient, until } from "./_harness.ts";
import {
  type Commit,
  Gate,
  keyOf,
  waitsAfter,
  waitsBefore,
} from "./_kv_faults.ts";
import {
  freshState,
  increment,
  memoryKv,
  openCounter,
  Replica,
} from "./_store_harness.ts";

function isOfHead({ checks }: Commit): boolean {
  return checks.some(({ key }) => keyOf("head")(key));
}

Deno.test("Store: a commit that lands after it was given up is shown by its own server", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv, { limits: { commitMs: 100 } });
  await node.counter.init();
  const replica = new Replica(node.loaded("Counter"));
  const late = new Gate();
  let landed: Promise<unknown> = Promise.resolve();
  node.kv.onCommit((run) => {
    landed = late.pass().then(run);
    return new Promise(() => {});
  }, { match: isOfHead });
  // Nor may another try of it be through before its time is over.
  node.kv.onCommit(waitsBefore(late), { match: isOfHead, times: 1_000 });
  await assert.rejects(node.counter.update(increment), { outcome: "unknown" });
  late.open();
  await landed;
  await until(() => (replica.state as { n: number }).n === 1);
  assert.deepEqual(await node.counter.get(), { n: 1 });
});

Deno.test("Store: a write that landed just before a delete is not made again in the next life", async () => {
  using kv = await memoryKv();
  await using writer = await openCounter(kv);
  await using deleter = await openCounter(kv);
  await writer.counter.init();
  await deleter.counter.init();
  const gate = new Gate();
  writer.kv.onCommit(waitsAfter(gate));
  const written = writer.counter.update(increment);
  await gate.reached;
  await until(async () => (await deleter.counter.get()).n === 1);
  assert.equal(await deleter.counter.delete(), true);
  gate.open();
  assert.deepEqual(await written, { version: 2, value: 1 });
  assert.equal(await deleter.counter.has(), false);
});

Deno.test("StoreAccess: a reset of a missing store and an update behind it apply once", async () => {
  using kv = await memoryKv();
  await using node = await openCounter(kv);
  const run = () =>
    node.call({ call: 1 }, async () => {
      await node.counter.reset();
      return await node.counter.update(increment);
    });
  const once = await run();
  assert.deepEqual(await run(), once);
  assert.deepEqual(await freshState(kv), { n: 1 });
});

Deno.test("StoreAccess: a delete in a call that is run again spares the next life of the store", async () => {
  using kv = await memoryKv();
  await using first = await openCounter(kv);
  await using second = await openCounter(kv);
  await first.counter.update(increment);
  const calls = [first, second].map((node) => () =>
    node.call({ call: 1 }, () => node.counter.delete())
  );
  assert.equal(await calls[0]!(), true);
  await second.counter.update((draft) => void (draft.n = 50));
  assert.equal(await calls[1]!(), true);
  assert.deepEqual(await freshState(kv), { n: 50 });
});

Deno.test("Functions: a handler that outlasts its caller's time-out writes to its end", async () => {
  await using server = createServer({ kv: ":memory:" });
  const store = server.createStore("S", { a: 0, b: 0 });
  const gate = new Gate();
  const ended = Promise.withResolvers<void>();
  server.handle("both", async () => {
    await store.update((draft) => void draft.a++);
    await gate.pass();
    await store.update((draft) => void draft.b++).then(
      () => ended.resolve(),
      ended.reject,
    );
  });
  server.handle("other", () => store.update((draft) => void (draft.a += 10)));
  await server.listen({ port: 0 });
  using client = createClient(`ws://127.0.0.1:${server.port}`, {
    rpcTimeoutMs: 200,
  });
  await client.ready();
  await assert.rejects(client.call("both"), { message: "RPC timeout" });
  await client.call("other");
  gate.open();
  await ended.promise;
  assert.deepEqual(await store.get(), { a: 11, b: 1 });
});

Deno.test("Subscription: a resume beside a large snapshot in one message stays a resume", async () => {
  await using server = createServer({ kv: ":memory:" });
  const big = server.createStore("Big", { text: "" });
  const rows = server.createStore("Rows", { rows: ["old"] });
  await big.set({ text: "x".repeat(400_000) });
  await server.listen({ port: 0 });
  await using before = await RawClient.connect(server.port);
  await before.hello();
  before.send({ type: "sub", name: "Rows" });
  const { epoch, version, writer } = await before.next("snap");
  await rows.update((draft) => void (draft.rows[0] = "new"));
  await using after = await RawClient.connect(server.port);
  await after.hello();
  after.send(
    { type: "sub", name: "Big" },
    { type: "sub", name: "Rows", token: { epoch, version, writer } },
  );
  const resume = await after.next("resume");
  assert.equal(resume.name, "Rows");
  assert.deepEqual(resume.patch, [
    { op: "replace", path: ["rows", 0], value: "new" },
  ]);
});
