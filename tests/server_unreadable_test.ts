/** Stores whose records cannot be read: they keep no other from being used, and can be deleted. */
import assert from "node:assert/strict";
import { decodeHead, encodeHead, type Head } from "../server/log/head.ts";
import { headKey, logPrefix } from "../server/log/keys.ts";
import { decodeRecord, encodeRecord } from "../server/log/record.ts";
import { createServer, HeadwaterError, type Server } from "../server/mod.ts";
import { connectClient } from "./_app.ts";
import { until } from "./_harness.ts";
import { entriesOf, idOf, keysOf, memoryKv } from "./_store_harness.ts";

interface Room {
  n: number;
}

/** A server that keeps what it reports. */
function openServer(kv: Deno.Kv, options: { sync?: boolean } = {}) {
  const server: Server = createServer({ kv, ...options });
  const ended: (string | null)[] = [];
  const rooms = server.createStore<Room>("Room:*", { n: 0 })
    .onTerminate((key) => void ended.push(key));
  const errors: Error[] = [];
  server.on("error", (error) => void errors.push(error));
  return {
    server,
    rooms,
    ended,
    errors,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** What an earlier release left of a store with a time to live that was no number. */
async function spoilHead(kv: Deno.Kv, name: string): Promise<void> {
  const key = [...headKey(idOf(name))];
  const { value } = await kv.get(key);
  await kv.set(key, encodeRecord({ ...decodeRecord(value, "head"), x: "5" }));
}

async function cutHead(kv: Deno.Kv, name: string): Promise<void> {
  await kv.set([...headKey(idOf(name))], new Uint8Array([0xc1]));
}

async function loseLog(kv: Deno.Kv, name: string): Promise<void> {
  const { value } = await kv.get([...headKey(idOf(name))]);
  const { epoch } = decodeHead(value);
  for (const { key } of await entriesOf(kv, logPrefix(idOf(name), epoch))) {
    await kv.delete([...key]);
  }
}

/** A KV with the rooms "bad" and "good", which a server has written that is closed. */
async function filledKv(): Promise<Deno.Kv & Disposable> {
  const kv = await memoryKv() as Deno.Kv & Disposable; // that is what it opens
  await using app = openServer(kv);
  for (const key of ["bad", "good"]) {
    await app.rooms.update(key, (draft) => void (draft.n = 7));
  }
  return kv;
}

for (
  const [what, spoil] of [
    ["a head with a field of another type", spoilHead],
    ["a head that is no record", cutHead],
  ] as const
) {
  Deno.test(`list() and listStores() name every store in spite of ${what}, and report it`, async () => {
    using kv = await filledKv();
    await spoil(kv, "Room:bad");
    await using app = openServer(kv);
    assert.deepEqual(await app.rooms.list(), ["bad", "good"]);
    assert.deepEqual(await app.server.listStores(), ["Room:bad", "Room:good"]);
    assert.equal(await app.rooms.has("bad"), true);
    assert.equal(await app.rooms.create("bad").catch(codeOf), UNREADABLE);
    assert.equal(await app.rooms.get("bad").catch(codeOf), UNREADABLE);
    await until(() => app.errors.length >= 2);
    assert.match(
      app.errors[0]!.message,
      /^Cannot read store "Room:bad", which may be deleted: Cannot read \w+: its bytes are corrupt$/,
    );
    assert.equal(codeOf(app.errors[0]), UNREADABLE);
  });
}

for (
  const [what, spoil] of [
    ["its head has a field of another type", spoilHead],
    ["its head is no record", cutHead],
    ["its log is gone", loseLog],
  ] as const
) {
  for (const sync of [true, false]) {
    Deno.test(`delete() removes a store that cannot be read, with all of its records: ${what}, sync ${sync}`, async () => {
      using kv = await filledKv();
      await spoil(kv, "Room:bad");
      {
        await using app = openServer(kv, { sync });
        const deleted: string[] = [];
        app.server.on("storeDeleted", (name) => void deleted.push(name));
        assert.equal(await app.rooms.delete("bad"), true);
        assert.equal(await app.rooms.delete("bad"), false);
        assert.deepEqual(await app.rooms.list(), ["good"]);
        assert.equal(await app.rooms.get("bad"), undefined);
        await until(() => app.errors.length > 0 && deleted.length > 0);
        assert.deepEqual(deleted, ["Room:bad"]);
        assert.equal(
          app.errors[0]?.message,
          'Store "Room:bad" could not be read, and was deleted as it was asked; no onTerminate has run',
        );
        assert.deepEqual(app.ended, []);
        assert.equal(await app.rooms.create("bad"), "bad");
        assert.deepEqual(await app.rooms.get("bad"), { n: 0 });
        assert.deepEqual(await app.rooms.get("good"), { n: 7 });
        assert.equal(await app.rooms.delete("bad"), true);
        assert.deepEqual(app.ended, ["bad"]);
      }
      // The next server sweeps when it starts.
      await using app = openServer(kv, { sync });
      assert.equal(await app.rooms.has("good"), true);
      await until(async () => (await keysOf(kv, "pending")).length === 0);
      const log = await keysOf(kv, "log");
      assert.equal(
        log.some((key) => key.includes("Room:bad")),
        false,
        `${log}`,
      );
    });
  }
}

Deno.test("removeAll() and deleteStore() remove what cannot be read, and what can be", async () => {
  using kv = await filledKv();
  await spoilHead(kv, "Room:bad");
  await using app = openServer(kv);
  await app.rooms.create("worse");
  await cutHead(kv, "Room:worse");
  assert.equal(await app.server.deleteStore("Room:bad"), true);
  assert.equal(await app.rooms.removeAll(), 2);
  assert.deepEqual(await app.server.listStores(), []);
});

Deno.test("delete() leaves a store that a newer server can read", async () => {
  using kv = await filledKv();
  const key = [...headKey(idOf("Room:bad"))];
  const { value } = await kv.get(key);
  await kv.set(key, encodeHead({ ...decodeHead(value), schema: 2 }));
  {
    await using app = openServer(kv);
    assert.equal(await app.rooms.delete("bad").catch(codeOf), UNREADABLE);
  }
  await using newer = createServer({ kv });
  const rooms = newer.createStore<Room>("Room:*", { n: 0 }, { version: 2 });
  assert.deepEqual(await rooms.get("bad"), { n: 7 });
});

Deno.test("delete() removes a store that cannot be migrated", async () => {
  using kv = await filledKv();
  await using newer = createServer({ kv });
  const rooms = newer.createStore<Room>("Room:*", { n: 0 }, { version: 2 });
  assert.equal(await rooms.get("bad").catch(codeOf), UNREADABLE);
  assert.equal(await rooms.delete("bad"), true);
  assert.deepEqual(await rooms.list(), ["good"]);
});

Deno.test("a function that removes a store that cannot be read does it once", async () => {
  using kv = await filledKv();
  await spoilHead(kv, "Room:bad");
  await using app = openServer(kv);
  const { server, rooms } = app;
  server.handle("remove", () => rooms.delete("bad"));
  await server.listen({ host: "127.0.0.1", port: 0 });
  using client = connectClient(server.port);
  assert.equal(await client.call("remove"), true);
  assert.equal(await client.call("remove"), false);
});

Deno.test("another server that holds the store is told that it was removed", async () => {
  using kv = await filledKv();
  await using holder = openServer(kv);
  await holder.server.listen({ host: "127.0.0.1", port: 0 });
  using client = connectClient(holder.server.port);
  const room = client.subscribe<Room>("Room:bad");
  await room.ready();
  assert.deepEqual(room.getState(), { n: 7 });
  let gone = 0;
  client.on("storeDeleted", () => void gone++);
  await spoilHead(kv, "Room:bad");
  await using other = openServer(kv);
  assert.equal(await other.rooms.delete("bad"), true);
  await until(() => gone === 1);
});

Deno.test("encodeHead() refuses what decodeHead() would", () => {
  const head: Head = {
    epoch: "e",
    version: 1,
    writer: "w",
    commitId: "c",
    floor: 0,
    timeMs: 1,
    logBytes: 1,
    initialized: true,
  };
  const wrong: unknown[] = [
    { expiresAtMs: Infinity },
    { expiresAtMs: 2 ** 53 },
    { expiresAtMs: 0.5 },
    { expiresAtMs: "5" },
    { createdAtMs: -1 },
    { version: NaN },
    { epoch: 5 },
  ];
  for (const fields of wrong) {
    assert.throws(() => encodeHead({ ...head, ...fields as Partial<Head> }), {
      name: "TypeError",
      message: "Cannot write a head that could not be read again",
    });
  }
  const good = { ...head, expiresAtMs: Number.MAX_SAFE_INTEGER };
  assert.deepEqual(decodeHead(encodeHead(good)), good);
});

const UNREADABLE = "store_unreadable";

function codeOf(error: unknown): unknown {
  return error instanceof HeadwaterError ? error.code : error;
}
