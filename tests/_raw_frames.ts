/**
 * A WebSocket peer below the protocol: it upgrades over plain TCP, and then
 * sends whatever bytes a test makes up.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect, type Socket as TcpSocket } from "node:net";
import { decodeDown, encodeFrame } from "../protocol/codec.ts";
import {
  type DownFrame,
  PROTOCOL_VERSION,
  type UpFrame,
} from "../protocol/frames.ts";
import { until } from "./_waiting.ts";

/** Opcodes of RFC 6455, section 5.2. */
export const OPCODE = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** What a frame is made of; what is not given is as a well-behaved client sends it. */
export interface RawFrame {
  readonly opcode?: number;
  readonly payload?: Uint8Array;
  readonly isFinal?: boolean;
  /** The three reserved bits, RSV1 being 4. */
  readonly reserved?: number;
  readonly isMasked?: boolean;
  /** A length to announce in place of the payload's. */
  readonly announced?: bigint;
  /** Bytes that the length takes, beyond the first one: 0, 2 or 8. */
  readonly lengthBytes?: 0 | 2 | 8;
}

/** Makes the bytes of a frame. */
export function rawFrame(frame: RawFrame): Uint8Array {
  const { opcode = OPCODE.binary, payload = new Uint8Array() } = frame;
  const { isFinal = true, reserved = 0, isMasked = true } = frame;
  const length = frame.announced ?? BigInt(payload.length);
  const lengthBytes = frame.lengthBytes ??
    (length < 126n ? 0 : length < 65_536n ? 2 : 8);
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (isFinal ? 0x80 : 0) | reserved << 4 | opcode;
  head[1] = (isMasked ? 0x80 : 0) |
    (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2);
  if (!isMasked) return Buffer.concat([head, payload]);
  const mask = [0x12, 0x34, 0x56, 0x78];
  const masked = payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0));
  return Buffer.concat([head, Uint8Array.from(mask), masked]);
}

/** The payload of a close frame. */
export function closePayload(
  code: number,
  reason: Uint8Array = new Uint8Array(),
): Uint8Array {
  return Uint8Array.from([code >> 8, code & 255, ...reason]);
}

/** A request that becomes a WebSocket. */
export const UPGRADE_HEADERS: Readonly<Record<string, string>> = {
  host: "localhost",
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

/** Makes the bytes of a request without a body. */
export function rawRequest(
  line = "GET / HTTP/1.1",
  headers: Readonly<Record<string, string>> = UPGRADE_HEADERS,
): string {
  const lines = Object.entries(headers).filter(([, value]) => value !== "").map(
    ([name, value]) => `${name}: ${value}`,
  );
  return [line, ...lines, "", ""].join("\r\n");
}

/** How a connection ended: by a close frame with a code, or by the end of TCP alone. */
export type RawEnd = number | "cut";

/** A connection over plain TCP. */
export class RawPeer implements AsyncDisposable {
  readonly tcp: TcpSocket;
  /** Opcodes of what was received, in order. */
  readonly opcodes: number[] = [];
  /** Payload of each pong. */
  readonly pongs: string[] = [];
  readonly #frames: DownFrame[] = [];
  #rest: Buffer = Buffer.alloc(0);
  /** What has come since, and how much there must be until it is looked at. */
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #wantedBytes = 0;
  #fault: unknown;
  /** Status line and headers of the answer, once they are there. */
  head: string | undefined;
  /** Code of the close frame that came; 1005 where it has none. */
  code: number | undefined;
  /** Whether TCP has ended. */
  isEnded = false;
  /** Bytes received. */
  bytes = 0;

  private constructor(tcp: TcpSocket) {
    this.tcp = tcp;
    tcp.on("error", () => {});
    // A peer that has gone says so by either: "close" comes after all data.
    tcp.on("end", () => this.isEnded = true);
    tcp.on("close", () => this.isEnded = true);
    tcp.on("data", (chunk: Buffer) => this.#receive(chunk));
  }

  /** Connects, and sends `request`. */
  static async send(
    port: number,
    request: string | Uint8Array,
  ): Promise<RawPeer> {
    const tcp = connect(port, "127.0.0.1");
    tcp.setNoDelay(true);
    const peer = new RawPeer(tcp);
    await peer.write(
      typeof request === "string" ? Buffer.from(request) : request,
    );
    return peer;
  }

  /** Connects and upgrades. */
  static async upgrade(port: number): Promise<RawPeer> {
    const peer = await RawPeer.send(port, rawRequest());
    await until(() => peer.status === 101, {
      describe: () => `an upgrade: ${peer.head}`,
    });
    return peer;
  }

  /** Status of the answer. */
  get status(): number | undefined {
    return this.head === undefined
      ? undefined
      : Number(this.head.split(" ")[1]);
  }

  /** What came behind the head of an answer that is no upgrade. */
  get body(): string {
    return this.status === 101 ? "" : this.#rest.toString("latin1");
  }

  /** How it ended; undefined while it has not. TCP may outlive a close frame, which this peer never answers. */
  get end(): RawEnd | undefined {
    if (this.#fault !== undefined) throw this.#fault;
    return this.code ?? (this.isEnded ? "cut" : undefined);
  }

  /** Sends bytes, and resolves when the system has them; those behind the end of TCP are lost. */
  async write(...parts: Uint8Array[]): Promise<void> {
    if (this.tcp.destroyed) return;
    await new Promise<void>((resolve) =>
      this.tcp.write(Buffer.concat(parts), () => resolve())
    );
  }

  /** Sends a frame of Headwater, as it should be. */
  async say(frame: UpFrame): Promise<void> {
    await this.write(rawFrame({ payload: encodeFrame(frame) }));
  }

  /** Says hello, which a server answers at any time; whether it did. */
  async hello(): Promise<boolean> {
    const count = this.#frames.length;
    await this.say({ type: "hello", protocol: PROTOCOL_VERSION });
    await until(() => this.end !== undefined || this.#frames.length > count, {
      describe: () => `an answer to hello, after ${this.opcodes}`,
    });
    return this.end === undefined;
  }

  /** Ends TCP with a reset. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.tcp.once("close", resolve));
    if (this.tcp.closed) return;
    this.tcp.resetAndDestroy();
    await closed;
  }

  #receive(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    if (this.#rest.length + this.#chunkBytes < this.#wantedBytes) return;
    this.#rest = Buffer.concat([this.#rest, ...this.#chunks]);
    this.#chunks = [];
    this.#chunkBytes = 0;
    if (this.head === undefined) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.head = this.#rest.subarray(0, end).toString("latin1");
      this.#rest = this.#rest.subarray(end + 4);
    }
    if (this.status !== 101) return;
    while (this.#takeFrame());
  }

  /** Servers send no masks and, here, no fragments. */
  #takeFrame(): boolean {
    const rest = this.#rest;
    if (rest.length < 2) return false;
    const [first = 0, second = 0] = rest;
    const start = second === 126 ? 4 : second === 127 ? 10 : 2;
    if (rest.length < start) return false;
    const length = second === 126
      ? rest.readUInt16BE(2)
      : second === 127
      ? Number(rest.readBigUInt64BE(2))
      : second;
    this.#wantedBytes = start + length;
    if (rest.length < start + length) return false;
    this.#wantedBytes = 0;
    this.#rest = rest.subarray(start + length);
    this.#take(first & 15, rest.subarray(start, start + length));
    return true;
  }

  #take(opcode: number, payload: Buffer): void {
    this.opcodes.push(opcode);
    if (opcode === OPCODE.close) {
      this.code = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
    } else if (opcode === OPCODE.pong) {
      this.pongs.push(payload.toString("latin1"));
    } else {
      try {
        this.#frames.push(...decodeDown(new Uint8Array(payload)));
      } catch (error) {
        // Thrown here it would end the process, and no test would have failed.
        this.#fault = error;
      }
    }
  }
}
