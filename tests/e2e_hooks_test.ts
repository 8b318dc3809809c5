import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { denoPorts } from "../adapters/deno_ports.ts";
import { interestKey } from "../server/log/keys.ts";
import {
  createServer,
  type Server,
  type ServerOptions,
} from "../server/mod.ts";
import type { DynamicStore } from "../server/stores/dynamic_store.ts";
import { decodeInterest } from "../server/stores/interest_record.ts";
import { connectClient, rawSubscribe } from "./_app.ts";
import {
  type FreshProcess,
  freshProcess,
  RawClient,
  startProxy,
  tempKvPath,
  until,
  within,
} from "./_harness.ts";

/** Longer than a busy machine makes a server wait: one that is only slow is not dead. */
const LEASE_MS = 1_000;

interface Room {
  messages: string[];
}

/** A server with rooms, in this process. */
interface RoomServer extends AsyncDisposable {
  readonly server: Server;
  readonly rooms: DynamicStore<Room>;
  readonly url: string;
  readonly port: number;
  /** What hooks were called with. */
  readonly runs: string[];
}

async function startRooms(
  { onCreate = () => {}, onIdle = () => {}, ...options }: ServerOptions & {
    onCreate?: (key: string | null) => void;
    onIdle?: (rooms: DynamicStore<Room>, key: string) => unknown;
  },
): Promise<RoomServer> {
  const server = createServer(options);
  const runs: string[] = [];
  const rooms = server.createStore<Room>("Room:*", { messages: [] })
    .onCreate(onCreate)
    .onIdle(async (key) => {
      runs.push(`idle ${key}`);
      await onIdle(rooms, key ?? "");
    })
    .onTerminate((key) => void runs.push(`terminate ${key}`));
  await server.listen({ port: 0, host: "127.0.0.1" });
  const { port } = server;
  const url = `ws://127.0.0.1:${port}`;
  return {
    server,
    rooms,
    url,
    port,
    runs,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const SCRIPT = fileURLToPath(import.meta.resolve("./servers/hooks.ts"));

async function startProcess(
  env: { KV: string; LEASE_MS: string; HANG_IN?: string },
): Promise<{ process: FreshProcess; url: string } & AsyncDisposable> {
  const process = freshProcess([SCRIPT], { ...env });
  const [, port] = await process.line(/^listening (\d+)$/);
  return {
    process,
    url: `ws://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

Deno.test("onIdle: however clients leave, and on whichever server, the last one counts", async () => {
  await using kv = await tempKvPath();
  await using a = await startRooms({ kv: kv.path });
  await using b = await startRooms({ kv: kv.path });
  await using proxy = await startProxy(b.port);
  const client = connectClient(a.port);
  const room = client.subscribe<Room>("Room:a");
  await room.ready();
  // Counted by connection: another handle of the same client is no other subscriber.
  const again = client.subscribe<Room>("Room:a");
  await again.ready();
  await using left = await RawClient.connect(a.url);
  await using cut = await RawClient.connect(`ws://127.0.0.1:${proxy.port}`);
  await using closed = await RawClient.connect(b.url);
  for (const raw of [left, cut, closed]) {
    await raw.hello();
    await rawSubscribe(raw, "Room:a");
  }
  left.send({ type: "unsub", name: "Room:a" });
  room.unsubscribe();
  proxy.cut();
  await until(() => b.rooms.subscriberCount("a") === 1);
  await until(() => a.rooms.subscriberCount("a") === 1);
  await untilServers(kv.path, "Room:a", 2);
  client.destroy();
  await until(() => a.rooms.subscriberCount("a") === 0);
  await b.rooms.update("a", (draft) => void draft.messages.push("hello?"));
  assert.deepEqual([a.runs, b.runs], [[], []]);
  closed.close();
  await until(() => b.runs.length > 0);
  assert.deepEqual([a.runs, b.runs], [[], ["idle a"]]);
});

Deno.test("onIdle: who was refused has never been there", async () => {
  await using server = await startRooms({
    kv: ":memory:",
    limits: { subscriptionsPerConnection: 1 },
    onCreate: (key) => {
      if (key === "broken") throw new RangeError("no such room");
    },
  });
  await using client = await RawClient.connect(server.url);
  await client.hello();
  await assert.rejects(rawSubscribe(client, "Room:broken"), /no such room/);
  await rawSubscribe(client, "Room:a");
  await assert.rejects(rawSubscribe(client, "Room:b"), /limit/);
  client.send({ type: "unsub", name: "Room:b" });
  client.send({ type: "unsub", name: "Room:broken" });
  client.send({ type: "unsub", name: "Room:a" });
  await until(() => server.runs.length > 0);
  client.close();
  await rawGone(server);
  assert.deepEqual(server.runs, ["idle a"]);
});

Deno.test("onIdle: a client that does not read is evicted, and has left with that", async () => {
  await using server = await startRooms({
    kv: ":memory:",
    limits: { stallMs: 100, outboxBytes: 1_000 },
  });
  await using proxy = await startProxy(server.port);
  await using client = await RawClient.connect(`ws://127.0.0.1:${proxy.port}`);
  await client.hello();
  await rawSubscribe(client, "Room:a");
  proxy.stall();
  const filler = "x".repeat(200_000);
  for (let n = 0; server.rooms.subscriberCount("a") > 0 && n < 500; n++) {
    await server.rooms.set("a", { messages: [`${n} ${filler}`] });
  }
  await until(() => server.runs.length > 0, { ms: 20_000 });
  assert.deepEqual(server.runs, ["idle a"]);
  proxy.cut();
});

Deno.test("onIdle and selfDestruct count those who see a view of the store like all others", async () => {
  const server = createServer({ kv: ":memory:" });
  await using _ = server;
  const seen: (number | string)[] = [];
  server.createStore("Hand:*", { cards: [1, 2, 3] }, {
    view: ({ cards }) => ({ count: cards.length }),
    selfDestruct: (clientsLeft) => seen.push(clientsLeft) < 0,
  }).onIdle((key) => void seen.push(`idle ${key}`));
  await server.listen({ port: 0, host: "127.0.0.1" });
  const clients = [connectClient(server.port), connectClient(server.port)];
  for (const client of clients) {
    const hand = client.subscribe("Hand:a");
    await hand.ready();
    assert.deepEqual(hand.getState(), { count: 3 });
  }
  clients[0]?.destroy();
  await until(() => seen.length === 1);
  clients[1]?.destroy();
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [1, 0, "idle a"]);
});

Deno.test("onIdle that resets or deletes the room: the next one who comes begins anew", async () => {
  await using server = await startRooms({
    kv: ":memory:",
    onIdle: (rooms, key) => key === "a" ? rooms.reset("a") : rooms.delete(key),
  });
  for (const key of ["a", "b"]) {
    const client = connectClient(server.port);
    const room = client.subscribe<Room>(`Room:${key}`);
    await room.ready();
    await server.rooms.update(key, (draft) => void draft.messages.push("hi"));
    await until(() => room.getState()?.messages.length === 1);
    room.unsubscribe();
    await until(() => server.runs.includes(`terminate ${key}`));
    await until(async () => !await server.rooms.isInitialized(key));
    assert.equal(await server.rooms.has(key), key === "a");
    const next = client.subscribe<Room>(`Room:${key}`);
    await next.ready();
    assert.deepEqual(next.getState(), { messages: [] });
    client.destroy();
  }
});

Deno.test("selfDestruct over two servers, with real clients: the store ends with the last of them", async () => {
  await using kv = await tempKvPath();
  const asked: number[] = [];
  const start = async () => {
    const server = createServer({ kv: kv.path });
    const games = server.createStore("Game:*", { turn: 0 }, {
      selfDestruct: (clientsLeft) => {
        asked.push(clientsLeft);
        return clientsLeft === 0;
      },
    });
    await server.listen({ port: 0, host: "127.0.0.1" });
    return {
      games,
      port: server.port,
      [Symbol.asyncDispose]: () => server.close(),
    };
  };
  await using a = await start();
  await using b = await start();
  const clients = [connectClient(a.port), connectClient(b.port)];
  try {
    for (const client of clients) await client.subscribe("Game:1").ready();
    await untilServers(kv.path, "Game:1", 2);
    clients[0]?.destroy();
    await until(() => asked.length === 1);
    assert.equal(await b.games.has("1"), true);
    clients[1]?.destroy();
    await until(async () => !await a.games.has("1"));
    assert.deepEqual(asked, [1, 0]);
  } finally {
    for (const client of clients) client.destroy();
  }
});

Deno.test("A process that is killed with clients in a room leaves the room to another server", async () => {
  await using kv = await tempKvPath();
  const limits = { leaseMs: LEASE_MS };
  await using doomed = await startProcess({
    KV: kv.path,
    LEASE_MS: `${LEASE_MS}`,
  });
  await using server = await startRooms({ kv: kv.path, limits });
  await using lost = await RawClient.connect(doomed.url);
  await lost.hello();
  await rawSubscribe(lost, "Room:a");
  await rawSubscribe(lost, "Room:b");
  const client = connectClient(server.port);
  await client.subscribe("Room:b").ready();
  await untilServers(kv.path, "Room:a", 1);
  await untilServers(kv.path, "Room:b", 2);
  await doomed.process.kill();
  await until(() => server.runs.length > 0, { ms: 10_000 });
  assert.deepEqual(server.runs, ["idle a"]);
  client.destroy();
  await until(() => server.runs.length > 1);
  assert.deepEqual(server.runs, ["idle a", "idle b"]);
});

Deno.test("A process that is killed within onIdle leaves it to the next one", async () => {
  await using kv = await tempKvPath();
  const env = { KV: kv.path, LEASE_MS: `${LEASE_MS}` };
  {
    await using doomed = await startProcess({ ...env, HANG_IN: "idle" });
    await using client = await RawClient.connect(doomed.url);
    await client.hello();
    await rawSubscribe(client, "Room:a");
    client.send({ type: "unsub", name: "Room:a" });
    await doomed.process.line(/^idle a$/);
    await doomed.process.kill();
  }
  await using next = await startProcess(env);
  await next.process.line(/^idle a$/);
});

Deno.test("A process that is killed within onTerminate has deleted nothing, and another waits for its lease", async () => {
  await using kv = await tempKvPath();
  await using server = await startRooms({
    kv: kv.path,
    limits: { leaseMs: LEASE_MS },
  });
  await server.rooms.init("a");
  await using doomed = await startProcess({
    KV: kv.path,
    LEASE_MS: `${LEASE_MS}`,
    HANG_IN: "terminate",
  });
  const client = connectClient(Number(new URL(doomed.url).port));
  const call = client.call("rooms.delete", "a").catch(() => "lost");
  await doomed.process.line(/^terminate a$/);
  const deleting = server.rooms.delete("a");
  await doomed.process.kill();
  assert.equal(await server.rooms.has("a"), true);
  assert.equal(await deleting, true);
  assert.deepEqual(server.runs, ["terminate a"]);
  assert.equal(await server.rooms.has("a"), false);
  client.destroy();
  assert.equal(await call, "lost");
});

Deno.test("close() leaves clients to come back to another server: nothing is idle meanwhile", async () => {
  await using kv = await tempKvPath();
  const limits = { leaseMs: LEASE_MS };
  const first = await startRooms({ kv: kv.path, limits });
  await using client = await RawClient.connect(first.url);
  await client.hello();
  await rawSubscribe(client, "Room:a");
  await first.server.close();
  assert.deepEqual(first.runs, []);
  await using second = await startRooms({ kv: kv.path, limits });
  await until(() => second.runs.length > 0, { ms: 10_000 });
  assert.deepEqual(second.runs, ["idle a"]);
});

/** Waits until so many servers have recorded that they have subscribers of a store. */
async function untilServers(
  path: string,
  name: string,
  wanted: number,
): Promise<void> {
  const { kv, close } = await denoPorts().openKv(path);
  try {
    await until(async () => {
      const key = interestKey({ namespace: "default", name });
      const record = decodeInterest((await kv.get(key)).value);
      return [...record.values()].filter(({ count }) => count > 0).length ===
        wanted;
    });
  } finally {
    await close();
  }
}

/** Waits until the server has noticed that its clients are gone. */
async function rawGone({ server }: RoomServer): Promise<void> {
  await until(async () => (await server.health()).connections === 0);
}

Deno.test("close() waits for an onCreate, but not for one that never ends", async () => {
  for (const ends of [true, false]) {
    const server = createServer({ kv: ":memory:" });
    const { promise, resolve } = Promise.withResolvers<{ n: number }>();
    const began = Promise.withResolvers<void>();
    const store = server.createStore("Slow", { n: 0 }).onCreate(() => {
      began.resolve();
      return promise;
    });
    const init = store.init().then(() => "made", (error) => error.code);
    await began.promise;
    const closed = server.close();
    if (ends) resolve({ n: 1 });
    // It waits 2 s; how long the test takes depends on the machine.
    await within(closed, { describe: () => "close()" });
    assert.equal(await init, ends ? "made" : "closed");
    // What comes later finds nothing to write to, and disturbs nobody.
    resolve({ n: 2 });
  }
});
