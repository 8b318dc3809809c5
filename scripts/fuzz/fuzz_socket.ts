/**
 * A WebSocket client on a bare TCP connection, that sends many messages in one
 * write and sees every close code.
 *
 * @module
 */
import { type DownFrame, SUBPROTOCOL } from "../../protocol/frames.ts";
import { concat, DownReader, type Message, type Peer } from "./peer.ts";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;

/** See the module's documentation. */
export class FuzzSocket implements Peer {
  readonly tooBigCode: number;
  /** How it ended: the close code, or 1006 where none came. */
  readonly ended: Promise<number>;
  /** Gets each frame. */
  onFrame: (frame: DownFrame) => void = () => {};
  /** The first thing that the server sent and must not have. */
  fault: string | undefined;
  readonly #tcp: Deno.TcpConn;
  #unread = new Uint8Array(0);
  #code = 1006;
  readonly #reader = new DownReader((frame) => this.onFrame(frame));

  private constructor(tcp: Deno.TcpConn, tooBigCode: number) {
    this.#tcp = tcp;
    this.tooBigCode = tooBigCode;
    this.ended = this.#read();
  }

  /** Connects and shakes hands. */
  static async open(port: number, tooBigCode: number): Promise<FuzzSocket> {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
    try {
      tcp.setNoDelay(true);
      await tcp.write(new TextEncoder().encode(
        `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nupgrade: websocket\r\n` +
          "connection: upgrade\r\nsec-websocket-version: 13\r\n" +
          "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
          `sec-websocket-protocol: ${SUBPROTOCOL}\r\n\r\n`,
      ));
      const buffer = new Uint8Array(1_024);
      let text = "";
      // The server says nothing before it is spoken to, so nothing follows the headers.
      while (!text.endsWith("\r\n\r\n")) {
        const read = await tcp.read(buffer);
        if (read === null) throw new Error(`The handshake ended: "${text}"`);
        text += new TextDecoder().decode(buffer.subarray(0, read));
      }
      if (!text.startsWith("HTTP/1.1 101")) throw new Error(text);
      return new FuzzSocket(tcp, tooBigCode);
    } catch (error) {
      tcp.close();
      throw error;
    }
  }

  /** Sends messages, all in one write. */
  async send(messages: readonly Message[]): Promise<void> {
    const bytes = joinMessages(messages);
    try {
      for (let at = 0; at < bytes.length;) {
        at += await this.#tcp.write(bytes.subarray(at));
      }
    } catch {
      // The server has ended the connection: the code tells.
    }
  }

  /** Ends it without a word, as a lost peer does. */
  close(): void {
    try {
      this.#tcp.close();
    } catch {
      // It has ended already.
    }
  }

  async #read(): Promise<number> {
    const buffer = new Uint8Array(64 * 1024);
    try {
      for (;;) {
        const read = await this.#tcp.read(buffer);
        if (read === null || !this.#take(buffer.subarray(0, read))) break;
      }
    } catch {
      // Reset, or closed by us.
    }
    this.close();
    return this.#code;
  }

  /** Takes what has come; false once a close frame is among it. */
  #take(chunk: Uint8Array): boolean {
    const bytes = this.#unread.length === 0
      ? chunk
      : concat([this.#unread, chunk]);
    let at = 0;
    for (;;) {
      const frame = readFrame(bytes, at);
      if (!frame) break;
      at = frame.end;
      const payload = bytes.subarray(frame.start, frame.end);
      if (frame.opcode === CLOSE) {
        if (payload.length >= 2) this.#code = payload[0]! * 256 + payload[1]!;
        return false;
      }
      if (frame.opcode === BINARY) this.fault ??= this.#reader.take(payload);
      else this.fault ??= `the server sent opcode ${frame.opcode}`;
    }
    this.#unread = bytes.slice(at);
    return true;
  }
}

function readFrame(
  bytes: Uint8Array,
  at: number,
): { opcode: number; start: number; end: number } | undefined {
  if (bytes.length < at + 2) return undefined;
  const opcode = bytes[at]! & 0x0f;
  let length = bytes[at + 1]! & 0x7f;
  let start = at + 2;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (length === 126) {
    if (bytes.length < at + 4) return undefined;
    length = view.getUint16(at + 2);
    start = at + 4;
  } else if (length === 127) {
    if (bytes.length < at + 10) return undefined;
    length = Number(view.getBigUint64(at + 2));
    start = at + 10;
  }
  const end = start + length;
  return end > bytes.length ? undefined : { opcode, start, end };
}

/** Messages as WebSocket frames; a client must mask, and with zeros that changes nothing. */
function joinMessages(messages: readonly Message[]): Uint8Array {
  const utf8 = new TextEncoder();
  return concat(messages.flatMap((message) => {
    const isText = typeof message === "string";
    const payload = isText ? utf8.encode(message) : message;
    return [maskedHeader(isText ? TEXT : BINARY, payload.length), payload];
  }));
}

function maskedHeader(opcode: number, length: number): Uint8Array {
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const header = new Uint8Array(6 + extra);
  const view = new DataView(header.buffer);
  header[0] = 0x80 | opcode;
  header[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
  if (extra === 2) view.setUint16(2, length);
  if (extra === 8) view.setBigUint64(2, BigInt(length));
  return header;
}
