/**
 * A TCP proxy that fails rudely, as networks do.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { connect, createServer, type Socket as TcpSocket } from "node:net";
import { until } from "./_waiting.ts";

/** Starts a TCP proxy to a port of this machine. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const proxy = new TcpProxy(targetPort);
  await proxy.listen();
  return proxy;
}

/** A TCP proxy that can cut, stall and refuse: the failures that a WebSocket cannot make by itself. */
export class TcpProxy implements AsyncDisposable {
  /** Sees all that goes to clients. */
  onDown: (bytes: Uint8Array) => void = () => {};
  readonly #targetPort: number;
  readonly #server = createServer((down) => this.#accept(down));
  readonly #pairs = new Map<TcpSocket, TcpSocket>();
  readonly #swallowed = new WeakSet<TcpSocket>();
  #isStalled = false;
  #isRefusing = false;
  #cutAt = Infinity;
  #bytesDown = 0;

  /** Made by {@linkcode startProxy}. */
  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  /** Where clients connect to. */
  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") {
      throw new Error("The proxy does not listen");
    }
    return address.port;
  }

  /** Bytes that went to clients. */
  get bytesDown(): number {
    return this.#bytesDown;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Binds the port. */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", resolve);
    });
  }

  /** Resets all connections; what is on its way is lost. */
  cut(): void {
    for (const down of this.#pairs.keys()) down.resetAndDestroy();
  }

  /** Lets that many more bytes go to clients, then cuts: in the middle of a frame, if so chosen. */
  cutAfter(bytes: number): void {
    this.#cutAt = this.#bytesDown + bytes;
  }

  /** Stops reading from the server, until its buffers are full. */
  stall(): void {
    this.#isStalled = true;
    for (const up of this.#pairs.values()) up.pause();
  }

  /** Ends {@linkcode stall}. */
  resume(): void {
    this.#isStalled = false;
    for (const up of this.#pairs.values()) up.resume();
  }

  /** Lets nothing through any more, either way, on the connections that there are. */
  swallow(): void {
    for (const down of this.#pairs.keys()) this.#swallowed.add(down);
  }

  /** Resets new connections from here on, or no longer. */
  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing;
  }

  /** Cuts everything and stops listening. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
    await until(() => this.#pairs.size === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(down: TcpSocket): void {
    // A reset is what happens here; without a listener it would end the process.
    down.on("error", () => {});
    if (this.#isRefusing) return void down.resetAndDestroy();
    const up = connect(this.#targetPort, "127.0.0.1");
    up.on("error", () => {});
    this.#pairs.set(down, up);
    down.on("close", () => {
      this.#pairs.delete(down);
      up.resetAndDestroy();
    });
    up.on("close", () => down.end());
    down.on("data", (chunk: Buffer) => {
      if (!this.#swallowed.has(down)) up.write(chunk);
    });
    up.on("data", (chunk: Buffer) => {
      this.onDown(chunk);
      this.#forward(chunk, { up, down });
    });
    if (this.#isStalled) up.pause();
  }

  #forward(
    chunk: Buffer,
    { up, down }: { up: TcpSocket; down: TcpSocket },
  ): void {
    if (this.#swallowed.has(down)) return;
    const part = chunk.subarray(0, this.#cutAt - this.#bytesDown);
    this.#bytesDown += part.length;
    const isTaken = down.write(part);
    if (this.#bytesDown >= this.#cutAt) {
      this.#cutAt = Infinity;
      up.resetAndDestroy();
      // Not a reset: it would also discard what the client has not read yet.
      return void down.end();
    }
    if (isTaken) return;
    up.pause();
    down.once("drain", () => this.#isStalled || up.resume());
  }
}
