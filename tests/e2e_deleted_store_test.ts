/** What becomes of clients' writes to a store that was deleted. */
import assert from "node:assert/strict";
import { defineApp } from "../mod.ts";
import type { HeadwaterError } from "../protocol/errors.ts";
import type { ClientWrite } from "../protocol/frames.ts";
import { createServer } from "../server/mod.ts";
import { connectClient, rawSubscribe } from "./_app.ts";
import { RawClient, startProxy, tempKvPath, until } from "./_harness.ts";

const app = defineApp({
  stores: { "Room:*": { initial: { n: 0 } }, Log: { initial: { n: 0 } } },
  mutators: {
    add: { store: "Room:*", run: (draft: { n: number }) => void draft.n++ },
    note: { store: "Log", run: (draft: { n: number }) => void draft.n++ },
  },
});

async function start(kv = ":memory:", port = 0) {
  const server = createServer({ kv, app });
  const created: string[] = [];
  const rooms = server.createStore("Room:*", { write: true })
    .onCreate((key) => void created.push(key ?? ""));
  const log = server.createStore("Log", { write: true })
    .onCreate(() => void created.push("Log"));
  await server.listen({ port, host: "127.0.0.1" });
  return {
    server,
    rooms,
    log,
    /** For which keys a life has begun since this was asked last. */
    created: () => created.splice(0),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const isDeleted = (error: HeadwaterError) => {
  assert.equal(error.code, "store_deleted");
  assert.equal(error.outcome, "notApplied");
  assert.equal(
    error.message,
    'Cannot write to store "Room:a": it was deleted; subscribe again',
  );
  return true;
};

Deno.test("a handle of a store that was deleted does not bring it back", async () => {
  await using at = await start();
  using client = connectClient(at.server.port, { app });
  client.on("error", () => {});
  const handle = client.subscribe<{ n: number }>("Room:a");
  await handle.ready();
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => void deleted.push(name));
  at.created();
  await at.rooms.delete("a");
  await until(() => deleted.length === 1);
  for (
    const write of [
      () => handle.update((draft) => void draft.n++),
      () => handle.merge({ n: 1 }),
      () => handle.set({ n: 1 }),
    ]
  ) await assert.rejects(write(), isDeleted);
  assert.deepEqual(await at.rooms.list(), []);
  assert.deepEqual(at.created(), []);
  // Nor what is written with it in one batch.
  const log = client.subscribe("Log");
  await log.ready();
  at.created();
  await at.log.delete();
  await until(() => deleted.length === 2);
  const batch = client.batch(() => {
    handle.merge({ n: 1 }).catch(() => {});
    client.mutate("note").catch(() => {});
  });
  await assert.rejects(batch, isDeleted);
  assert.deepEqual(await at.server.listStores(), []);
  assert.deepEqual(at.created(), []);
  // It is written again through another handle, or by a mutator.
  await client.mutate("add", undefined, { store: "Room:a" });
  assert.deepEqual(await at.rooms.get("a"), { n: 1 });
  const again = client.subscribe<{ n: number }>("Room:a");
  await again.ready();
  await again.update((draft) => void draft.n++);
  await assert.rejects(handle.merge({ n: 7 }), isDeleted);
  assert.deepEqual(await at.rooms.get("a"), { n: 2 });
});

Deno.test("writes that were queued while their store was deleted are refused, and the client hears of it", async () => {
  await using at = await start();
  await using proxy = await startProxy(at.server.port);
  using client = connectClient(proxy.port, { app });
  client.on("error", () => {});
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => void deleted.push(name));
  const handle = client.subscribe<{ n: number }>("Room:a");
  await handle.ready();
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status !== "connected");
  const writes = [
    handle.update((draft) => void draft.n++),
    handle.merge({ n: 5 }),
  ];
  const refused = writes.map((write) => assert.rejects(write, isDeleted));
  await at.rooms.delete("a");
  at.created();
  proxy.refuse(false);
  await Promise.all(refused);
  await until(() => deleted.length > 0);
  assert.deepEqual(deleted, ["Room:a"]);
  assert.deepEqual(at.created(), []);
  assert.deepEqual(await at.rooms.list(), []);
  assert.equal(client.unackedCount, 0);
});

Deno.test("a patch names its life: it finds one that this server has not heard of, and no other", async () => {
  await using file = await tempKvPath();
  await using one = await start(file.path);
  await using two = await start(file.path);
  await using peer = await RawClient.connect(one.server.port);
  await peer.hello();
  await using other = await RawClient.connect(two.server.port);
  await other.hello();
  const first = await rawSubscribe(peer, "Room:a");
  await two.rooms.delete("a");
  await two.rooms.init("a");
  const second = await rawSubscribe(other, "Room:a");
  assert.notEqual(first.epoch, second.epoch);
  let id = 0;
  const write = async ({ epoch, version }: typeof first) => {
    const patch: ClientWrite = {
      name: "Room:a",
      epoch,
      base: version,
      after: [],
      patch: [{ op: "replace", path: ["n"], value: ++id }],
    };
    const head = { type: "mut", id, oldest: id, elapsedMs: 0 } as const;
    peer.send({ ...head, writes: [patch] });
    return await peer.next("res");
  };
  const { error } = await write(first);
  assert.equal(error?.code, "store_deleted");
  assert.deepEqual(await two.rooms.get("a"), { n: 0 });
  const { value } = await write(second);
  assert.deepEqual(value, [["Room:a", second.version + 1]]);
  await until(async () => (await two.rooms.get("a"))?.n === 2);
});

Deno.test("who looked at a store in a KV that is gone is shown what there is now", async () => {
  const before = await start();
  const { port } = before.server;
  using client = connectClient(port, { app });
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => void deleted.push(name));
  const handle = client.subscribe<{ n: number }>("Room:a");
  await handle.ready();
  await handle.update((draft) => void (draft.n = 5));
  await before.server.close();
  await using _ = await start(":memory:", port);
  await until(() => handle.getState()?.n === 0);
  assert.deepEqual(deleted, []);
});
