/** What a server tells of itself: `server.on()`. */
import assert from "node:assert/strict";
import type { Server } from "../server/mod.ts";
import {
  callValue,
  type Entries,
  rawCall,
  rawSubscribe,
  startApp,
} from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";
import { openServerBench } from "./_server_bench.ts";

type Told = readonly unknown[];

/** Everything that a server tells, but of errors. */
function listen(server: Server): Told[] {
  const told: Told[] = [];
  for (
    const event of [
      "connection",
      "disconnect",
      "subscribe",
      "unsubscribe",
      "storeCreated",
      "storeDeleted",
    ] as const
  ) {
    server.on(event, (...args) => void told.push([event, ...args]));
  }
  return told;
}

/** Of one kind. */
function of(told: Told[], event: string): Told[] {
  return told.filter(([name]) => name === event);
}

Deno.test("on() tells who comes, what they subscribe to, and who goes, in order", async () => {
  await using app = await startApp();
  const told = listen(app.server);
  const client = await RawClient.connect(app.port);
  const { clientId } = await client.hello();
  await rawSubscribe(client, "Entries");
  await rawSubscribe(client, "Room:a");
  // Again is not another one.
  await rawSubscribe(client, "Room:a");
  client.send({ type: "unsub", name: "Entries" });
  client.send({ type: "unsub", name: "Entries" });
  await rawCall(client, 1, { name: "echo" });
  await client[Symbol.asyncDispose]();
  await until(() => of(told, "disconnect").length === 1);
  const info = { address: "127.0.0.1", user: null };
  assert.deepEqual(
    told.filter(([event]) => !String(event).startsWith("store")),
    [
      ["connection", clientId, info],
      ["subscribe", "Entries", clientId, info],
      ["subscribe", "Room:a", clientId, info],
      ["unsubscribe", "Entries", clientId, info],
      ["unsubscribe", "Room:a", clientId, info],
      ["disconnect", clientId, info],
    ],
  );
});

Deno.test("on() tells nothing of connections that never said hello, and of subscriptions that were refused", async () => {
  await using bench = await openServerBench();
  const told = listen(bench.server);
  const silent = bench.connect("10.0.0.1");
  silent.hangUp();
  const socket = bench.connect("10.0.0.2");
  const { clientId } = await socket.hello();
  socket.deliver({ type: "sub", name: "Missing" });
  await socket.next("err");
  // Gone before it was answered.
  socket.deliver({ type: "sub", name: "Entries" });
  socket.hangUp();
  await until(() => of(told, "disconnect").length === 1);
  await bench.entries.init();
  const info = { address: "10.0.0.2", user: null };
  assert.deepEqual(told.slice(0, 2), [
    ["connection", clientId, info],
    ["disconnect", clientId, info],
  ]);
  assert.deepEqual(of(told, "subscribe"), []);
  assert.deepEqual(of(told, "unsubscribe"), []);
});

Deno.test("on() tells a hello that is said again only where it makes another client of it", async () => {
  await using bench = await openServerBench();
  const told = listen(bench.server);
  const socket = bench.connect();
  const { clientId, session } = await socket.hello();
  await socket.hello({ identity: session });
  const other = await socket.hello();
  socket.hangUp();
  await until(() => of(told, "disconnect").length === 2);
  const info = { address: undefined, user: null };
  assert.deepEqual(told, [
    ["connection", clientId, info],
    ["disconnect", clientId, info],
    ["connection", other.clientId, info],
    ["disconnect", other.clientId, info],
  ]);
});

Deno.test("on() tells the beginning and the end of a store on the server that made it, once", async () => {
  await using kv = await tempKvPath();
  await using a = await startApp({ kv: kv.path });
  await using b = await startApp({ kv: kv.path });
  const told = [a, b].map(({ server }) => listen(server));
  // Both at once: one of them makes it.
  await Promise.all([a, b].map(({ entries }) => entries.init()));
  await a.rooms.update("x", (draft) => void draft.messages.push("hi"));
  await b.entries.reset();
  await b.entries.init();
  await using client = await RawClient.connect(a.port);
  const { clientId } = await client.hello();
  await rawSubscribe(client, "Room:x");
  await b.rooms.delete("x");
  await client.next("del");
  await until(() => of(told[0]!, "unsubscribe").length === 1);
  const all = told.flat();
  assert.deepEqual(of(all, "storeCreated").sort(), [
    ["storeCreated", "Entries", null],
    ["storeCreated", "Room:x", "x"],
  ]);
  assert.deepEqual(of(told[1]!, "storeDeleted"), [
    ["storeDeleted", "Room:x", "x"],
  ]);
  assert.deepEqual(of(told[0]!, "storeDeleted"), []);
  assert.deepEqual(of(told[0]!, "unsubscribe"), [
    ["unsubscribe", "Room:x", clientId, { address: "127.0.0.1", user: null }],
  ]);
  await b.rooms.update("x", (draft) => void draft.messages.push("again"));
  await until(() => of(told[1]!, "storeCreated").at(-1)?.[2] === "x");
});

Deno.test("on() tells the end of a store whose time is over", async () => {
  await using app = await startApp({
    define: (server) => server.createStore("Short:*", { n: 0 }, { ttlMs: 20 }),
  });
  const told = listen(app.server);
  await app.server.store("Short:a")?.init();
  await until(() => of(told, "storeDeleted").length === 1);
  assert.deepEqual(told, [
    ["storeCreated", "Short:a", "a"],
    ["storeDeleted", "Short:a", "a"],
  ]);
});

Deno.test("on() returns its undo, which takes back that one and no other", async () => {
  await using bench = await openServerBench();
  const heard: string[] = [];
  const note = () => void heard.push("twice added");
  const offs = [
    bench.server.on("connection", note),
    bench.server.on("connection", note),
    bench.server.on("connection", () => {
      heard.push("takes off the next");
      offs[3]?.();
    }),
    bench.server.on("connection", () => void heard.push("taken off")),
  ];
  offs[0]?.();
  offs[0]?.();
  await bench.connect().hello();
  await until(() => heard.length > 0);
  assert.deepEqual(heard, ["twice added", "takes off the next"]);
});

Deno.test("on() refuses an event that there is not, and what is no function", async () => {
  await using bench = await openServerBench();
  const { server } = bench;
  // Callers in JavaScript do not know.
  assert.throws(
    () => server.on("connected" as "connection", () => {}),
    /TypeError.*"connected"/s,
  );
  assert.throws(
    () => server.on("connection", "x" as unknown as () => void),
    /TypeError.*no function/s,
  );
});

Deno.test("a listener that throws or rejects stops nothing; `error` tells, and what throws there is not told again", async () => {
  await using bench = await openServerBench();
  const { server } = bench;
  const errors: string[] = [];
  const heard: string[] = [];
  server.on("connection", () => {
    throw new Error("thrown");
  });
  server.on("connection", () => Promise.reject("rejected as a text"));
  server.on("connection", () => void heard.push("the last one"));
  server.on("error", () => {
    throw new Error("thrown by the listener of error");
  });
  server.on("error", (error) => {
    assert.ok(error instanceof Error);
    errors.push(error.message);
  });
  const socket = bench.connect();
  await socket.hello();
  await until(() => errors.length === 2);
  socket.deliver({
    type: "rpc",
    id: 1,
    name: "echo",
    args: "goes on",
    oldest: 1,
    elapsedMs: 0,
  });
  assert.equal((await socket.next("res")).value, "goes on");
  assert.deepEqual(heard, ["the last one"]);
  assert.deepEqual(errors.sort(), ["rejected as a text", "thrown"]);
});

Deno.test("a listener runs outside of the call that caused the event: its writes are its own", async () => {
  await using kv = await tempKvPath();
  const define = (server: Server) => {
    const entries = () => server.store<Entries>("Entries")!; // it is defined
    server.on("storeCreated", async (name) => {
      if (!name.startsWith("Room:")) return;
      await entries().update((draft) => void draft.items.push(name));
    });
    server.handle("open", async (key: string) => {
      await server.store<{ messages: string[] }>(`Room:${key}`)!.init();
      await until(async () => (await entries().get()).items.length > 0);
      const { value } = await entries().update((draft) => {
        draft.items.push("by the call");
        return draft.items.length;
      });
      return value;
    });
  };
  await using a = await startApp({ kv: kv.path, define });
  await using b = await startApp({ kv: kv.path, define });
  await using first = await RawClient.connect(a.port);
  const { session } = await first.hello();
  assert.equal(await callValue(first, 1, "open", "k"), 2);
  await using again = await RawClient.connect(b.port);
  await again.hello({ session });
  const call = { name: "open", args: "k", resent: true };
  const { value, error } = await rawCall(again, 1, call);
  // Were the listener's write the first of the call, this would be that.
  assert.deepEqual([value, error], [2, undefined]);
  assert.deepEqual((await b.entries.get()).items, ["Room:k", "by the call"]);
});

Deno.test("close() tells who was disconnected, and waits for listeners that write", async () => {
  await using kv = await tempKvPath();
  {
    await using app = await startApp({ kv: kv.path });
    app.server.on("disconnect", async () => {
      // It takes its time before it writes.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await app.entries.update((draft) => void draft.items.push("goodbye"));
    });
    await using client = await RawClient.connect(app.port);
    await client.hello();
    await app.server.close();
  }
  await using app = await startApp({ kv: kv.path });
  assert.deepEqual((await app.entries.get()).items, ["goodbye"]);
});
