/**
 * Writes messages as frames of WebSocket, as `ws` does it for a server that
 * compresses nothing: between its own frames, in the order of the calls.
 *
 * `ws` makes a header for each peer and writes it apart. Here the frame of what goes
 * to many is made once and is one write, which is half of what a delivery costs.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";

/** The end of a message, of bytes (RFC 6455, section 5.2). */
const BINARY = 0x82;
/** Up to here a copy costs less than a second write. */
const COPIED_BYTES = 64 * 1024;

/** See the module's documentation. */
export class WsFramer {
  #bytes: Uint8Array | undefined;
  #frame: Buffer = Buffer.alloc(0);

  /** Writes a message of these bytes, which must not be changed afterwards. */
  write(bytes: Uint8Array, tcp: Duplex): void {
    if (bytes === this.#bytes) return void tcp.write(this.#frame);
    const { length } = bytes;
    const header = headerOf(length);
    if (length > COPIED_BYTES) {
      // Together, or TCP would wait for an answer between them.
      tcp.cork();
      tcp.write(header);
      tcp.write(bytes);
      return tcp.uncork();
    }
    const frame = Buffer.allocUnsafe(header.length + length);
    header.copy(frame);
    frame.set(bytes, header.length);
    this.#bytes = bytes;
    this.#frame = frame;
    tcp.write(frame);
  }
}

function headerOf(length: number): Buffer {
  if (length < 126) return Buffer.from([BINARY, length]);
  if (length < 2 ** 16) {
    const header = Buffer.allocUnsafe(4);
    header[0] = BINARY;
    header[1] = 126;
    header.writeUInt16BE(length, 2);
    return header;
  }
  const header = Buffer.allocUnsafe(10);
  header[0] = BINARY;
  header[1] = 127;
  header.writeUIntBE(length, 4, 6);
  header.writeUInt16BE(0, 2);
  return header;
}
