/**
 * Reads values from MessagePack in one pass, for who trusts the sender not to be
 * hostile, though not to be without faults. This module is browser compatible.
 *
 * @module
 */
import { isForbiddenKey, type Json } from "./json.ts";

/** Nesting that the stack bears. */
const DEPTH = 512;
/** Shorter texts are put together here: the decoder takes longer to begin. */
const SHORT = 24;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads one value after the other.
 *
 * - Whatever the bytes say, it takes no more time and memory than there are bytes.
 * - What it gives is JSON: anything else in the bytes throws, as does a key that
 *   reaches an object's prototype.
 */
export class PackReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  /** Begins at the first byte. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Whether nothing follows. */
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /**
   * The next value.
   *
   * @throws {Error} of any class, where there is none.
   */
  read(depth = DEPTH): Json {
    const byte = this.#uint(1);
    if (byte < 0x80) return byte;
    if (byte < 0x90) return this.#map(byte & 0x0f, depth);
    if (byte < 0xa0) return this.#array(byte & 0x0f, depth);
    if (byte < 0xc0) return this.#text(byte & 0x1f);
    if (byte >= 0xe0) return byte - 0x100;
    switch (byte) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return toFinite(this.#view.getFloat32(this.#skip(4)));
      case 0xcb:
        return toFinite(this.#view.getFloat64(this.#skip(8)));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (byte - 0xcc));
      case 0xcf:
        return toSafe(this.#uint(4) * 2 ** 32 + this.#uint(4));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return toSafe(
          this.#view.getInt32(this.#skip(4)) * 2 ** 32 + this.#uint(4),
        );
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (byte - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(2 << (byte - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (byte - 0xde)), depth);
      default:
        return refuse();
    }
  }

  #array(count: number, depth: number): Json {
    if (depth <= 0) return refuse();
    // Grown as items come: a count may be a lie.
    const array: Json[] = [];
    while (count-- > 0) array.push(this.read(depth - 1));
    return array;
  }

  #map(count: number, depth: number): Json {
    if (depth <= 0) return refuse();
    const map: Record<string, Json> = {};
    while (count-- > 0) {
      const key = this.read(0);
      if (typeof key !== "string" || isForbiddenKey(key)) {
        return refuse();
      }
      map[key] = this.read(depth - 1);
    }
    return map;
  }

  #text(length: number): string {
    const start = this.#skip(length);
    const end = this.#at;
    if (end > this.#bytes.length) return refuse();
    let text = "";
    for (let at = start; length <= SHORT; at++) {
      if (at === end) return text;
      const byte = this.#bytes[at]!; // in range
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    return utf8.decode(this.#bytes.subarray(start, end));
  }

  #uint(size: number): number {
    const at = this.#skip(size);
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  /** Moves on, and returns where it was: the view throws beyond its end. */
  #skip(length: number): number {
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

function toFinite(value: number): number {
  // -0 would differ from what the sender has in memory.
  return Number.isFinite(value) ? value + 0 : refuse();
}

function toSafe(value: number): number {
  return Number.isSafeInteger(value) ? value : refuse();
}

/** Which of its rules it breaks is of no use to who cannot change the sender. */
function refuse(): never {
  throw new TypeError("the bytes are no JSON in MessagePack");
}
