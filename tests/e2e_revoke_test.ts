import assert from "node:assert/strict";
import { openDenoKv } from "../adapters/deno_kv.ts";
import { CLOSE } from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import {
  createServer,
  type Server,
  type ServerOptions,
} from "../server/mod.ts";
import type { Kv } from "../server/ports.ts";
import { connectClient, rawSubscribe, sendCall } from "./_app.ts";
import { RawClient, tempKvPath, until, within } from "./_harness.ts";
import { FaultyKv } from "./_kv_faults.ts";

/** Within which a revocation has to take effect everywhere. */
const IN_TIME_MS = 5_000;

interface User {
  readonly id: string;
  readonly role: string;
}

/** Who may come in, shared by all servers of a test, as a database would be. */
function users(): Map<string, User> {
  return new Map([
    ["ada", { id: "ada", role: "admin" }],
    ["bob", { id: "bob", role: "admin" }],
  ]);
}

const isAdmin = (user: Json) =>
  (user as unknown as User | null)?.role === "admin";

interface Started extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
}

async function start(
  known: ReadonlyMap<string, User> | undefined,
  options: ServerOptions,
): Promise<Started> {
  const server = createServer({
    ...(known &&
      { authenticate: (_, { token = "" }) => known.get(token) ?? null }),
    ...options,
  });
  server.createStore("Open", { n: 0 });
  server.createStore("Admins", { secret: "xyzzy" }, {
    read: ({ user }) => isAdmin(user),
  });
  server.createStore("Seen", { all: "xyzzy" }, {
    audience: ({ user }) => `${isAdmin(user)}`,
    view: ({ all }, { audience }) => audience === "true" ? { all } : {},
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  return {
    server,
    port: server.port,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** A KV over a file, for one server, that can be made late. */
async function openFaulty(path: string): Promise<FaultyKv & AsyncDisposable> {
  const opened = await openDenoKv(path);
  return Object.assign(new FaultyKv(opened.kv), {
    [Symbol.asyncDispose]: () => opened.close(),
  });
}

/** Stops the feeds of a server, and from before it opens every watch; other reads go on. */
function stall(kv: FaultyKv): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  kv.beforeRead(() => promise, {
    match: ({ kind, key }) => kind === "list" && key[1] === "feed",
    times: Infinity,
  });
  return resolve;
}

async function greeted(port: number, token?: string): Promise<RawClient> {
  const client = await RawClient.connect(port);
  await client.hello(token === undefined ? {} : { token });
  return client;
}

Deno.test("revoke() closes the connections of a user on every server, and nobody else's", async () => {
  await using file = await tempKvPath();
  const known = users();
  await using first = await start(known, { kv: file.path });
  await using second = await start(known, { kv: file.path });
  await using here = await greeted(first.port, "ada");
  await using there = await greeted(second.port, "ada");
  await using other = await greeted(second.port, "bob");
  known.delete("ada");
  const startedAtMs = performance.now();
  await first.server.revoke({ userId: "ada" });
  for (const client of [here, there]) {
    const { code, reason } = await within(client.closed, {
      ms: IN_TIME_MS,
      describe: () => "the end of a revoked connection",
    });
    assert.deepEqual([code, reason], [
      CLOSE.refused,
      "Authentication found no user",
    ]);
  }
  assert.ok(performance.now() - startedAtMs < IN_TIME_MS);
  sendCall(other, 1, { name: "none" });
  assert.equal((await other.next("res")).error?.code, "function_missing");
  using again = connectClient(second.port, { token: "ada" });
  await assert.rejects(again.ready(), { code: "closed" });
});

Deno.test("revoke() reaches a server whose feed and watch stand still, within 5 seconds", async () => {
  await using file = await tempKvPath();
  await using slow = await openFaulty(file.path);
  slow.isWatchDead = true;
  const known = users();
  await using first = await start(known, { kv: file.path });
  await using second = await start(known, { kv: slow as Kv });
  await using client = await greeted(second.port, "ada");
  await rawSubscribe(client, "Admins");
  const resume = stall(slow);
  known.set("ada", { id: "ada", role: "guest" });
  const startedAtMs = performance.now();
  await first.server.revoke({ userId: "ada" });
  const { error, name } = await client.next("err", { ms: IN_TIME_MS });
  assert.deepEqual([error.code, name], ["forbidden", "Admins"]);
  assert.ok(performance.now() - startedAtMs < IN_TIME_MS);
  resume();
});

Deno.test("who is let in again after revoke() has the new user: rules are applied anew, and views change", async () => {
  await using file = await tempKvPath();
  const known = users();
  await using first = await start(known, { kv: file.path });
  await using second = await start(known, { kv: file.path });
  using client = connectClient(second.port, { token: "ada" });
  const open = client.subscribe("Open");
  const admins = client.subscribe("Admins");
  const seen = client.subscribe<{ all?: string }>("Seen");
  await Promise.all([open.ready(), admins.ready(), seen.ready()]);
  assert.deepEqual(seen.getState(), { all: "xyzzy" });
  const errors: Error[] = [];
  client.on("error", (error) => void errors.push(error));
  let disconnected = 0;
  client.on("disconnected", () => void disconnected++);
  known.set("ada", { id: "ada", role: "guest" });
  await first.server.revoke({ userId: "ada" });
  await until(() => errors.length > 0 && seen.getState()?.all === undefined);
  assert.deepEqual(seen.getState(), {});
  assert.match(errors[0]!.message, /Admins/);
  assert.deepEqual([open.isStale, admins.isStale, seen.isStale], [
    false,
    true,
    false,
  ]);
  assert.equal(disconnected, 0);
  // The client knows it, and goes on as before.
  assert.deepEqual(client.user, { id: "ada", role: "guest" });
  second.server.handle("who", (_: unknown, { user }) => user);
  assert.deepEqual(await client.call("who"), { id: "ada", role: "guest" });
  // Nothing is said where nothing has changed.
  await using raw = await RawClient.connect(second.port);
  await raw.hello({ token: "bob" });
  await second.server.revoke({ userId: "bob" });
  raw.send({ type: "ping" });
  await raw.next("pong");
  const welcomes = raw.frames.filter(({ type }) => type === "welcome");
  assert.equal(welcomes.length, 1);
});

Deno.test("while it is asked again who is there nothing is shown: it comes afterwards, or never", async () => {
  for (const isLetIn of [true, false]) {
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<{ id: string } | null>();
    let count = 0;
    const server = createServer({
      kv: ":memory:",
      authenticate: () => {
        if (++count === 1) return { id: "ada" };
        asked.resolve();
        return gate.promise;
      },
    });
    await using _ = server;
    const store = server.createStore("Open", { n: 0 });
    server.handle("read", async () => (await store.get()).n);
    await server.listen({ port: 0, host: "127.0.0.1" });
    await using client = await RawClient.connect(server.port);
    await client.hello({ token: "t" });
    await rawSubscribe(client, "Open");
    const revoked = server.revoke({ userId: "ada" });
    await asked.promise;
    const before = client.frames.length;
    await store.update((draft) => void (draft.n = 7));
    sendCall(client, 1, { name: "read" });
    client.send({ type: "ping" });
    await client.next("pong");
    const types = () => client.frames.slice(before).map(({ type }) => type);
    assert.deepEqual(types(), ["pong"]);
    gate.resolve(isLetIn ? { id: "ada" } : null);
    await revoked;
    if (!isLetIn) {
      const { code } = await client.closed;
      assert.equal(code, CLOSE.refused);
      assert.deepEqual(types(), ["pong"]);
      continue;
    }
    const { value } = await client.next("res");
    assert.equal(value, 7);
    assert.deepEqual(types().toSorted(), ["patch", "pong", "res"]);
  }
});

Deno.test("a call that runs when access is revoked ends, but its answer is not sent", async () => {
  const gate = Promise.withResolvers<void>();
  const known = users();
  const server = createServer({
    kv: ":memory:",
    authenticate: (_, { token = "" }) => known.get(token) ?? null,
  });
  const log = server.createStore("Log", { lines: [] as string[] });
  let isRunning = false;
  server.handle("slow", async () => {
    isRunning = true;
    await gate.promise;
    await log.update((draft) => void draft.lines.push("done"));
    return "the answer";
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await greeted(server.port, "ada");
  sendCall(client, 1, { name: "slow" });
  await until(() => isRunning);
  known.delete("ada");
  await server.revoke({ userId: "ada" });
  assert.equal((await client.closed).code, CLOSE.refused);
  gate.resolve();
  await until(async () => (await log.get()).lines.length === 1);
  assert.ok(!client.frames.some(({ type }) => type === "res"));
});

Deno.test("revoke() of a client closes it where nobody asks who it is, on another server as well", async () => {
  await using file = await tempKvPath();
  await using first = await start(undefined, { kv: file.path });
  await using second = await start(undefined, { kv: file.path });
  await using client = await RawClient.connect(second.port);
  const { clientId } = await client.hello();
  await using other = await greeted(second.port);
  await first.server.revoke({ clientId });
  const { code, reason } = await within(client.closed, {
    ms: IN_TIME_MS,
    describe: () => "the end",
  });
  assert.deepEqual([code, reason], [CLOSE.refused, "Access was revoked"]);
  other.send({ type: "ping" });
  await other.next("pong");
});

Deno.test("a hello that is being answered while access is revoked is asked once more", async () => {
  const known = users();
  const asked: string[] = [];
  const gate = Promise.withResolvers<void>();
  const server = createServer({
    kv: ":memory:",
    authenticate: async (_, { token = "" }) => {
      asked.push(token);
      const user = known.get(token) ?? null;
      // Read before it was revoked, and handed on after.
      if (asked.length === 1) await gate.promise;
      return user;
    },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await RawClient.connect(server.port);
  client.send({ type: "hello", protocol: 1, token: "ada" });
  await until(() => asked.length === 1);
  known.delete("ada");
  await server.revoke({ userId: "ada" });
  gate.resolve();
  assert.equal((await client.closed).code, CLOSE.refused);
  assert.deepEqual(asked, ["ada", "ada"]);
  assert.deepEqual(client.frames, []);
});

Deno.test("a token that was shown meanwhile counts, not the one that was asked about again", async () => {
  const gate = Promise.withResolvers<void>();
  let isHeld = false;
  const known = new Map<string, User>([
    ["old", { id: "ada", role: "admin" }],
    ["new", { id: "ada", role: "admin" }],
  ]);
  const server = createServer({
    kv: ":memory:",
    authenticate: async (_, { token = "" }) => {
      if (isHeld && token === "old") await gate.promise;
      return known.get(token) ?? null;
    },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  using client = connectClient(server.port, { token: "old" });
  await client.ready();
  known.delete("old");
  isHeld = true;
  const revoked = server.revoke({ userId: "ada" });
  await client.setToken("new");
  gate.resolve();
  await revoked;
  await assert.rejects(client.call("none"), { code: "function_missing" });
});

Deno.test("whoever cannot be asked again in time is closed, to come back later", async () => {
  const gate = Promise.withResolvers<void>();
  const known = users();
  let isHeld = false;
  const server = createServer({
    kv: ":memory:",
    authenticate: async (_, { token = "" }) => {
      if (isHeld) await gate.promise;
      return known.get(token) ?? null;
    },
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using _ = server;
  await using client = await greeted(server.port, "ada");
  isHeld = true;
  await server.revoke({ userId: "ada" });
  assert.equal((await client.closed).code, CLOSE.helloTimeout);
  gate.resolve();
});

Deno.test("a server that cannot tell whose access was revoked serves nobody, until it can", async () => {
  await using file = await tempKvPath();
  await using slow = await openFaulty(file.path);
  const known = users();
  const limits = { accessMs: 400 };
  await using first = await start(known, { kv: file.path });
  await using second = await start(known, { kv: slow as Kv, limits });
  await using client = await greeted(second.port, "ada");
  const { promise, resolve } = Promise.withResolvers<void>();
  slow.beforeRead(() => promise, {
    match: ({ key }) => key[1] === "revoked",
    times: Infinity,
  });
  const { code } = await within(client.closed, { describe: () => "the end" });
  assert.equal(code, CLOSE.unavailable);
  await using refused = await RawClient.connect(second.port);
  refused.send({ type: "hello", protocol: 1, token: "ada" });
  assert.equal((await refused.closed).code, CLOSE.unavailable);
  // Whoever can reach the KV goes on.
  await using elsewhere = await greeted(first.port, "ada");
  known.delete("ada");
  await first.server.revoke({ userId: "ada" });
  assert.equal((await elsewhere.closed).code, CLOSE.refused);
  resolve();
  using bob = connectClient(second.port, { token: "bob" });
  await bob.ready();
  using ada = connectClient(second.port, { token: "ada" });
  await assert.rejects(ada.ready(), { code: "closed" });
});

Deno.test("a server that asks nobody and has no rules does not look for revocations", async () => {
  await using file = await tempKvPath();
  await using kv = await openFaulty(file.path);
  const server = createServer({ kv: kv as Kv });
  server.createStore("Open", { n: 0 });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await server.close();
  assert.equal(kv.reads.filter(({ key }) => key[1] === "revoked").length, 0);
  assert.deepEqual(kv.watches, [[["hw", "bell"]]]);
});

Deno.test("revoke() takes a user or a client", async () => {
  await using server = createServer({ kv: ":memory:" });
  for (
    const whom of [{}, { userId: null }, { clientId: 7 }] as unknown as {
      clientId: string;
    }[]
  ) {
    await assert.rejects(server.revoke(whom), TypeError);
  }
  await server.revoke({ userId: 7 });
});
