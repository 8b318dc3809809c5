import assert from "node:assert/strict";
import { connect, createServer, type Socket as TcpSocket } from "node:net";
import { startProxy } from "./_tcp_proxy.ts";
import { until } from "./_waiting.ts";

const MEGABYTE = 1024 * 1024;

/** A server that answers what it gets, and keeps its sockets within reach. */
async function startEcho() {
  const sockets: TcpSocket[] = [];
  const errors: string[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", (error) => errors.push(error.message));
    socket.on("data", (chunk: Uint8Array) => void socket.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return {
    port: address.port,
    sockets,
    errors,
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A TCP client that counts what it receives. */
async function dial(port: number) {
  const socket = connect(port, "127.0.0.1");
  const client = { socket, bytes: 0, end: "", error: "" };
  socket.on("data", (chunk: Uint8Array) => client.bytes += chunk.length);
  socket.on("error", (error) => client.error = error.message);
  socket.on("end", () => client.end = "FIN");
  const closed = new Promise<void>((resolve) =>
    socket.on("close", () => resolve())
  );
  await new Promise<void>((resolve) => {
    socket.on("connect", () => resolve());
    socket.on("close", () => resolve());
  });
  return {
    client,
    closed,
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await closed;
    },
  };
}

Deno.test("TcpProxy passes bytes both ways and counts those that go down", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  one.client.socket.write(new Uint8Array(3 * MEGABYTE));
  await until(() => one.client.bytes === 3 * MEGABYTE);
  assert.equal(proxy.bytesDown, 3 * MEGABYTE);
  assert.equal(proxy.connections, 1);
});

Deno.test("TcpProxy.cut() resets both ends, and takes new connections after", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  one.client.socket.write("x");
  await until(() => one.client.bytes === 1);
  proxy.cut();
  await one.closed;
  assert.match(one.client.error, /ECONNRESET|reset/i);
  await until(() => echo.errors.length === 1 || echo.sockets[0]?.destroyed);
  assert.match(echo.errors.join(), /ECONNRESET|reset/i);
  await using two = await dial(proxy.port);
  two.client.socket.write("x");
  await until(() => two.client.bytes === 1);
});

Deno.test("TcpProxy.cutAfter() lets exactly that many bytes through", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  one.client.socket.write("before");
  await until(() => one.client.bytes === 6);
  proxy.cutAfter(100_001);
  one.client.socket.write(new Uint8Array(MEGABYTE));
  await one.closed;
  assert.equal(one.client.bytes, 6 + 100_001);
  await using two = await dial(proxy.port);
  two.client.socket.write(new Uint8Array(MEGABYTE));
  await until(() => two.client.bytes === MEGABYTE, {
    describe: () => "the cut happens once",
  });
});

Deno.test("TcpProxy.stall() lets the server's buffers fill, resume() empties them", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  await until(() => echo.sockets.length === 1);
  const [server] = echo.sockets;
  assert.ok(server);
  proxy.stall();
  for (let i = 0; i < 64; i++) server.write(new Uint8Array(MEGABYTE));
  // Once this has come the other way, the proxy has had its turn to read.
  one.client.socket.write("x");
  await until(() => server.bytesRead === 1);
  assert.equal(proxy.bytesDown, 0);
  // What the system takes is less than half of it.
  assert.ok(
    server.writableLength > 32 * MEGABYTE,
    `${server.writableLength} bytes wait`,
  );
  proxy.resume();
  await until(() => one.client.bytes === 64 * MEGABYTE + 1);
  assert.equal(server.writableLength, 0);
});

Deno.test("TcpProxy.stall() holds new connections too", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  proxy.stall();
  await using one = await dial(proxy.port);
  one.client.socket.write("x");
  await until(() => echo.sockets[0]?.bytesWritten === 1);
  assert.equal(proxy.bytesDown, 0);
  proxy.resume();
  await until(() => one.client.bytes === 1);
});

Deno.test("TcpProxy.refuse() resets new connections and keeps the old", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  await until(() => echo.sockets.length === 1);
  proxy.refuse(true);
  await using two = await dial(proxy.port);
  await two.closed;
  assert.equal(echo.sockets.length, 1);
  one.client.socket.write("x");
  await until(() => one.client.bytes === 1);
  proxy.refuse(false);
  await using three = await dial(proxy.port);
  three.client.socket.write("x");
  await until(() => three.client.bytes === 1);
});

Deno.test("TcpProxy tells each end when the other closes", async () => {
  await using echo = await startEcho();
  await using proxy = await startProxy(echo.port);
  await using one = await dial(proxy.port);
  await until(() => echo.sockets.length === 1);
  echo.sockets[0]?.end("bye");
  await one.closed;
  assert.equal(one.client.bytes, 3);
  await using two = await dial(proxy.port);
  await until(() => echo.sockets.length === 2);
  two.client.socket.destroy();
  await until(() => echo.sockets[1]?.destroyed);
});
