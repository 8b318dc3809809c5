import assert from "node:assert/strict";
import { Hono } from "hono";
import { createServer } from "../server/mod.ts";
import {
  callValue,
  connectClient,
  defineApp,
  rawSubscribe,
  startApp,
} from "./_app.ts";
import { RawClient, tempKvPath, until, within } from "./_harness.ts";

Deno.test("listen() on localhost is reached by name and by address", async () => {
  await using app = await startApp({ listen: { host: "localhost" } });
  for (const host of ["127.0.0.1", "localhost"]) {
    await using client = await RawClient.connect(`ws://${host}:${app.port}`);
    await client.hello();
    assert.equal(await callValue(client, 1, "echo", host), host);
    const health = await fetch(`http://${host}:${app.port}/api/v1/health`);
    assert.equal((await health.json()).status, "ok");
  }
});

Deno.test("listen() says that a port is in use, and may be called again with another", async () => {
  await using taken = await startApp();
  const server = createServer({ kv: ":memory:" });
  try {
    await assert.rejects(
      server.listen({ host: "127.0.0.1", port: taken.port }),
      new RegExp(
        `Cannot listen on 127.0.0.1:${taken.port}: the port is in use`,
      ),
    );
    await server.listen({ host: "127.0.0.1", port: 0 });
    assert.notEqual(server.port, taken.port);
  } finally {
    await server.close();
  }
});

Deno.test("listen() refuses to listen twice, also at the same time, and after close()", async () => {
  const server = createServer({ kv: ":memory:" });
  assert.throws(() => server.port, /TypeError.*does not listen/);
  const results = await Promise.allSettled(
    [1, 2].map(() => server.listen({ host: "127.0.0.1", port: 0 })),
  );
  assert.deepEqual(results.map(({ status }) => status).sort(), [
    "fulfilled",
    "rejected",
  ]);
  const { port } = server;
  await assert.rejects(
    server.listen({ host: "127.0.0.1", port: 0 }),
    /TypeError.*listen twice/,
  );
  assert.equal(server.port, port);
  await server.close();
  await assert.rejects(
    server.listen({ host: "127.0.0.1", port: 0 }),
    /TypeError.*closed/,
  );
});

Deno.test("close() waits for a listen() that is under way, and takes its port back", async () => {
  const server = createServer({ kv: ":memory:" });
  const listening = server.listen({ host: "127.0.0.1", port: 0 });
  await server.close();
  await listening.catch(() => {});
  const { port } = server;
  await assert.rejects(fetch(`http://127.0.0.1:${port}/api/v1/health`));
});

Deno.test("listen() refuses a heartbeat that is no duration", async () => {
  const server = createServer({ kv: ":memory:" });
  for (const heartbeatMs of [-1, NaN]) {
    await assert.rejects(
      server.listen({ port: 0, heartbeatMs }),
      /RangeError.*heartbeatMs/,
    );
  }
  await server.close();
});

Deno.test("listen() takes sockets at its path only, where one is set", async () => {
  await using app = await startApp({ listen: { path: "/sync" } });
  await using client = await RawClient.connect(
    `ws://127.0.0.1:${app.port}/sync?from=test`,
  );
  await client.hello();
  await assert.rejects(RawClient.connect(`ws://127.0.0.1:${app.port}/`), /404/);
});

Deno.test("an origin that is not on the list is refused at the upgrade, programs are not", async () => {
  await using app = await startApp({ cors: ["https://app.example"] });
  const connect = (origin?: string) =>
    RawClient.connect(
      app.port,
      origin === undefined ? {} : { headers: { origin } },
    );
  for (const origin of ["https://app.example", undefined]) {
    await using client = await connect(origin);
    await client.hello();
  }
  for (
    const origin of [
      "https://evil.example",
      "http://app.example",
      "null",
      `http://127.0.0.1:${app.port}`,
    ]
  ) {
    await assert.rejects(connect(origin), /403/, origin);
  }
  assert.equal((await app.server.health())["connections"], 0);
});

Deno.test("an upgrade that offers another subprotocol only is refused", async () => {
  await using app = await startApp();
  await assert.rejects(
    RawClient.connect(app.port, { protocols: ["headwater.v0"] }),
    /400/,
  );
  await using client = await RawClient.connect(app.port, {
    protocols: ["other", "headwater.v1"],
  });
  assert.equal(client.protocol, "headwater.v1");
});

Deno.test("health tells what the server holds", async () => {
  await using app = await startApp();
  const health = async () =>
    await (await fetch(`http://127.0.0.1:${app.port}/api/v1/health`)).json();
  const nothing = {
    connections: 0,
    addresses: 0,
    subscriptions: 0,
    slow: 0,
    slowBytes: 0,
    sessions: 0,
    stores: 0,
  };
  assert.deepEqual(await health(), { status: "ok", ...nothing });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  await rawSubscribe(client, "Entries");
  await rawSubscribe(client, "Room:a");
  assert.deepEqual(await health(), {
    status: "ok",
    connections: 1,
    addresses: 1,
    subscriptions: 2,
    slow: 0,
    slowBytes: 0,
    sessions: 1,
    stores: 2,
  });
});

Deno.test("health is degraded by 503 while the KV does not answer", async () => {
  const kv = await Deno.openKv(":memory:");
  await using app = await startApp({ kv });
  kv.close();
  const response = await fetch(`http://127.0.0.1:${app.port}/api/v1/health`);
  assert.equal(response.status, 503);
  assert.equal((await response.json()).status, "degraded");
});

Deno.test("server.fetch serves everything when it is handed to Deno.serve", async () => {
  const server = createServer({
    kv: ":memory:",
    pages: { "/": { body: "page", type: "text/plain" } },
  });
  defineApp(server);
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    server.fetch,
  );
  const { port } = http.addr;
  {
    await using client = await RawClient.connect(port);
    await client.hello();
    await rawSubscribe(client, "Entries");
    assert.equal(await callValue(client, 1, "entries.add", { label: "a" }), 1);
    assert.equal(
      await (await fetch(`http://127.0.0.1:${port}/`)).text(),
      "page",
    );
    assert.equal(
      (await (await fetch(`http://127.0.0.1:${port}/api/v1/health`)).json())
        .connections,
      1,
    );
    await server.close();
    assert.equal(
      (await within(client.closed, { describe: () => "the close" })).code,
      1001,
    );
  }
  await http.shutdown();
});

Deno.test("server.fetch serves sockets behind a route of Hono", async () => {
  const server = createServer({ kv: ":memory:" });
  defineApp(server);
  const site = new Hono();
  site.get("/", (context) => context.text("the site"));
  site.all("/sync", (context) => server.fetch(context.req.raw));
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    site.fetch,
  );
  const { port } = http.addr;
  {
    await using client = await RawClient.connect(`ws://127.0.0.1:${port}/sync`);
    await client.hello();
    assert.equal(await callValue(client, 1, "entries.add", { label: "a" }), 1);
    assert.equal(
      await (await fetch(`http://127.0.0.1:${port}/`)).text(),
      "the site",
    );
  }
  await server.close();
  await http.shutdown();
});

Deno.test("server.fetch counts connections by the address that Deno.serve tells", async () => {
  const server = createServer({
    kv: ":memory:",
    limits: { connectionsPerAddress: 1 },
  });
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    server.fetch,
  );
  {
    await using first = await RawClient.connect(http.addr.port);
    await first.hello();
    await using second = await RawClient.connect(http.addr.port);
    const { code, reason } = await within(second.closed, {
      describe: () => "the refusal",
    });
    assert.equal(code, 4013);
    assert.match(reason, /1 connections? from one address/);
  }
  await server.close();
  await http.shutdown();
});

Deno.test("limits of connections refuse over the wire by 4013, and a client comes back when there is room", async () => {
  await using app = await startApp({ limits: { connections: 1 } });
  await using first = await RawClient.connect(app.port);
  await first.hello();
  using client = connectClient(app.port);
  const refusals: number[] = [];
  client.on("reconnecting", ({ attempt }) => void refusals.push(attempt));
  await until(() => refusals.length >= 2);
  assert.equal(client.status, "reconnecting");
  first.close();
  await within(client.ready(), { describe: () => client.status });
});

Deno.test("close() may be called twice, and before anything was opened", async () => {
  const never = createServer({ kv: "/nowhere/at/all" });
  await Promise.all([never.close(), never.close()]);
  const app = await startApp();
  const [first, second] = [app.server.close(), app.server.close()];
  assert.equal(first, second);
  await first;
  await app.server.close();
  await assert.rejects(
    app.entries.update((draft) => void draft.items.push("late")),
    { code: "closed" },
  );
  const response = await app.server.fetch(
    new Request("http://localhost/api/v1/health"),
  );
  assert.equal(response.status, 503);
});

Deno.test("close() commits what is queued", async () => {
  await using kv = await tempKvPath();
  const app = await startApp({ kv: kv.path });
  const writes = Array.from(
    { length: 500 },
    (_, n) => app.entries.update((draft) => void draft.items.push(`${n}`)),
  );
  // The store is loaded when the first is queued; all the others wait for its commit.
  await until(() => app.entries.peek() !== undefined);
  await app.server.close();
  const settled = await Promise.allSettled(writes);
  await using again = await startApp({ kv: kv.path });
  const { items } = await again.entries.get();
  const kept = settled.filter(({ status }) => status === "fulfilled").length;
  assert.equal(
    items.length,
    kept,
    "what was acknowledged and what is there differ",
  );
  assert.equal(kept, 500);
});

Deno.test("createServer() refuses limits that are no numbers, and opens nothing", () => {
  for (const bad of [-1, NaN, "1" as unknown as number]) {
    if (typeof bad === "string") continue;
    assert.throws(
      () => createServer({ limits: { helloMs: bad } }),
      /RangeError.*helloMs/,
    );
  }
});
