/**
 * A WebSocket client on a bare TCP connection, which does nothing that it need
 * not do: payloads that nobody wants are counted and skipped.
 *
 * @module
 */
import { SUBPROTOCOL } from "../../protocol/frames.ts";

const READ_BYTES = 64 * 1024;
const BINARY = 2;
const CLOSE = 8;

/** See the module's documentation. */
export class LoadConnection {
  /** Messages received. */
  messages = 0;
  /** Bytes received after the handshake, with the headers of WebSocket. */
  bytes = 0;
  /** Whether it has ended. */
  isOver = false;
  /** Gets each payload, which is good until it returns; undefined: payloads are skipped. */
  onMessage: ((payload: Uint8Array) => void) | undefined;
  /** Called after each read. */
  onRead: (() => void) | undefined;
  readonly #tcp: Deno.TcpConn;
  readonly #header = new Uint8Array(14);
  #headerBytes = 0;
  #opcode = 0;
  /** Bytes of the current payload that have not come yet. */
  #left = 0;
  #payload: Uint8Array | undefined;
  #paused: PromiseWithResolvers<void> | undefined;
  #unsent: Uint8Array[] = [];
  #isWriting = false;

  private constructor(tcp: Deno.TcpConn) {
    this.#tcp = tcp;
  }

  /** Connects and shakes hands. */
  static async open(port: number): Promise<LoadConnection> {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
    tcp.setNoDelay(true);
    const connection = new LoadConnection(tcp);
    await connection.#write(new TextEncoder().encode(
      `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
        `sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n` +
        `sec-websocket-protocol: ${SUBPROTOCOL}\r\n\r\n`,
    ));
    // The server says nothing before it is spoken to, so nothing follows the headers.
    const buffer = new Uint8Array(4 * 1024);
    let text = "";
    while (!text.endsWith("\r\n\r\n")) {
      const read = await tcp.read(buffer);
      if (read === null) {
        throw new Error(`The server closed instead of: 101; it said ${text}`);
      }
      text += new TextDecoder().decode(buffer.subarray(0, read));
    }
    if (!text.startsWith("HTTP/1.1 101")) throw new Error(`Refused: ${text}`);
    void connection.#read();
    return connection;
  }

  /** Sends one binary message. */
  send(payload: Uint8Array): void {
    this.#unsent.push(frameHeader(payload.length), payload);
    if (!this.#isWriting) void this.#flush();
  }

  /** Stops to read. */
  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  /** Reads again. */
  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  /** Ends it, as a lost peer does. */
  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#tcp.close();
  }

  async #flush(): Promise<void> {
    this.#isWriting = true;
    try {
      // All of one tick in one write.
      await Promise.resolve();
      while (this.#unsent.length > 0) {
        const parts = this.#unsent;
        this.#unsent = [];
        await this.#write(join(parts));
      }
    } catch {
      this.close();
    }
    this.#isWriting = false;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#tcp.write(bytes.subarray(at));
    }
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    try {
      for (;;) {
        await this.#paused?.promise;
        const read = await this.#tcp.read(buffer);
        if (read === null) break;
        this.bytes += read;
        this.#take(buffer.subarray(0, read));
        this.onRead?.();
      }
    } catch {
      // Closed by us, or reset by the server: the totals tell.
    }
    this.close();
  }

  #take(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0 || this.#payload) {
        at += this.#takePayload(chunk, at);
        continue;
      }
      this.#header[this.#headerBytes++] = chunk[at++]!;
      const length = this.#length();
      if (length === undefined) continue;
      this.#opcode = this.#header[0]! & 0x0f;
      if (this.#header[0]! >> 7 === 0) {
        throw new Error("The load takes no fragments");
      }
      this.#headerBytes = 0;
      this.#left = length;
      if (length === 0) this.#finish(undefined);
      else if (at + length <= chunk.length) {
        this.#left = 0;
        this.#finish(chunk.subarray(at, at + length));
        at += length;
      } else if (this.onMessage || this.#opcode >= CLOSE) {
        this.#payload = new Uint8Array(length);
      }
    }
  }

  #takePayload(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    this.#payload?.set(
      chunk.subarray(at, at + taken),
      this.#payload.length - this.#left,
    );
    this.#left -= taken;
    if (this.#left === 0) {
      const payload = this.#payload;
      this.#payload = undefined;
      this.#finish(payload);
    }
    return taken;
  }

  /** Length of the payload, once enough of the header is there. */
  #length(): number | undefined {
    if (this.#headerBytes < 2) return undefined;
    const short = this.#header[1]! & 0x7f;
    const needed = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (this.#headerBytes < needed) return undefined;
    if (short < 126) return short;
    const view = new DataView(this.#header.buffer);
    return short === 126 ? view.getUint16(2) : Number(view.getBigUint64(2));
  }

  #finish(payload: Uint8Array | undefined): void {
    if (this.#opcode === CLOSE) return this.close();
    if (this.#opcode !== BINARY) return;
    this.messages++;
    if (payload) this.onMessage?.(payload);
  }
}

/** A client must mask; with zeros that changes nothing. */
function frameHeader(length: number): Uint8Array {
  const small = length < 126;
  const header = new Uint8Array(small ? 6 : 8);
  header[0] = 0x80 | BINARY;
  header[1] = 0x80 | (small ? length : 126);
  if (!small) new DataView(header.buffer).setUint16(2, length);
  return header;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(
    parts.reduce((length, part) => length + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
