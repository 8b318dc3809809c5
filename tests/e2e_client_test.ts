/** What a client does, over real sockets. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import { connectClient, type Entries, startApp } from "./_app.ts";
import { startProxy, tempKvPath, until, within } from "./_harness.ts";

Deno.test("subscriptions and calls that are made before connecting work once there is a connection", async () => {
  await using app = await startApp();
  using client = createClient();
  assert.equal(client.status, "idle");
  const seen: number[] = [];
  const entries = client.subscribe<Entries>(
    "Entries",
    ({ items }) => void seen.push(items.length),
  );
  const call = client.call<number>("entries.add", { label: "early" });
  assert.equal(entries.hasData(), false);
  assert.equal(client.unackedCount, 1);
  client.connect(`http://127.0.0.1:${app.port}`);
  assert.equal(await within(call, { describe: () => client.status }), 1);
  await entries.ready();
  assert.deepEqual(entries.getState()?.items, ["early"]);
  assert.equal(entries.isStale, false);
  assert.equal(seen.at(-1), 1);
});

Deno.test("any number of handles on one store share one subscription, and the last one ends it", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const changes: string[] = [];
  const follow = (name: string) =>
    client.subscribe<Entries>("Entries", () => void changes.push(name));
  const [first, second] = [follow("first"), follow("second")];
  await Promise.all([first.ready(), second.ready()]);
  assert.equal(app.entries.subscriberCount(), 1);
  assert.equal(first.getState(), second.getState(), "they share one replica");
  changes.length = 0;
  await client.call("entries.add", { label: "a" });
  assert.deepEqual(changes, ["first", "second"]);
  first.unsubscribe();
  await client.call("entries.add", { label: "b" });
  assert.deepEqual(changes, ["first", "second", "second"]);
  assert.deepEqual(
    first.getState()?.items,
    ["a"],
    "the last state can still be read",
  );
  assert.equal(app.entries.subscriberCount(), 1);
  second.unsubscribe();
  await until(() => app.entries.subscriberCount() === 0);
  // And begins anew with the next.
  const third = follow("third");
  await third.ready();
  assert.deepEqual(third.getState()?.items, ["a", "b"]);
});

Deno.test("a store that is deleted fires storeDeleted, stops its handles, and can be subscribed anew", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => void deleted.push(name));
  let changes = 0;
  const room = client.subscribe("Room:a", () => void changes++);
  await room.ready();
  await app.rooms.delete("a");
  await until(() => deleted.length > 0);
  assert.deepEqual(deleted, ["Room:a"]);
  assert.deepEqual(room.getState(), { messages: [] }, "the last state stays");
  assert.equal(room.isStale, true);
  const before = changes;
  await app.rooms.update("a", (draft) => void draft.messages.push("next life"));
  const again = client.subscribe("Room:a");
  await again.ready();
  assert.deepEqual(again.getState(), { messages: ["next life"] });
  assert.equal(changes, before);
});

Deno.test("a store that is not defined rejects ready() and fires error, others go on", async () => {
  await using app = await startApp();
  using client = connectClient(app.port);
  const errors: Error[] = [];
  client.on("error", (error) => void errors.push(error));
  const missing = client.subscribe("Nope");
  const entries = client.subscribe<Entries>("Entries");
  await assert.rejects(missing.ready(), {
    code: "store_missing",
    message: /"Nope"/,
  });
  await until(() => errors.length > 0);
  assert.ok(
    errors[0] instanceof HeadwaterError && errors[0].code === "store_missing",
  );
  await entries.ready();
  assert.equal(client.status, "connected");
});

Deno.test("a function's error rejects the call with its message and code", async () => {
  await using app = await startApp({
    define: (server) =>
      server.handle("seats.take", () => {
        throw new HeadwaterError("limit", "All seats are taken", {
          data: { seats: 3 },
        });
      }),
  });
  using client = connectClient(app.port);
  await assert.rejects(client.call("seats.take"), {
    code: "limit",
    message: "All seats are taken",
    data: { seats: 3 },
  });
  await assert.rejects(client.call("absent"), {
    code: "function_missing",
    outcome: "notApplied",
  });
  await assert.rejects(client.call("echo", { at: new Date() }), {
    code: "bad_value",
    path: "/at",
  });
  assert.equal(await client.call("echo", "goes on"), "goes on");
});

Deno.test("a call that takes too long rejects, is not sent again, and leaves the others alone", async () => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  await using app = await startApp({
    define: (server) =>
      server.handle("slow", () => {
        runs++;
        return gate.promise;
      }),
  });
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port, { rpcTimeoutMs: 80 });
  await client.ready();
  await assert.rejects(client.call("slow"), {
    code: "timeout",
    message: "RPC timeout",
    outcome: "unknown",
  });
  assert.equal(client.unackedCount, 0);
  const reconnected = new Promise((resolve) => client.on("connected", resolve));
  proxy.cut();
  await within(reconnected, { describe: () => client.status });
  assert.equal(await client.call("echo", 1), 1);
  assert.equal(runs, 1);
  gate.resolve();
  // The late answer, of another call's number or none, disturbs nobody.
  assert.equal(await client.call("echo", 2), 2);
});

Deno.test("a lost connection is made again: the client keeps its id, its handles catch up and tell when they are stale", async () => {
  await using kv = await tempKvPath();
  await using app = await startApp({ kv: kv.path });
  await using proxy = await startProxy(app.port);
  using client = connectClient(proxy.port);
  const statuses: string[] = [];
  for (const event of ["connected", "disconnected", "reconnecting"] as const) {
    client.on(event, () => void statuses.push(event));
  }
  const entries = client.subscribe<Entries>("Entries");
  await entries.ready();
  const { clientId } = client;
  assert.ok(clientId);
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status === "reconnecting");
  assert.equal(entries.isStale, true);
  const syncedAt = entries.lastSyncedAt;
  assert.ok(syncedAt !== undefined && syncedAt <= Date.now());
  await app.entries.update((draft) => void draft.items.push("missed"));
  assert.deepEqual(entries.getState()?.items, []);
  proxy.refuse(false);
  await until(() => entries.getState()?.items.length === 1);
  assert.equal(client.clientId, clientId);
  assert.equal(entries.isStale, false);
  assert.ok((entries.lastSyncedAt ?? 0) >= syncedAt);
  assert.deepEqual(statuses.filter((event) => event !== "reconnecting"), [
    "connected",
    "disconnected",
    "connected",
  ]);
});

Deno.test("a subscription whose store cannot be read for now is tried again", async () => {
  let failures = 2;
  await using app = await startApp({
    define: (server) => {
      server.createStore("Flaky", { n: 1 }).onCreate(() => {
        if (failures-- > 0) throw new Error("The database is away");
      });
    },
  });
  using client = connectClient(app.port);
  const errors: string[] = [];
  client.on("error", ({ message }) => void errors.push(message));
  const flaky = client.subscribe<{ n: number }>("Flaky");
  await assert.rejects(flaky.ready(), { code: "unavailable" });
  await until(() => flaky.hasData());
  assert.deepEqual(flaky.getState(), { n: 1 });
  assert.deepEqual(errors, Array(2).fill("The database is away"));
});

Deno.test("destroy() leaves nothing behind, on either side", async () => {
  await using app = await startApp({
    define: (server) =>
      server.handle(
        "never",
        (_, { signal }) =>
          new Promise((resolve) => signal.addEventListener("abort", resolve)),
      ),
  });
  const client = connectClient(app.port);
  const entries = client.subscribe<Entries>("Entries");
  await entries.ready();
  const pending = client.call("never");
  await until(async () => (await app.server.health())["subscriptions"] === 1);
  client.destroy();
  await assert.rejects(pending, {
    code: "disconnected",
    message: "Disconnected",
  });
  assert.equal(client.status, "closed");
  assert.equal(client.unackedCount, 0);
  assert.throws(() => client.connect(`ws://127.0.0.1:${app.port}`), {
    code: "closed",
  });
  await assert.rejects(client.call("echo"), { code: "disconnected" });
  await until(async () => (await app.server.health())["connections"] === 0);
  assert.equal(app.entries.subscriberCount(), 0);
  // What else could be left is a timer or a socket, and the test runner looks for these.
});

Deno.test("a client that is created and destroyed at once, in any phase, leaves nothing", async () => {
  await using app = await startApp();
  for (let n = 0; n < 20; n++) {
    const client = connectClient(app.port);
    client.subscribe("Entries");
    // After so many turns: dialling, saying hello, subscribing, subscribed.
    for (let turn = 0; turn < n; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    client.destroy();
  }
  await until(async () => (await app.server.health())["connections"] === 0);
  await until(async () => (await app.server.health())["sessions"] === 0);
});
