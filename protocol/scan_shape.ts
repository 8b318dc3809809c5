/**
 * Where MessagePack values begin and end, whatever is in them. This module is
 * browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "./errors.ts";
import { keyDecoder } from "./key_decoder.ts";

/** One entry of a map, by its offsets. */
export interface Entry {
  /** The key. */
  readonly key: string;
  /** Offset of the value's first byte. */
  readonly start: number;
  /** Offset behind the value. */
  readonly end: number;
}

/**
 * The entries of the map at offset 0, whose values may hold faults; undefined if
 * it is no map or has a key that is not a string.
 */
export function findEntries(bytes: Uint8Array): Entry[] | undefined {
  const head = readHead(bytes, 0);
  if (head.kind !== "map") return undefined;
  const entries: Entry[] = [];
  let at = head.next;
  for (let i = 0; i < head.count; i++) {
    const keyHead = readHead(bytes, at);
    const start = measureValue(bytes, at).end;
    const end = measureValue(bytes, start).end;
    if (keyHead.kind !== "string") return undefined;
    entries.push({
      key: keyDecoder.decode(bytes, keyHead.next, start - keyHead.next),
      start,
      end,
    });
    at = end;
  }
  return entries;
}

/** First bytes of a value: what it is, where its content begins, and how much there is. */
interface Head {
  readonly kind: "scalar" | "string" | "array" | "map";
  /** Offset of the content. */
  readonly next: number;
  /** Bytes of a scalar or string, items of an array, entries of a map. */
  readonly count: number;
}

/**
 * End, nodes and depth of any well-formed value, however deep: there is no recursion.
 *
 * @throws {HeadwaterError} `bad_frame` if the bytes are not MessagePack or end too early.
 */
export function measureValue(
  bytes: Uint8Array,
  start: number,
): { end: number; nodes: number; depth: number } {
  const open: number[] = [];
  let [at, nodes, depth] = [start, 0, 0];
  do {
    if (open.length > 0) open[open.length - 1]!--;
    const head = readHead(bytes, at);
    nodes++;
    at = head.next;
    if (head.kind === "array" || head.kind === "map") {
      open.push(head.kind === "map" ? head.count * 2 : head.count);
      depth = Math.max(depth, open.length);
      if (open[open.length - 1]! > bytes.length - at) throw cutOff(bytes);
    } else {
      at += head.count;
      if (at > bytes.length) throw cutOff(bytes);
    }
    while (open.length > 0 && open[open.length - 1] === 0) open.pop();
  } while (open.length > 0);
  return { end: at, nodes, depth };
}

function readHead(bytes: Uint8Array, at: number): Head {
  const byte = bytes[at];
  if (byte === undefined) throw cutOff(bytes);
  const next = at + 1;
  if (byte < 0x80 || byte >= 0xe0) return { kind: "scalar", next, count: 0 };
  if (byte < 0x90) return { kind: "map", next, count: byte & 0x0f };
  if (byte < 0xa0) return { kind: "array", next, count: byte & 0x0f };
  if (byte < 0xc0) return { kind: "string", next, count: byte & 0x1f };
  if (byte === 0xc1) throw malformed(`byte 0xc1 at ${at} begins nothing`);
  if (byte <= 0xc3) return { kind: "scalar", next, count: 0 };
  const [kind, lengthBytes, extra] = HEADS[byte - 0xc4]!;
  if (next + lengthBytes > bytes.length) throw cutOff(bytes);
  let count = 0;
  for (let i = 0; i < lengthBytes; i++) count = count * 256 + bytes[next + i]!;
  return { kind, next: next + lengthBytes, count: count + extra };
}

/** From 0xc4 on: the kind, how many bytes hold its count, and what comes on top of the count. */
const HEADS: readonly (readonly [
  kind: Head["kind"],
  lengthBytes: number,
  extra: number,
])[] = [
  // bin 8, 16, 32
  ...([1, 2, 4].map((length) => ["scalar", length, 0] as const)),
  // ext 8, 16, 32: one byte more for the type
  ...([1, 2, 4].map((length) => ["scalar", length, 1] as const)),
  // float 32, 64; uint 8 to 64; int 8 to 64
  ...([4, 8, 1, 2, 4, 8, 1, 2, 4, 8].map((size) =>
    ["scalar", 0, size] as const
  )),
  // fixext 1, 2, 4, 8, 16
  ...([2, 3, 5, 9, 17].map((size) => ["scalar", 0, size] as const)),
  // str 8, 16, 32; array 16, 32; map 16, 32
  ...([1, 2, 4].map((length) => ["string", length, 0] as const)),
  ...([2, 4].map((length) => ["array", length, 0] as const)),
  ...([2, 4].map((length) => ["map", length, 0] as const)),
];

/** The error for bytes that are not MessagePack. */
export function malformed(detail: string): HeadwaterError {
  return new HeadwaterError("bad_frame", `Cannot decode: ${detail}`);
}

/** The error for a value that goes on behind the last byte. */
export function cutOff(bytes: Uint8Array): HeadwaterError {
  return malformed(`a value does not end within the ${bytes.length} bytes`);
}
