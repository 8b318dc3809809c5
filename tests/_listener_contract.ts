/**
 * What `server/ports.ts` promises of a listener, as a suite that every
 * implementation runs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { get } from "node:https";
import { connect, type Socket as TcpSocket } from "node:net";
import { networkInterfaces } from "node:os";
// @deno-types="./_ws_client.d.ts"
import { WebSocket as SecureWebSocket } from "ws";
import type {
  HostFetch,
  Listener,
  ListenTarget,
  Ports,
  Socket,
} from "../server/ports.ts";
import { LOCALHOST_CERT, LOCALHOST_KEY } from "./_localhost_certificate.ts";
import { startProxy } from "./_tcp_proxy.ts";
import { until, within } from "./_waiting.ts";

/** What listens, and upgrades the requests that come in by it. */
export type ListeningPorts = Pick<Ports, "listen" | "upgrade">;

const LOCAL = { host: "127.0.0.1", port: 0 };
const hello = () => new Response("hello");

async function textAt(url: string): Promise<string> {
  return await (await fetch(url)).text();
}

/** Sends a GET and leaves the connection open. */
async function openRequest(port: number, path = "/"): Promise<TcpSocket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  return socket;
}

/** Registers the suite for one implementation; each test has its ports anew. */
export function listenerContract(
  name: string,
  createPorts: () => ListeningPorts,
): void {
  const listen = (target: ListenTarget, fetch: HostFetch): Promise<Listener> =>
    createPorts().listen(target, fetch);

  Deno.test(`${name} takes a free port for 0 and says which; fetch gets the peer's address`, async () => {
    const listener = await listen(
      LOCAL,
      (_request, address) => new Response(address),
    );
    assert.ok(listener.port > 0);
    assert.equal(
      await textAt(`http://127.0.0.1:${listener.port}`),
      "127.0.0.1",
    );
    await listener.close();
  });

  Deno.test(`${name} on localhost answers on 127.0.0.1, by name, and on ::1 where there is one`, async () => {
    const listener = await listen({ host: "localhost", port: 0 }, hello);
    assert.equal(await textAt(`http://127.0.0.1:${listener.port}`), "hello");
    assert.equal(await textAt(`http://localhost:${listener.port}`), "hello");
    if (hasIpv6()) {
      assert.equal(await textAt(`http://[::1]:${listener.port}`), "hello");
    }
    await listener.close();
    await assert.rejects(textAt(`http://127.0.0.1:${listener.port}`));
    await assert.rejects(textAt(`http://[::1]:${listener.port}`));
  });

  Deno.test(`${name} says that a port is in use, on which host`, async () => {
    const first = await listen(LOCAL, hello);
    for (const host of ["127.0.0.1", "localhost"]) {
      await assert.rejects(
        listen({ host, port: first.port }, hello),
        new RegExp(
          `^Error: Cannot listen on ${host}:${first.port}: the port is in use$`,
        ),
      );
    }
    await first.close();
    const second = await listen(
      { host: "127.0.0.1", port: first.port },
      hello,
    );
    await second.close();
  });

  Deno.test({
    name: `${name} on localhost leaves nothing open where only ::1 is taken`,
    ignore: !hasIpv6(),
    fn: async () => {
      const other = await listen({ host: "::1", port: 0 }, hello);
      await assert.rejects(
        listen({ host: "localhost", port: other.port }, hello),
        /the port is in use/,
      );
      await assert.rejects(textAt(`http://127.0.0.1:${other.port}`));
      await other.close();
    },
  });

  Deno.test(`${name} names what else prevents it`, async () => {
    await assert.rejects(
      listen({ host: "192.0.2.1", port: 0 }, hello),
      /Cannot listen on 192\.0\.2\.1:0: ./,
    );
    await assert.rejects(
      listen({ host: "127.0.0.1", port: 70_000 }, hello),
      /Cannot listen on 127\.0\.0\.1:70000: ./,
    );
    await assert.rejects(
      listen({ ...LOCAL, cert: "no", key: "no" }, hello),
      /Cannot listen on 127\.0\.0\.1:0: .*certificate/,
    );
  });

  Deno.test(`${name} serves HTTPS and wss with a certificate`, async () => {
    const ports = createPorts();
    const target = {
      host: "localhost",
      port: 0,
      cert: LOCALHOST_CERT,
      key: LOCALHOST_KEY,
    };
    const listener = await ports.listen(
      target,
      (request) =>
        request.headers.has("upgrade") ? ports.upgrade(request, echo) : hello(),
    );
    for (const host of ["127.0.0.1", "localhost"]) {
      assert.equal(
        await secureText(`https://${host}:${listener.port}`),
        "hello",
      );
    }
    // Neither runtime's own takes a certificate.
    const socket = new SecureWebSocket(`wss://localhost:${listener.port}`, {
      ca: LOCALHOST_CERT,
    });
    await within(new Promise((resolve) => socket.onopen = resolve), {
      describe: () => "wss to open",
    });
    const echoed = new Promise((resolve) => socket.onmessage = resolve);
    socket.send(new Uint8Array([5]));
    await within(echoed, { describe: () => "the echo" });
    const closed = new Promise((resolve) => socket.onclose = resolve);
    await listener.close();
    await closed;
  });

  Deno.test(`${name} answers 500 to what throws, and goes on`, async () => {
    const listener = await listen(LOCAL, (request) => {
      if (request.url.endsWith("/throw")) throw new Error("secret");
      return request.url.endsWith("/reject")
        ? Promise.reject(new Error("secret"))
        : hello();
    });
    for (const path of ["throw", "reject"]) {
      const response = await fetch(`http://127.0.0.1:${listener.port}/${path}`);
      assert.equal(response.status, 500);
      assert.equal(await response.text(), "Internal server error\n");
    }
    assert.equal(await textAt(`http://127.0.0.1:${listener.port}/`), "hello");
    await listener.close();
  });

  Deno.test(`${name} close() waits for an answer that is on its way, and refuses new requests meanwhile`, async () => {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<Response>();
    const listener = await listen(LOCAL, () => {
      asked.resolve();
      return answer.promise;
    });
    const url = `http://127.0.0.1:${listener.port}`;
    const first = textAt(url);
    await asked.promise;
    let isClosed = false;
    const closing = listener.close().then(() => isClosed = true);
    assert.equal(listener.close() instanceof Promise, true);
    const refused = await fetch(url);
    assert.equal(refused.status, 503);
    await refused.body?.cancel();
    assert.equal(isClosed, false);
    answer.resolve(new Response("late"));
    assert.equal(await first, "late");
    await closing;
    await assert.rejects(textAt(url));
  });

  Deno.test(`${name} close() is done at once with idle, half-sent and silent connections`, async () => {
    const listener = await listen(LOCAL, hello);
    const idle = await openRequest(listener.port);
    await new Promise((resolve) => idle.once("data", resolve));
    const half = connect(
      listener.port,
      "127.0.0.1",
      () => half.write("GET / HTTP/1.1\r\nho"),
    );
    const silent = connect(listener.port, "127.0.0.1");
    for (const socket of [half, silent]) socket.on("error", () => {});
    const started = performance.now();
    await listener.close();
    assert.ok(performance.now() - started < 1_000);
    for (const socket of [idle, half, silent]) await ended(socket);
  });

  Deno.test(`${name} close() gives up after 2 s on a handler that hangs and on a body without end`, async () => {
    let cancelled = false;
    const listener = await listen(LOCAL, (request) => {
      if (request.url.endsWith("/hang")) return new Promise(() => {});
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new Uint8Array(1)),
          cancel: () => void (cancelled = true),
        }),
      );
    });
    const hung = await openRequest(listener.port, "/hang");
    const endless = await openRequest(listener.port, "/endless");
    await new Promise((resolve) => endless.once("data", resolve));
    const started = performance.now();
    await listener.close();
    const took = performance.now() - started;
    assert.ok(took > 1_900 && took < 4_000, `took ${took} ms`);
    await until(() => cancelled);
    for (const socket of [hung, endless]) await ended(socket);
  });

  Deno.test(`${name} close() closes sockets by 1001 and waits until they are gone`, async () => {
    const ports = createPorts();
    const listener = await ports.listen(
      LOCAL,
      (request) => ports.upgrade(request, echo),
    );
    const peers = await Promise.all(
      [1, 2, 3].map(() => dialSocket(listener.port)),
    );
    const started = performance.now();
    await listener.close();
    assert.ok(
      performance.now() - started < 1_000,
      "a healthy peer does not cost the whole grace",
    );
    for (const { closed } of peers) {
      const { code, reason } = await closed;
      assert.deepEqual({ code, reason }, { code: 1001, reason: "Going away" });
    }
  });

  Deno.test(`${name} close() does not replace a close code that the core has given before`, async () => {
    const ports = createPorts();
    const sockets: Socket[] = [];
    const listener = await ports.listen(
      LOCAL,
      (request) =>
        ports.upgrade(request, (socket) => {
          sockets.push(socket);
          return { message() {}, closed() {} };
        }),
    );
    const peer = await dialSocket(listener.port);
    await until(() => sockets.length === 1);
    let bytes = 0;
    peer.socket.onmessage = ({ data }) => bytes += data.byteLength;
    for (let i = 0; i < 32; i++) sockets[0]?.send(new Uint8Array(1024 * 1024));
    sockets[0]?.close(4003, "refused");
    await listener.close();
    const { code, reason } = await peer.closed;
    assert.deepEqual({ code, reason }, { code: 4003, reason: "refused" });
    assert.equal(bytes, 32 * 1024 * 1024);
  });

  Deno.test(`${name} close() gives up after 2 s on a socket whose peer stalls`, async () => {
    const ports = createPorts();
    const sockets: Socket[] = [];
    const listener = await ports.listen(
      LOCAL,
      (request) =>
        ports.upgrade(request, (socket) => {
          sockets.push(socket);
          return { message() {}, closed() {} };
        }),
    );
    await using proxy = await startProxy(listener.port);
    const peer = await dialSocket(proxy.port);
    await until(() => sockets.length === 1);
    proxy.stall();
    for (let i = 0; i < 32; i++) sockets[0]?.send(new Uint8Array(1024 * 1024));
    const started = performance.now();
    await listener.close();
    const took = performance.now() - started;
    assert.ok(took > 1_900 && took < 4_000, `took ${took} ms`);
    proxy.cut();
    await peer.closed;
  });

  Deno.test(`${name} close() counts the sockets of its own listener only`, async () => {
    const ports = createPorts();
    const upgrade = (request: Request) => ports.upgrade(request, echo);
    const one = await ports.listen(LOCAL, upgrade);
    const two = await ports.listen(LOCAL, upgrade);
    const peer = await dialSocket(two.port);
    const started = performance.now();
    await one.close();
    assert.ok(performance.now() - started < 1_000);
    assert.equal(peer.socket.readyState, WebSocket.OPEN);
    await two.close();
    assert.equal((await peer.closed).code, 1001);
  });
}

function echo(socket: Socket) {
  return {
    message(data: Uint8Array | string) {
      if (typeof data !== "string") socket.send(new Uint8Array(data));
    },
    closed() {},
  };
}

async function dialSocket(
  port: number,
): Promise<{ socket: WebSocket; closed: Promise<CloseEvent> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  socket.binaryType = "arraybuffer";
  const closed = new Promise<CloseEvent>((resolve) => socket.onclose = resolve);
  await within(new Promise((resolve) => socket.onopen = resolve), {
    describe: () => "a socket to open",
  });
  return {
    socket,
    closed: within(closed, { describe: () => "a close", ms: 10_000 }),
  };
}

/** The server ends it; only then is it destroyed here. */
async function ended(socket: TcpSocket): Promise<void> {
  socket.resume();
  await until(() => socket.destroyed || socket.readableEnded);
  const closed = socket.closed
    ? undefined
    : new Promise((resolve) => socket.once("close", resolve));
  socket.destroy();
  await closed;
}

function secureText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = get(url, { ca: LOCALHOST_CERT, agent: false }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => text += chunk);
      answer.on("end", () => resolve(text));
    });
    asking.on("error", reject);
  });
}

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === "::1")
  );
}
