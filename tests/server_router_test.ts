import assert from "node:assert/strict";
import { settle } from "./_fake_clock.ts";
import { openServerBench } from "./_server_bench.ts";
import { until } from "./_waiting.ts";

Deno.test("Router refuses a store that is not defined, by name, and goes on", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.hello();
  for (const name of ["Nope", "Room:", "Room", "entries"]) {
    socket.deliver({ type: "sub", name });
    const { error, name: about } = await socket.next("err");
    assert.equal(error.code, "store_missing");
    assert.equal(about, name);
    assert.match(error.message, new RegExp(`"${name}"`));
  }
  socket.deliver({ type: "sub", name: "Entries" });
  await socket.next("snap");
  assert.deepEqual(await bench.server.listStores(), ["Entries"]);
});

Deno.test("Router counts subscriptions up to the limit, and those that are over no more", async () => {
  await using bench = await openServerBench({
    limits: { subscriptionsPerConnection: 3 },
  });
  const socket = bench.connect();
  await socket.hello();
  socket.deliver(
    ...["a", "b", "c", "d"].map((key) => ({
      type: "sub" as const,
      name: `Room:${key}`,
    })),
  );
  const { error, name } = await socket.next("err");
  assert.equal(name, "Room:d");
  assert.deepEqual([error.code, error.data], [
    "limit",
    { limit: "subscriptionsPerConnection", allowed: 3, actual: 4 },
  ]);
  await until(() =>
    socket.frames.filter(({ type }) => type === "snap").length === 3
  );
  // Again to one that it has is no further one.
  socket.deliver({ type: "sub", name: "Room:a" });
  await until(() =>
    socket.frames.filter(({ type }) => type === "snap").length === 4
  );
  socket.deliver({ type: "unsub", name: "Room:a" }, {
    type: "sub",
    name: "Room:d",
  });
  await until(() =>
    socket.frames.some((frame) =>
      frame.type === "snap" && frame.name === "Room:d"
    )
  );
  // A subscription that failed, or whose store was deleted, is none.
  await bench.rooms.delete("b");
  await socket.next("del");
  socket.deliver({ type: "sub", name: "Nope" });
  assert.equal((await socket.next("err")).error.code, "store_missing");
  socket.deliver({ type: "sub", name: "Room:e" });
  await until(() =>
    socket.frames.some((frame) =>
      frame.type === "snap" && frame.name === "Room:e"
    )
  );
});

Deno.test("Router ends a subscription by unsub, also while its store is being opened", async () => {
  const gate = Promise.withResolvers<void>();
  await using bench = await openServerBench({
    define: (server) => {
      server.createStore("Late", { n: 0 }).onCreate(() => gate.promise);
    },
  });
  const socket = bench.connect();
  await socket.subscribe("Entries");
  const other = bench.connect();
  await other.subscribe("Entries");
  socket.deliver({ type: "unsub", name: "Entries" }, {
    type: "unsub",
    name: "Never subscribed",
  });
  socket.deliver({ type: "sub", name: "Late" });
  await settle();
  socket.deliver({ type: "unsub", name: "Late" });
  gate.resolve();
  await bench.server.store("Late")!.init();
  const before = socket.messages.length;
  await bench.entries.update((draft) => void draft.items.push("a"));
  await other.next("patch");
  await settle();
  assert.equal(socket.messages.length, before);
  assert.equal(bench.entries.subscriberCount(), 1);
  assert.equal(bench.server.store("Late")!.subscriberCount(), 0);
});

Deno.test("Router answers sub, unsub and sub again of one store by one living subscription", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.hello();
  const sub = { type: "sub", name: "Entries" } as const;
  socket.deliver(sub, { type: "unsub", name: "Entries" }, sub, sub);
  await socket.next("snap");
  await until(() => bench.entries.subscriberCount() === 1);
  await settle();
  await bench.entries.update((draft) => void draft.items.push("a"));
  const patch = await socket.next("patch");
  await settle();
  assert.equal(bench.entries.subscriberCount(), 1);
  const patches = socket.frames.filter(({ type }) => type === "patch");
  assert.deepEqual(patches, [patch], "a change is sent once");
});

Deno.test("Router treats two writings of one name as one store", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.hello();
  socket.deliver({ type: "sub", name: "Room:cafe\u0301" });
  const snap = await socket.next("snap");
  assert.equal(snap.name, "Room:caf\u00e9");
  assert.equal(bench.rooms.subscriberCount("caf\u00e9"), 1);
});

Deno.test("Router refuses bad names and arguments for that request only", async () => {
  await using bench = await openServerBench({ limits: { nameLength: 20 } });
  const socket = bench.connect();
  await socket.hello();
  const long = "x".repeat(21);
  socket.deliver(
    { type: "sub", name: long },
    { type: "unsub", name: "" },
    { type: "rpc", id: 1, oldest: 1, elapsedMs: 0, name: long },
    {
      type: "rpc",
      id: 2,
      oldest: 1,
      elapsedMs: 0,
      name: "echo",
      args: { when: NaN },
    },
    { type: "rpc", id: 3, oldest: 1, elapsedMs: 0, name: "echo", args: "fine" },
  );
  const sub = await socket.next("err");
  assert.deepEqual([sub.name, sub.error.code], [long, "limit"]);
  assert.match(sub.error.message, /21 .*nameLength of 20/);
  const unsub = await socket.next("err");
  assert.deepEqual([unsub.name, unsub.error.code], ["", "bad_name"]);
  const results = await until(() => {
    const results = socket.frames.filter((frame) => frame.type === "res");
    return results.length === 3 ? results : undefined;
  });
  const byId = new Map(results.map((result) => [result.id, result]));
  assert.equal(byId.get(1)?.error?.code, "limit");
  assert.equal(byId.get(2)?.error?.code, "bad_value");
  assert.equal(byId.get(2)?.error?.path, "/when");
  assert.equal(byId.get(3)?.value, "fine");
  assert.equal(socket.code(), undefined);
});

Deno.test("Router tells every subscriber that a store was deleted, and the next life begins with the next use", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  const { epoch } = await socket.subscribe("Entries");
  await bench.entries.delete();
  assert.deepEqual(await socket.next("del"), { type: "del", name: "Entries" });
  await bench.entries.update((draft) => void draft.items.push("new life"));
  await settle();
  assert.deepEqual(
    socket.frames.at(-1),
    { type: "del", name: "Entries" },
    "it is not subscribed any more",
  );
  socket.deliver({ type: "sub", name: "Entries" });
  const snap = await socket.next("snap");
  assert.notEqual(snap.epoch, epoch);
  assert.deepEqual(snap.state, { items: ["new life"] });
});

Deno.test("Router answers ping by pong", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  await socket.hello();
  socket.deliver({ type: "ping" });
  assert.deepEqual(await socket.next("pong"), { type: "pong" });
});
