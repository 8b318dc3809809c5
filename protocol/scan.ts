/**
 * Walks over MessagePack bytes before anything is built from them: finds where
 * a value ends and whether it is one that Headwater takes. Linear in the bytes,
 * allocates next to nothing. This module is browser compatible.
 *
 * The decoder behind it believes what a header says: 500 bytes of nested array
 * headers cost it seconds and half a gigabyte. After a scan every count is
 * covered by bytes that are there.
 *
 * @module
 */
import { keyDecoder } from "./key_decoder.ts";
import { cutOff, malformed, measureValue } from "./scan_shape.ts";
import { isUtf8, startsWithMark } from "./scan_text.ts";

/** What {@linkcode scanValue} needs to know. */
export interface ScanOptions {
  /** Offset of the value; 0 by default. */
  readonly start?: number;
  /** How deep arrays and maps may nest; a number alone has depth 0, `[]` has 1. */
  readonly depth: number;
  /** How many values and keys there may be. */
  readonly nodes: number;
}

/** Why a well-formed MessagePack value is refused. */
export interface Fault {
  /** Keys and indices that lead to it from the value scanned. */
  readonly path: readonly (string | number)[];
  /** What is wrong, as the end of a sentence. */
  readonly reason: string;
  /** The limit that it is over, and what was sent. */
  readonly limit?: {
    readonly name: "depth" | "nodes";
    readonly actual: number;
  };
}

/** What a scan found out. */
export interface Scanned {
  /** Offset of the first byte behind the value. */
  readonly end: number;
  /** Present where the value is well-formed but refused. */
  readonly fault?: Fault;
  /** True where it holds -0 or a text that begins with a byte order mark. */
  readonly isDelicate: boolean;
}

/**
 * Scans the MessagePack value at `options.start`. Bytes behind it are not looked at.
 *
 * @throws {HeadwaterError} `bad_frame` if the bytes are not MessagePack or end too early.
 */
export function scanValue(bytes: Uint8Array, options: ScanOptions): Scanned {
  const start = options.start ?? 0;
  const scanner = new Scanner(bytes, { ...options, start });
  if (scanner.value(1)) {
    return { end: scanner.position, isDelicate: scanner.isDelicate };
  }
  const { end, nodes, depth } = measureValue(bytes, start);
  const { reason, limit } = scanner;
  const path = scanner.path.reverse();
  if (limit === undefined) {
    return { end, isDelicate: false, fault: { path, reason } };
  }
  const actual = limit === "depth" ? depth : nodes;
  return {
    end,
    isDelicate: false,
    fault: { path, reason, limit: { name: limit, actual } },
  };
}

/** Maps up to this size compare their keys one by one; larger ones use a set. */
const FEW_KEYS = 12;

class Scanner {
  position: number;
  isDelicate = false;
  reason = "";
  limit: "depth" | "nodes" | undefined;
  /** From the fault outwards. */
  readonly path: (string | number)[] = [];
  readonly #bytes: Uint8Array;
  readonly #depth: number;
  readonly #nodes: number;
  #seen = 0;
  /** Start and end of each key of the maps that are open. */
  readonly #keys: number[] = [];

  constructor(bytes: Uint8Array, options: ScanOptions & { start: number }) {
    this.#bytes = bytes;
    this.#depth = options.depth;
    this.#nodes = options.nodes;
    this.position = options.start;
  }

  /** Scans one value; false: `reason` and `path` say what is wrong with it. */
  value(depth: number): boolean {
    const byte = this.#take(1);
    if (++this.#seen > this.#nodes) {
      return this.#refuse("it has too many values and keys", "nodes");
    }
    if (byte < 0x80 || byte >= 0xe0) return true;
    if (byte < 0x90) return this.#map(byte & 0x0f, depth);
    if (byte < 0xa0) return this.#array(byte & 0x0f, depth);
    if (byte < 0xc0) return this.#text(byte & 0x1f);
    switch (byte) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return true;
      case 0xca:
        return this.#float32();
      case 0xcb:
        return this.#float64();
      case 0xcc:
      case 0xd0:
        return this.#skip(1);
      case 0xcd:
      case 0xd1:
        return this.#skip(2);
      case 0xce:
      case 0xd2:
        return this.#skip(4);
      case 0xcf:
        return this.#uint64();
      case 0xd3:
        return this.#int64();
      case 0xd9:
        return this.#text(this.#uint(1));
      case 0xda:
        return this.#text(this.#uint(2));
      case 0xdb:
        return this.#text(this.#uint(4));
      case 0xdc:
        return this.#array(this.#uint(2), depth);
      case 0xdd:
        return this.#array(this.#uint(4), depth);
      case 0xde:
        return this.#map(this.#uint(2), depth);
      case 0xdf:
        return this.#map(this.#uint(4), depth);
      case 0xc1:
        throw malformed(`byte 0xc1 at ${this.position - 1} begins nothing`);
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#refuse("it is binary");
      default:
        return this.#refuse("it is a MessagePack extension");
    }
  }

  #refuse(reason: string, limit?: "depth" | "nodes"): false {
    this.reason = reason;
    this.limit = limit;
    return false;
  }

  /** Moves over `length` bytes and returns the first. */
  #take(length: number): number {
    const at = this.position;
    this.position = at + length;
    if (this.position > this.#bytes.length) throw cutOff(this.#bytes);
    return this.#bytes[at]!;
  }

  #skip(length: number): true {
    this.#take(length);
    return true;
  }

  #uint(length: 1 | 2 | 4): number {
    let number = 0;
    for (let i = 0; i < length; i++) number = number * 256 + this.#take(1);
    return number;
  }

  #float32(): boolean {
    const at = this.position;
    this.#take(4);
    const [first, second] = [this.#bytes[at]!, this.#bytes[at + 1]!];
    if ((first & 0x7f) === 0x7f && second >= 0x80) {
      return this.#refuse("it is NaN or infinite");
    }
    if (first === 0x80) {
      this.isDelicate ||= isZero(this.#bytes, at + 1, this.position);
    }
    return true;
  }

  #float64(): boolean {
    const at = this.position;
    this.#take(8);
    const [first, second] = [this.#bytes[at]!, this.#bytes[at + 1]!];
    if ((first & 0x7f) === 0x7f && second >= 0xf0) {
      return this.#refuse("it is NaN or infinite");
    }
    if (first === 0x80) {
      this.isDelicate ||= isZero(this.#bytes, at + 1, this.position);
    }
    return true;
  }

  #uint64(): boolean {
    const high = this.#uint(4);
    this.#take(4);
    // The decoder would round what is over 2^53 - 1 to some other integer.
    return high < 0x20_0000 || this.#refuse("it is an integer over 2^53 - 1");
  }

  #int64(): boolean {
    const high = this.#uint(4) | 0;
    const low = this.#uint(4);
    const isSafe = high < 0x20_0000 &&
      (high > -0x20_0000 || (high === -0x20_0000 && low > 0));
    return isSafe || this.#refuse("it is an integer beyond 2^53 - 1");
  }

  #text(length: number): boolean {
    const at = this.position;
    if (length === 0) return true;
    this.#take(length);
    if (!isUtf8(this.#bytes, at, this.position)) {
      return this.#refuse("it is not valid UTF-8");
    }
    if (this.#bytes[at] === 0xef) {
      this.isDelicate ||= startsWithMark(this.#bytes, at, this.position);
    }
    return true;
  }

  #array(count: number, depth: number): boolean {
    if (depth > this.#depth) {
      return this.#refuse("it is nested too deep", "depth");
    }
    this.#expect(count);
    for (let i = 0; i < count; i++) {
      if (this.value(depth + 1)) continue;
      this.path.push(i);
      return false;
    }
    return true;
  }

  #map(count: number, depth: number): boolean {
    if (depth > this.#depth) {
      return this.#refuse("it is nested too deep", "depth");
    }
    this.#expect(count * 2);
    const firstKey = this.#keys.length;
    const names = count > FEW_KEYS ? new Set<string>() : undefined;
    for (let i = 0; i < count; i++) {
      const keyLength = this.#keyLength();
      const start = this.position;
      if (keyLength < 0) {
        return this.#refuse("it is a map with a key that is not a string");
      }
      if (++this.#seen > this.#nodes) {
        return this.#refuse("it has too many values and keys", "nodes");
      }
      if (!this.#text(keyLength)) {
        return this.#refuse("it has a key that is not valid UTF-8");
      }
      const end = this.position;
      if (
        (keyLength === 9 || keyLength === 11) &&
        isForbiddenKey(this.#bytes, start, end)
      ) {
        this.path.push(this.#key(start, end));
        return this.#refuse("the key is not allowed");
      }
      if (this.#isRepeated(firstKey, start, names)) {
        return this.#refuse(
          `it has the key "${
            this.#key(start, end).slice(0, 40).toWellFormed()
          }" twice`,
        );
      }
      if (this.value(depth + 1)) continue;
      this.path.push(this.#key(start, end));
      return false;
    }
    this.#keys.length = firstKey;
    return true;
  }

  #key(start: number, end: number): string {
    return keyDecoder.decode(this.#bytes, start, end - start);
  }

  /** Each thing announced takes a byte at least: a count beyond that is a lie. */
  #expect(count: number): void {
    if (count > this.#bytes.length - this.position) throw cutOff(this.#bytes);
  }

  /** Length of the string that begins here; -1 if something else begins here. */
  #keyLength(): number {
    const byte = this.#take(1);
    if (byte >= 0xa0 && byte < 0xc0) return byte & 0x1f;
    if (byte === 0xd9) return this.#uint(1);
    if (byte === 0xda) return this.#uint(2);
    if (byte === 0xdb) return this.#uint(4);
    return -1;
  }

  /** Whether the key from `start` to the position is among the map's earlier ones; notes it. */
  #isRepeated(
    firstKey: number,
    start: number,
    names: Set<string> | undefined,
  ): boolean {
    const end = this.position;
    if (names !== undefined) {
      // Strings, since the engine seeds their hash: own hashes could be made to collide.
      const before = names.size;
      return names.add(this.#key(start, end)).size === before;
    }
    const keys = this.#keys;
    for (let i = firstKey; i < keys.length; i += 2) {
      const [otherStart, otherEnd] = [keys[i]!, keys[i + 1]!];
      if (otherEnd - otherStart !== end - start) continue;
      let same = 0;
      while (
        start + same < end &&
        this.#bytes[start + same] === this.#bytes[otherStart + same]
      ) same++;
      if (start + same === end) return true;
    }
    keys.push(start, end);
    return false;
  }
}

/** The keys that reach an object's prototype, by their bytes. */
const FORBIDDEN_KEYS = ["__proto__", "prototype", "constructor"].map((key) =>
  new TextEncoder().encode(key)
);

function isForbiddenKey(
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  return FORBIDDEN_KEYS.some((key) => {
    if (key.length !== end - start) return false;
    return key.every((byte, i) => bytes[start + i] === byte);
  });
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
