import assert from "node:assert/strict";
import { denoPorts } from "../adapters/deno_ports.ts";
import { decodeHead, encodeHead } from "../server/log/head.ts";
import {
  type CreateOptions,
  createServer,
  type Server,
} from "../server/mod.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";
import { callValue, connectClient, rawCall } from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";
import {
  FaultyKv,
  Gate,
  throwsAfter,
  waitsBefore,
  writes,
} from "./_kv_faults.ts";

interface Game {
  board: number[];
  level: number;
  name?: string;
}

interface GameServer extends AsyncDisposable {
  readonly server: Server;
  readonly games: DynamicStore<Game>;
  readonly url: string;
  readonly port: number;
  /** Keys that `onCreate` was called with. */
  readonly created: (string | null)[];
}

/** A server whose functions do with games what a handle does. */
async function startGames(
  options: Parameters<typeof createServer>[0] & {
    onCreate?: (key: string | null) => Partial<Game> | Promise<Partial<Game>>;
  } = {},
): Promise<GameServer> {
  const { onCreate = () => ({}), ...rest } = options;
  const server = createServer({ kv: ":memory:", ...rest });
  const created: (string | null)[] = [];
  const games = server.createStore<Game>("Game:*", { board: [], level: 1 })
    .onCreate((key) => {
      created.push(key);
      return onCreate(key);
    });
  server.handle(
    "create",
    ({ key, ...options }: { key?: string } & CreateOptions<Game>) =>
      games.create(key, options),
  );
  server.handle("createTwo", async () => [
    await games.create(),
    await games.create(),
    await games.create("named"),
    await games.create("named"),
  ]);
  server.handle("removeAll", () => games.removeAll());
  await server.listen({ port: 0, host: "127.0.0.1" });
  const { port } = server;
  return {
    server,
    games,
    port,
    url: `ws://127.0.0.1:${port}`,
    created,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

Deno.test("create() returns the key that is given or a new one, and null where it is in use", async () => {
  await using app = await startGames();
  using client = connectClient(app.port);
  assert.equal(await client.call("create", { key: "chess" }), "chess");
  await app.games.update("chess", (draft) => void draft.board.push(1));
  assert.equal(
    await client.call("create", { key: "chess", initial: { level: 9 } }),
    null,
  );
  // What is in use is not overwritten.
  assert.deepEqual(await app.games.get("chess"), { board: [1], level: 1 });
  const keys = new Set<string>();
  for (let i = 0; i < 20; i++) keys.add(await client.call("create", {}));
  assert.equal(keys.size, 20);
  for (const key of keys) {
    assert.match(key, /^[\w-]{12,}$/);
    assert.deepEqual(await app.games.get(key), { board: [], level: 1 });
  }
  assert.deepEqual(app.created, ["chess", ...keys]);
});

Deno.test("create(): a client sees the store that was created, with its initial state", async () => {
  await using app = await startGames({
    onCreate: (key) => ({ name: `Game ${key}`, level: 2 }),
  });
  using client = connectClient(app.port);
  const key = await app.games.create("go", { initial: { level: 3 } });
  const handle = client.subscribe<Game>(`Game:${key}`);
  await handle.ready();
  // The definition's, under what onCreate says, under what create() was given.
  assert.deepEqual(handle.getState(), { board: [], level: 3, name: "Game go" });
  assert.deepEqual(app.created, ["go"]);
});

Deno.test("create() after delete() is another life, and a reset store is in use", async () => {
  await using app = await startGames();
  const { games } = app;
  assert.equal(await games.create("a", { initial: { level: 5 } }), "a");
  await games.reset("a");
  assert.equal(await games.create("a"), null);
  assert.equal(await games.isInitialized("a"), false);
  assert.equal(await games.delete("a"), true);
  assert.equal(await games.delete("a"), false);
  assert.equal(await games.get("a"), undefined);
  assert.equal(await games.create("a"), "a");
  assert.deepEqual(await games.get("a"), { board: [], level: 1 });
});

Deno.test("create() refuses what cannot be a key, a state or a time", async () => {
  await using app = await startGames();
  const { games } = app;
  for (const key of ["", "*", "a:*"]) {
    await assert.rejects(games.create(key), { code: "bad_name" });
  }
  await assert.rejects(games.create("\ud800"), { code: "bad_name" });
  await assert.rejects(games.create("a", { ttlMs: -1 }), RangeError);
  await assert.rejects(games.create("a", { ttlMs: NaN }), RangeError);
  await assert.rejects(
    games.create("a", { initial: { level: NaN } }),
    { code: "bad_value", path: "/level" },
  );
  assert.deepEqual(await games.list(), []);
});

Deno.test("create() whose onCreate fails has created nothing", async () => {
  let isBroken = true;
  await using app = await startGames({
    onCreate: () => {
      if (isBroken) throw new RangeError("no dice");
      return {};
    },
  });
  await assert.rejects(app.games.create("a"), /no dice/);
  assert.equal(await app.games.has("a"), false);
  isBroken = false;
  assert.equal(await app.games.create("a"), "a");
});

Deno.test("create() at once by many, on one server and on two: one has it", async () => {
  await using kv = await tempKvPath();
  await using a = await startGames({ kv: kv.path });
  await using b = await startGames({ kv: kv.path });
  for (let round = 0; round < 10; round++) {
    const key = `race${round}`;
    const made = await Promise.all(
      [a, b, a, b].map(({ games }, level) =>
        games.create(key, { initial: { level } })
      ),
    );
    assert.equal(made.filter((key) => key !== null).length, 1);
    const winner = made.findIndex((key) => key !== null);
    assert.equal((await a.games.get(key))?.level, winner);
    assert.deepEqual(await b.games.get(key), await a.games.get(key));
  }
});

Deno.test("create() and the first use of the same store at once: it exists once, and whole", async () => {
  await using app = await startGames({
    onCreate: async () => {
      await Promise.resolve();
      return {};
    },
  });
  for (let round = 0; round < 10; round++) {
    const key = `r${round}`;
    const [made, { value }] = await Promise.all([
      app.games.create(key, { initial: { level: 7 } }),
      app.games.update(key, (draft) => ++draft.level),
    ]);
    assert.equal(value, made === null ? 2 : 8);
    assert.equal((await app.games.get(key))?.level, value);
  }
});

Deno.test("create() whose commit another server overtakes leaves that one's store alone", async () => {
  using memory = await Deno.openKv(":memory:");
  const slow = new FaultyKv(memory);
  await using a = await startGames({ kv: slow });
  await using b = await startGames({ kv: memory });
  const gate = new Gate();
  slow.onCommit(waitsBefore(gate), { match: writes("head") });
  const losing = a.games.create("a", { initial: { level: 2 } });
  await gate.reached;
  assert.equal(await b.games.create("a", { initial: { level: 3 } }), "a");
  gate.open();
  assert.equal(await losing, null);
  assert.equal((await a.games.get("a"))?.level, 3);
  // Its own commit, of which only the answer was lost, is no other's.
  slow.onCommit(throwsAfter, { match: writes("head") });
  assert.equal(await a.games.create("b"), "b");
});

Deno.test("create() in a call that is sent again, also to another server, gives the first keys", async () => {
  await using kv = await tempKvPath();
  await using a = await startGames({ kv: kv.path });
  await using b = await startGames({ kv: kv.path });
  await using first = await RawClient.connect(a.url);
  const { session } = await first.hello();
  const made = await callValue(first, 1, "createTwo");
  assert.ok(Array.isArray(made));
  const [one, two, named, again] = made;
  assert.notEqual(one, two);
  assert.deepEqual([named, again], ["named", null]);
  // Somebody deletes one in between: it is not made again.
  assert.equal(await b.games.delete(String(two)), true);
  await using second = await RawClient.connect(b.url);
  await second.hello({ session });
  const repeated = await rawCall(second, 1, {
    name: "createTwo",
    resent: true,
  });
  assert.deepEqual(repeated.value, made);
  assert.deepEqual(await b.games.list(), ["named", String(one)].sort());
});

Deno.test("ttlMs of create() stands above the definition's, and ends the store for everybody", async () => {
  await using kv = await tempKvPath();
  await using a = await startGames({ kv: kv.path });
  await using b = await startGames({ kv: kv.path });
  using client = connectClient(b.port);
  let deleted = "";
  client.on("storeDeleted", (name) => void (deleted = name));
  assert.equal(await a.games.create("short", { ttlMs: 2_000 }), "short");
  await a.games.create("long", { ttlMs: 3_600_000 });
  await client.subscribe("Game:short").ready();
  await until(() => deleted === "Game:short");
  assert.equal(await a.games.has("short"), false);
  await until(async () => await a.games.get("short") === undefined);
  assert.deepEqual(await b.games.list(), ["long"]);
  // Free again.
  assert.equal(await b.games.create("short"), "short");
});

Deno.test("list() has the keys of one definition, in order, and of no other", async () => {
  const server = createServer({ kv: ":memory:" });
  await using _ = server;
  const rooms = server.createStore("Room:*", {});
  const vips = server.createStore("Room:vip:*", {});
  const others = server.createStore("Rooms:*", {});
  await server.createStore("Room", {}).init();
  const keys = ["b", "a", "ä", "a:b", "vip", "\u{10ffff}x", "10", "9"];
  for (const key of keys) await rooms.create(key);
  await vips.create("a");
  await others.create("z");
  // By code point, as the KV has them.
  const sorted = ["10", "9", "a", "a:b", "b", "vip", "ä", "\u{10ffff}x"];
  assert.deepEqual(await rooms.list(), sorted);
  assert.deepEqual(await vips.list(), ["a"]);
  assert.deepEqual(await others.list(), ["z"]);
  assert.equal((await server.listStores()).length, keys.length + 3);
  assert.equal(await rooms.removeAll(), keys.length);
  assert.deepEqual(await server.listStores(), [
    "Room",
    "Room:vip:a",
    "Rooms:z",
  ]);
  assert.equal(await rooms.removeAll(), 0);
});

Deno.test("removeAll() ends every store for every client, on every server", async () => {
  await using kv = await tempKvPath();
  await using a = await startGames({ kv: kv.path });
  await using b = await startGames({ kv: kv.path });
  using client = connectClient(b.port);
  const deleted = new Set<string>();
  client.on("storeDeleted", (name) => void deleted.add(name));
  const names = [];
  for (let i = 0; i < 150; i++) {
    const key = await a.games.create(`${i}`);
    if (i < 20) {
      names.push(`Game:${key}`);
      await client.subscribe(`Game:${key}`).ready();
    }
  }
  assert.equal(await client.call("removeAll"), 150);
  assert.deepEqual(await a.games.list(), []);
  await until(() => deleted.size === names.length);
  assert.deepEqual([...deleted].sort(), names.sort());
});

Deno.test("removeAll(): a store that cannot be deleted keeps no other", async () => {
  const server = createServer({ kv: ":memory:" });
  await using _ = server;
  const rooms = server.createStore("Room:*", {}).onTerminate((key) => {
    if (key === "3") throw new RangeError("in use");
  });
  for (let i = 0; i < 10; i++) await rooms.create(`${i}`);
  await assert.rejects(rooms.removeAll(), (error: AggregateError) => {
    assert.match(error.message, /Cannot delete 1 stores of "Room:\*"/);
    assert.match(String(error.errors[0]), /in use/);
    return true;
  });
  assert.deepEqual(await rooms.list(), ["3"]);
});

Deno.test("By full name: a handle, whether it exists, delete and list", async () => {
  await using app = await startGames();
  const { server, games } = app;
  assert.equal(await server.hasStore("Game:a"), false);
  assert.equal(server.store("Nothing:a"), undefined);
  await games.create("a", { initial: { level: 4 } });
  assert.deepEqual(await server.store<Game>("Game:a")?.get(), {
    board: [],
    level: 4,
  });
  assert.equal(await server.hasStore("Game:a"), true);
  assert.deepEqual(await server.listStores(), ["Game:a"]);
  assert.equal(await server.deleteStore("Game:a"), true);
  assert.equal(await server.deleteStore("Game:a"), false);
  assert.deepEqual(await server.listStores(), []);
});

Deno.test("A store of an earlier release, whose head says nothing of its creation, is used like any", async () => {
  await using kv = await tempKvPath();
  {
    await using before = await startGames({ kv: kv.path });
    await before.games.create("old", { initial: { level: 2 } });
  }
  const opened = await denoPorts().openKv(kv.path);
  for await (
    const { key, value } of opened.kv.list({ prefix: ["hw", "head"] })
  ) {
    const { createdAtMs: _, ...head } = decodeHead(value);
    await opened.kv.atomic().set(key, encodeHead(head)).commit();
  }
  await opened.close();
  await using after = await startGames({ kv: kv.path });
  assert.deepEqual(await after.games.list(), ["old"]);
  assert.equal(await after.games.create("old"), null);
  await after.games.update("old", (draft) => void draft.level++);
  assert.equal((await after.games.get("old"))?.level, 3);
});
