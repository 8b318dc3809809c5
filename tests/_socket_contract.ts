/**
 * What `server/ports.ts` promises of a socket, as a suite that every
 * implementation runs over real TCP.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket, SocketEvents } from "../server/ports.ts";
import { startProxy, type TcpProxy } from "./_tcp_proxy.ts";
import { until, within } from "./_waiting.ts";

/** A server that hands its sockets to the suite. */
export interface SocketHost extends AsyncDisposable {
  /** Where it listens on 127.0.0.1. */
  readonly port: number;
}

/** Starts a server that calls `accept` with each socket. */
export type ServeSockets = (
  accept: (socket: Socket) => SocketEvents,
) => Promise<SocketHost>;

const MEGABYTE = 1024 * 1024;
const CHUNK = patterned(MEGABYTE);

/** Registers the suite for one implementation. */
export function socketContract(name: string, serve: ServeSockets): void {
  const test = (claim: string, run: (meeting: Meeting) => Promise<void>) =>
    Deno.test(`${name} ${claim}`, async () => {
      await using meeting = await Meeting.begin(serve);
      await run(meeting);
    });

  test("send() and message() keep the order", async ({ socket, peer, received }) => {
    const numbers = Array.from({ length: 1_000 }, (_, i) => i);
    for (const n of numbers) {
      assert.equal(socket.send(new Uint8Array([n >> 8, n & 255])), "sent");
      peer.socket.send(new Uint8Array([n >> 8, n & 255]));
    }
    await until(() =>
      peer.received.length === 1_000 && received.length === 1_000
    );
    assert.deepEqual(peer.received.map(toNumber), numbers);
    assert.deepEqual(received.map(toNumber), numbers);
  });

  test("send() and message() carry 8 MB in one piece", async ({ socket, peer, received }) => {
    const bytes = patterned(8 * MEGABYTE);
    socket.send(bytes);
    peer.socket.send(bytes);
    await until(() => peer.received.length === 1 && received.length === 1);
    assert.ok(isSame(peer.received[0], bytes));
    assert.ok(isSame(received[0], bytes));
  });

  test("send() sends a part of a buffer as that part, and empty messages", async ({ socket, peer, received }) => {
    socket.send(new Uint8Array([1, 2, 3, 4]).subarray(1, 3));
    socket.send(new Uint8Array());
    peer.socket.send(new Uint8Array());
    await until(() => peer.received.length === 2 && received.length === 1);
    assert.deepEqual(peer.received, [new Uint8Array([2, 3]), new Uint8Array()]);
    assert.deepEqual(received, [new Uint8Array()]);
  });

  test("send() frames messages of every length that has another header", async ({ socket, peer }) => {
    const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 200_000];
    // Each twice in a row: what goes to many is framed once.
    for (const bytes of sizes.map(patterned)) {
      socket.send(bytes);
      socket.send(bytes);
    }
    await until(() => peer.received.length === 2 * sizes.length);
    for (const [index, message] of peer.received.entries()) {
      assert.ok(isSame(message, patterned(sizes[index >> 1] ?? 0)), `${index}`);
    }
  });

  test("message() gets text as a string", async ({ peer, received }) => {
    peer.socket.send("hé");
    peer.socket.send("");
    await until(() => received.length === 2);
    assert.deepEqual(received, ["hé", ""]);
  });

  test("bufferedBytes grows while the peer stalls, and falls to 0 after", async (meeting) => {
    const { socket, proxy, peer } = meeting;
    assert.equal(socket.bufferedBytes, 0);
    proxy.stall();
    for (let i = 0; i < 32; i++) assert.equal(socket.send(CHUNK), "sent");
    await until(() => socket.bufferedBytes < 32 * MEGABYTE);
    const buffered = socket.bufferedBytes;
    assert.ok(buffered >= 16 * MEGABYTE, `${buffered} bytes wait`);
    assert.equal(meeting.closedCount, 0);
    proxy.resume();
    await until(() => peer.received.length === 32, {
      describe: () => `${peer.received.length} of 32 came`,
    });
    await until(() => socket.bufferedBytes === 0, {
      describe: () => `${socket.bufferedBytes} bytes wait`,
    });
    assert.ok(peer.received.every((message) => isSame(message, CHUNK)));
  });

  test("close() lets what was sent arrive, then code and reason", async ({ socket, peer }) => {
    for (let i = 0; i < 16; i++) socket.send(CHUNK);
    socket.close(4008, "too slow");
    assert.deepEqual(await peer.closed(), { code: 4008, reason: "too slow" });
    assert.equal(peer.received.length, 16);
  });

  for (const code of [1000, 1001, 4000, 4999]) {
    test(`close() carries the code ${code}`, async ({ socket, peer }) => {
      socket.close(code, "");
      assert.deepEqual(await peer.closed(), { code, reason: "" });
    });
  }

  const reasons = [
    ["a reason of 123 bytes whole", "x".repeat(123), "x".repeat(123)],
    ["a longer one cut", "x".repeat(124), "x".repeat(123)],
    ["one cut between characters", "é".repeat(62), "é".repeat(61)],
    [
      "one cut between surrogate pairs",
      "\u{1f600}".repeat(31),
      "\u{1f600}".repeat(30),
    ],
  ] as const;
  for (const [claim, sent, expected] of reasons) {
    test(`close() carries ${claim}`, async ({ socket, peer }) => {
      socket.close(4000, sent);
      assert.deepEqual(await peer.closed(), { code: 4000, reason: expected });
    });
  }

  test("close() twice changes nothing", async ({ socket, peer }) => {
    socket.close(4001, "first");
    socket.close(4002, "second");
    assert.deepEqual(await peer.closed(), { code: 4001, reason: "first" });
    socket.close(4003, "third");
  });

  test("send() after close() says gone, and nothing arrives", async ({ socket, peer }) => {
    socket.close(4000, "");
    assert.equal(socket.send(new Uint8Array([1])), "gone");
    assert.equal(socket.bufferedBytes, 0);
    await peer.closed();
    assert.equal(socket.send(new Uint8Array([1])), "gone");
    assert.deepEqual(peer.received, []);
  });

  test("close() is the last word: no event follows", async (meeting) => {
    const { socket, peer, received } = meeting;
    socket.close(4000, "");
    peer.socket.send(new Uint8Array([1]));
    await peer.closed();
    await until(() => meeting.proxy.connections === 0);
    assert.deepEqual(received, []);
    assert.equal(meeting.closedCount, 0);
  });

  test("close() on a stalled peer returns at once and drops the count", async ({ socket, proxy, peer }) => {
    proxy.stall();
    for (let i = 0; i < 32; i++) socket.send(CHUNK);
    socket.close(4008, "too slow");
    assert.equal(socket.bufferedBytes, 0);
    assert.equal(socket.send(CHUNK), "gone");
    proxy.resume();
    assert.deepEqual(await peer.closed(), { code: 4008, reason: "too slow" });
    assert.equal(peer.received.length, 32);
  });

  test("closed() comes when the peer closes", async (meeting) => {
    meeting.peer.socket.close(4321, "mine");
    await until(() => meeting.closedCount > 0);
    assert.equal(meeting.socket.send(new Uint8Array([1])), "gone");
    meeting.socket.close(1000, "");
  });

  test("closed() comes when the connection is cut, idle or full", async (meeting) => {
    const { socket, proxy } = meeting;
    proxy.cut();
    await until(() => meeting.closedCount > 0);
    assert.equal(socket.send(new Uint8Array([1])), "gone");
    assert.equal(socket.bufferedBytes, 0);
    socket.close(4000, "");

    await using other = await Meeting.begin(serve);
    other.proxy.stall();
    for (let i = 0; i < 32; i++) other.socket.send(CHUNK);
    other.proxy.cut();
    await until(() => other.closedCount > 0);
  });

  Deno.test(`${name} message() gets no part of a message that was cut`, async () => {
    const received: unknown[] = [];
    let closedCount = 0;
    await using host = await serve(() => ({
      message: (data) => received.push(data),
      closed: () => closedCount++,
    }));
    const tcp = connect(host.port, "127.0.0.1");
    tcp.on("error", () => {});
    tcp.write(
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    await within(new Promise((resolve) => tcp.once("data", resolve)), {
      describe: () => "the upgrade",
    });
    const whole = [0x82, 0x81, 0, 0, 0, 0, 7];
    const part = [0x82, 0x85, 0, 0, 0, 0, 1, 2];
    tcp.write(new Uint8Array([...whole, ...part]));
    await until(() => received.length === 1);
    tcp.resetAndDestroy();
    await until(() => closedCount > 0);
    assert.deepEqual(received, [new Uint8Array([7])]);
  });
}

/** One socket of the host, met by a real WebSocket through a proxy. */
class Meeting implements AsyncDisposable {
  /** What the host received. */
  readonly received: (Uint8Array | string)[] = [];
  /** How often the host heard that the socket is gone. */
  closedCount = 0;
  readonly socket: Socket;
  readonly peer: Peer;
  readonly proxy: TcpProxy;
  readonly #parts: AsyncDisposableStack;

  private constructor(
    parts: {
      socket: Socket;
      peer: Peer;
      proxy: TcpProxy;
      stack: AsyncDisposableStack;
    },
  ) {
    this.socket = parts.socket;
    this.peer = parts.peer;
    this.proxy = parts.proxy;
    this.#parts = parts.stack;
  }

  static async begin(serve: ServeSockets): Promise<Meeting> {
    const stack = new AsyncDisposableStack();
    const accepted = Promise.withResolvers<Socket>();
    // A message may come before both ends know each other.
    let meeting: Meeting | undefined;
    const host = stack.use(
      await serve((socket) => {
        accepted.resolve(socket);
        return {
          message: (data) => void meeting?.received.push(data),
          closed: () => meeting && meeting.closedCount++,
        };
      }),
    );
    const proxy = stack.use(await startProxy(host.port));
    const peer = stack.use(new Peer(proxy.port));
    const socket = await within(accepted.promise, {
      describe: () => "a socket",
    });
    await peer.opened;
    return meeting = new Meeting({ socket, peer, proxy, stack });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // First, or the peer's close would wait behind what stalls.
    this.proxy.cut();
    await this.#parts.disposeAsync();
  }
}

/** A real WebSocket that keeps what it receives. */
class Peer implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly received: Uint8Array[] = [];
  readonly opened: Promise<void>;
  readonly #closed: Promise<{ code: number; reason: string }>;

  constructor(port: number) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) =>
      void this.received.push(new Uint8Array(data));
    this.socket = socket;
    this.opened = new Promise((resolve) => socket.onopen = () => resolve());
    this.#closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
  }

  closed(): Promise<{ code: number; reason: string }> {
    return within(this.#closed, {
      describe: () => `a close, after ${this.received.length} messages`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await this.closed();
  }
}

function toNumber(message: Uint8Array | string | undefined): number {
  assert.ok(message instanceof Uint8Array);
  return (message[0] ?? 0) << 8 | (message[1] ?? 0);
}

function patterned(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31) ^ (i >> 8));
}

/** `deepEqual` takes seconds for megabytes. */
function isSame(
  message: Uint8Array | string | undefined,
  bytes: Uint8Array,
): boolean {
  return message instanceof Uint8Array && Buffer.compare(message, bytes) === 0;
}
