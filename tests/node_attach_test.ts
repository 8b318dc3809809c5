/** Sockets beside an HTTP API: `attach()` on servers of `node:http` and `node:https`. */
import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, type Server as NetServer } from "node:net";
import { createClient } from "../client/mod.ts";
import { createServer, type Server } from "../server/mod.ts";
import { LOCALHOST_CERT, LOCALHOST_KEY } from "./_localhost_certificate.ts";
import { RawClient } from "./_raw_client.ts";
import { within } from "./_waiting.ts";
// @deno-types="./_ws_client.d.ts"
import { WebSocket as WsWebSocket } from "ws";

const UPGRADE = [
  "host: x",
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version: 13",
].join("\r\n");

/** An HTTP server of the application, on a free port. */
async function listening<S extends NetServer>(
  http: S,
): Promise<AsyncDisposable & { http: S; port: number }> {
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo; // it listens on TCP
  return {
    http,
    port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => http.close(() => resolve())),
  };
}

function startHttp() {
  return listening(
    createHttpServer((request, response) => response.end(`API ${request.url}`)),
  );
}

function withCounter(server: Server): Server {
  server.createStore("Counter", { count: 0 });
  return server;
}

/** The state that a client sees there. */
async function seenAt(url: string): Promise<unknown> {
  const client = createClient(url);
  try {
    const counter = client.subscribe("Counter");
    await within(counter.ready(), { describe: () => `a state at ${url}` });
    return counter.getState();
  } finally {
    client.destroy();
  }
}

/** What comes back for these bytes, until the connection has ended. */
async function rawAnswer(port: number, bytes: string): Promise<string> {
  const tcp = connect(port, "127.0.0.1");
  let answer = "";
  tcp.on("error", () => {});
  tcp.on("data", (chunk) => answer += chunk);
  tcp.write(bytes);
  await within(new Promise((resolve) => tcp.once("close", resolve)), {
    describe: () => `an end after ${answer}`,
  });
  return answer;
}

function upgradeTo(path: string): string {
  return `GET ${path} HTTP/1.1\r\n${UPGRADE}\r\n\r\n`;
}

Deno.test("attach() takes sockets to its path, and leaves requests and other sockets to the application", async () => {
  await using app = await startHttp();
  await using server = withCounter(createServer({ kv: ":memory:" }));
  app.http.on("upgrade", (request, tcp) => {
    if (request.url === "/own") tcp.end("HTTP/1.1 418 Own\r\n\r\n");
  });
  await server.attach(app.http, { path: "/sync" });
  const { port } = app;
  assert.deepEqual(await seenAt(`ws://127.0.0.1:${port}/sync`), { count: 0 });
  assert.deepEqual(await seenAt(`ws://127.0.0.1:${port}/sync?a=b`), {
    count: 0,
  });
  assert.match(await rawAnswer(port, upgradeTo("/own")), /^HTTP\/1.1 418 Own/);
  const page = await fetch(`http://127.0.0.1:${port}/sync`);
  assert.equal(await page.text(), "API /sync");
});

Deno.test("attach() answers 404 to a socket that nobody takes, also beside another", async () => {
  await using app = await startHttp();
  await using one = withCounter(createServer({ kv: ":memory:" }));
  await using two = createServer({ kv: ":memory:" });
  two.createStore("Counter", { count: 2 });
  await one.attach(app.http, { path: "/one" });
  const { port } = app;
  assert.match(await rawAnswer(port, upgradeTo("/no")), /^HTTP\/1.1 404 /);
  await two.attach(app.http, { path: "/two" });
  assert.match(await rawAnswer(port, upgradeTo("/no")), /^HTTP\/1.1 404 /);
  assert.match(await rawAnswer(port, upgradeTo("//")), /^HTTP\/1.1 40[04] /);
  assert.deepEqual(await seenAt(`ws://127.0.0.1:${port}/one`), { count: 0 });
  assert.deepEqual(await seenAt(`ws://127.0.0.1:${port}/two`), { count: 2 });
  for (const path of ["/two", undefined]) {
    await assert.rejects(one.attach(app.http, path ? { path } : {}), {
      name: "TypeError",
      message: /are taken by another attach\(\); give each a path of its own/,
    });
  }
});

Deno.test("close() ends attached sockets by 1001, and leaves the HTTP server as it was", async () => {
  await using app = await startHttp();
  const server = withCounter(createServer({ kv: ":memory:" }));
  await server.attach(app.http);
  const socket = new WebSocket(`ws://127.0.0.1:${app.port}`);
  const closed = new Promise<CloseEvent>((resolve) => socket.onclose = resolve);
  await new Promise((resolve) => socket.onopen = resolve);
  const startedMs = performance.now();
  await server.close();
  assert.ok(performance.now() - startedMs < 1_000);
  assert.equal((await closed).code, 1001);
  assert.equal(app.http.listenerCount("upgrade"), 0);
  assert.equal(app.http.listenerCount("request"), 1);
  const page = await fetch(`http://127.0.0.1:${app.port}/still`);
  assert.equal(await page.text(), "API /still");
  await assert.rejects(server.attach(app.http), {
    name: "TypeError",
    message: "Cannot attach: the server is closed",
  });
});

Deno.test("attach() cuts a socket that is asked for behind an unanswered request", async () => {
  const asked = Promise.withResolvers<() => void>();
  await using app = await listening(createHttpServer((_request, response) => {
    asked.resolve(() => response.end("late"));
  }));
  await using server = withCounter(createServer({ kv: ":memory:" }));
  await server.attach(app.http);
  const answer = rawAnswer(
    app.port,
    `GET / HTTP/1.1\r\nhost: x\r\n\r\n${upgradeTo("/")}`,
  );
  (await asked.promise)();
  assert.doesNotMatch(await answer, /101/);
  assert.equal((await server.health()).connections, 0);
});

Deno.test("attach() takes sockets of HTTPS, several servers, and before they listen", async () => {
  await using server = withCounter(createServer({ kv: ":memory:" }));
  const later = createHttpServer();
  await server.attach(later, { path: "/sync" });
  await using plain = await listening(later);
  await using secure = await listening(
    createSecureServer({ cert: LOCALHOST_CERT, key: LOCALHOST_KEY }),
  );
  await server.attach(secure.http, { path: "/sync" });
  assert.deepEqual(await seenAt(`ws://127.0.0.1:${plain.port}/sync`), {
    count: 0,
  });
  const socket = new WsWebSocket(`wss://localhost:${secure.port}/sync`, {
    ca: LOCALHOST_CERT,
  });
  await within(new Promise((resolve) => socket.onopen = resolve), {
    describe: () => "wss to open",
  });
  const closed = new Promise((resolve) => socket.onclose = resolve);
  await server.close();
  await closed;
});

Deno.test("attach() holds peers to messageBytes and heartbeatMs", async () => {
  await using app = await startHttp();
  await using server = withCounter(
    createServer({ kv: ":memory:", limits: { messageBytes: 1_000 } }),
  );
  await server.attach(app.http, { path: "/sync", heartbeatMs: 100 });
  const url = `ws://127.0.0.1:${app.port}/sync`;
  await using polite = await RawClient.connect(url);
  assert.equal((await polite.hello()).heartbeatMs, 100);
  await using hostile = await RawClient.connect(url);
  hostile.send(new Uint8Array(1_001));
  assert.equal((await hostile.closed).code, 1009);
});

Deno.test("attach() says what it cannot attach to, or by which KV", async () => {
  const server = createServer({ kv: ":memory:" });
  const http = createHttpServer();
  const attach = server.attach.bind(server) as (
    ...args: unknown[]
  ) => Promise<void>; // as JavaScript may call it
  await assert.rejects(attach(undefined), {
    name: "TypeError",
    message:
      /^Cannot attach: it takes a server of node:http or node:https, not undefined/,
  });
  await assert.rejects(
    attach(() => {}),
    /a server of node:http .* such as app\.listen\(\) returns, not the application/,
  );
  await assert.rejects(attach(http, { path: "sync" }), {
    name: "RangeError",
    message: /path must begin with "\/", found "sync"/,
  });
  await assert.rejects(attach(http, { port: 1 }), /there is no option "port"/);
  await assert.rejects(
    attach(http, { heartbeatMs: -1 }),
    /heartbeatMs must be/,
  );
  assert.equal(http.listenerCount("upgrade"), 0);
  await server.close();

  const lost = createServer({ kv: "/proc/nowhere/state.db" });
  await assert.rejects(lost.attach(http), /Cannot open KV "\/proc\/nowhere/);
  assert.equal(http.listenerCount("upgrade"), 0);
  await lost.close();
});
