/**
 * Messages that no honest client sends, and what becomes of them: the codec's
 * cases as they look from the other end of a connection.
 *
 * @module
 */
import { encodeJson } from "../protocol/codec.ts";
import { CLOSE, PROTOCOL_VERSION } from "../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";

/** Id of the call in the messages that hold one. */
export const HOSTILE_CALL = 7;

/** One message, and what the server makes of it on a connection that was welcomed. */
export interface HostileMessage {
  readonly name: string;
  readonly message: Uint8Array<ArrayBuffer> | string;
  /** A close code, or the code of the error in a `res` or `err`, with its path where that is known. */
  readonly after: number | {
    readonly code: string;
    readonly path?: string;
    readonly of: "res" | "err";
  };
  /** Close code where it comes before hello. */
  readonly before?: number;
}

/** Bytes one after the other. */
function join(
  ...parts: (Uint8Array | readonly number[])[]
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function text(value: string): Uint8Array {
  return encodeJson(value);
}

/** A map of already encoded values. */
function map(
  entries: readonly (readonly [
    key: string | Uint8Array,
    value: Uint8Array | readonly number[],
  ])[],
) {
  const head = [0x80 + entries.length];
  return join(
    head,
    ...entries.flatMap((
      [key, value],
    ) => [typeof key === "string" ? text(key) : key, value]),
  );
}

/** A call of "echo" whose arguments are these bytes. */
function call(args: Uint8Array | readonly number[]): Uint8Array<ArrayBuffer> {
  return map([["t", [4]], ["i", [HOSTILE_CALL]], ["n", text("echo")], ["m", [
    0,
  ]], ["a", args]]);
}

/** A subscription whose name is these bytes. */
function sub(name: Uint8Array | readonly number[]): Uint8Array<ArrayBuffer> {
  return map([["t", [2]], ["n", name]]);
}

/** A function's name, as these bytes. */
function callOf(name: Uint8Array | readonly number[]): Uint8Array<ArrayBuffer> {
  return map([["t", [4]], ["i", [HOSTILE_CALL]], ["n", name], ["m", [0]]]);
}

function repeat(count: number, ...bytes: number[]): number[] {
  return Array.from({ length: count }, () => bytes).flat();
}

const FLOAT64 = (value: number) => {
  const bytes = new Uint8Array(9);
  bytes[0] = 0xcb;
  new DataView(bytes.buffer).setFloat64(1, value);
  return bytes;
};

const SURROGATE = [0xa3, 0xed, 0xa0, 0x80];
const BAD_FRAME = CLOSE.badFrame;
const value = (path: string) =>
  ({ code: "bad_value", path, of: "res" }) as const;
const limit = { code: "limit", of: "res" } as const;

/** `{ "a": [bytes] }`: what is refused has the path `/a/0`. */
function within(bytes: Uint8Array | readonly number[]): Uint8Array {
  return map([["a", join([0x91], bytes)]]);
}

function keyed(key: string): Uint8Array {
  return map([["x", map([[key, [1]]])]]);
}

/** Every case. */
export const HOSTILE_MESSAGES: readonly HostileMessage[] = [
  // Bytes that are no frames.
  { name: "an empty message", message: new Uint8Array(), after: BAD_FRAME },
  { name: "a text message", message: "hello", after: BAD_FRAME },
  {
    name: "a byte that MessagePack never uses",
    message: join([0xc1]),
    after: BAD_FRAME,
  },
  {
    name: "a frame that ends too early",
    message: call(text("abc")).slice(0, -2),
    after: BAD_FRAME,
  },
  {
    name: "a frame with garbage behind it",
    message: join(call(text("abc")), [0xc1]),
    after: BAD_FRAME,
  },
  {
    name: "a number in place of a frame",
    message: join([1]),
    after: BAD_FRAME,
  },
  {
    name: "an array in place of a frame",
    message: join([0x91, 0x80]),
    after: BAD_FRAME,
  },
  {
    name: "500 bytes of nested array32",
    message: join(repeat(100, 0xdd, 0, 0, 0xff, 0xff)),
    after: BAD_FRAME,
  },
  {
    name: "500 bytes of nested array32 as arguments",
    message: call(join(repeat(100, 0xdd, 0, 0, 0xff, 0xff))),
    after: BAD_FRAME,
  },
  {
    name: "nested map32 without end",
    message: join(repeat(100, 0xdf, 0xff, 0xff, 0xff, 0xff)),
    after: BAD_FRAME,
  },
  {
    name: "a text that claims 4 GiB",
    message: join([0xdb, 0xff, 0xff, 0xff, 0xff], [1]),
    after: BAD_FRAME,
  },
  {
    name: "an array that claims 4 G items",
    message: call([0xdd, 0xff, 0xff, 0xff, 0xff]),
    after: BAD_FRAME,
  },
  {
    name: "a message over the limit",
    message: call(
      join([0xda, 0xff, 0xff], new Uint8Array(300 * 1024).fill(0x61)),
    ),
    after: CLOSE.tooBig,
    before: CLOSE.tooBig,
  },
  // Frames that are none of the protocol.
  {
    name: "a frame without type",
    message: map([["n", text("Entries")]]),
    after: BAD_FRAME,
  },
  {
    name: "a frame of an unknown type",
    message: map([["t", [99]]]),
    after: BAD_FRAME,
  },
  {
    name: "a frame that only servers send",
    message: map([["t", [35]], ["i", [1]]]),
    after: BAD_FRAME,
  },
  {
    name: "a frame whose type is a text",
    message: map([["t", text("sub")]]),
    after: BAD_FRAME,
  },
  { name: "a sub without name", message: map([["t", [2]]]), after: BAD_FRAME },
  { name: "a sub with a number as name", message: sub([5]), after: BAD_FRAME },
  {
    name: "a sub with half a token",
    message: map([["t", [2]], ["n", text("Entries")], ["e", text("epoch")]]),
    after: BAD_FRAME,
  },
  {
    name: "a sub with a negative version",
    message: map([["t", [2]], ["n", text("Entries")], ["e", text("e")], ["v", [
      0xff,
    ]], ["w", text("w")]]),
    after: BAD_FRAME,
  },
  {
    name: "a call without number",
    message: map([["t", [4]], ["n", text("echo")], ["m", [0]]]),
    after: BAD_FRAME,
  },
  {
    name: "a call with number 0",
    message: map([["t", [4]], ["i", [0]], ["n", text("echo")], ["m", [0]]]),
    after: BAD_FRAME,
  },
  {
    name: "a call whose number is a fraction",
    message: map([["t", [4]], ["i", FLOAT64(1.5)], ["n", text("echo")], ["m", [
      0,
    ]]]),
    after: BAD_FRAME,
  },
  {
    name: "a call that awaits a later one",
    message: map([["t", [4]], ["i", [7]], ["n", text("echo")], ["m", [0]], [
      "o",
      [8],
    ]]),
    after: BAD_FRAME,
  },
  {
    name: "a hello of another version",
    message: map([["t", [1]], ["v", [PROTOCOL_VERSION + 1]]]),
    after: CLOSE.badVersion,
    before: CLOSE.badVersion,
  },
  {
    name: "a hello without version",
    message: map([["t", [1]]]),
    after: BAD_FRAME,
  },
  {
    name: "a hello with a number as session",
    message: map([["t", [1]], ["v", [1]], ["s", [5]]]),
    after: BAD_FRAME,
  },
  // Values that cannot be shared, in arguments: the call is refused, with the path.
  { name: "NaN", message: call(within(FLOAT64(NaN))), after: value("/a/0") },
  {
    name: "Infinity",
    message: call(within(FLOAT64(Infinity))),
    after: value("/a/0"),
  },
  {
    name: "-Infinity as float32",
    message: call(within([0xca, 0xff, 0x80, 0, 0])),
    after: value("/a/0"),
  },
  {
    name: "an integer that no double holds",
    message: call(within([0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1])),
    after: value("/a/0"),
  },
  { name: "bytes", message: call(within([0xc4, 1, 0])), after: value("/a/0") },
  {
    name: "a timestamp",
    message: call(within([0xd6, 0xff, 0, 0, 0, 0])),
    after: value("/a/0"),
  },
  {
    name: "fixext 1",
    message: call(within([0xd4, 1, 0])),
    after: value("/a/0"),
  },
  {
    name: "fixext 16",
    message: call(within([0xd8, 1, ...repeat(16, 0)])),
    after: value("/a/0"),
  },
  {
    name: "ext 8",
    message: call(within([0xc7, 1, 5, 0])),
    after: value("/a/0"),
  },
  {
    name: "ext 32 that claims 4 GiB",
    message: call(within([0xc9, 0xff, 0xff, 0xff, 0xff, 1])),
    after: BAD_FRAME,
  },
  {
    name: "a lone surrogate",
    message: call(within(SURROGATE)),
    after: value("/a/0"),
  },
  {
    name: "a text that is not UTF-8",
    message: call(within([0xa1, 0xff])),
    after: value("/a/0"),
  },
  {
    name: "an overlong text",
    message: call(within([0xa2, 0xc0, 0x80])),
    after: value("/a/0"),
  },
  {
    name: "__proto__",
    message: call(keyed("__proto__")),
    after: value("/x/__proto__"),
  },
  {
    name: "constructor",
    message: call(keyed("constructor")),
    after: value("/x/constructor"),
  },
  {
    name: "prototype",
    message: call(keyed("prototype")),
    after: value("/x/prototype"),
  },
  {
    name: "a key twice",
    message: call(map([["k", [1]], ["k", [2]]])),
    after: { code: "bad_value", of: "res" },
  },
  {
    name: "a number as key",
    message: call([0x81, 1, 1]),
    after: { code: "bad_value", of: "res" },
  },
  {
    name: "a lone surrogate as key",
    message: call(join([0x81], SURROGATE, [1])),
    after: { code: "bad_value", of: "res" },
  },
  {
    name: "a value that nests one too deep",
    message: call(join(repeat(DEFAULT_LIMITS.depth + 1, 0x91), [1])),
    after: limit,
  },
  {
    name: "a value that nests thousands deep",
    message: call(join(repeat(20_000, 0x91), [1])),
    after: limit,
  },
  {
    name: "more values than may be",
    message: call(
      join([0xdd, 0, 1, 0x86, 0xa1], new Uint8Array(100_001).fill(1)),
    ),
    after: limit,
  },
  // The same outside of arguments: no frame can be answered that cannot be read.
  {
    name: "__proto__ as field of a frame",
    message: map([["t", [5]], ["__proto__", [1]]]),
    after: BAD_FRAME,
  },
  {
    name: "a field twice",
    message: map([["t", [5]], ["t", [5]]]),
    after: BAD_FRAME,
  },
  {
    name: "a frame that nests too deep",
    message: map([["t", join(repeat(100, 0x91), [1])]]),
    after: BAD_FRAME,
  },
  {
    name: "an ext type as store name",
    message: sub([0xd4, 1, 0]),
    after: BAD_FRAME,
  },
  {
    name: "a store name that is a lone surrogate",
    message: sub(SURROGATE),
    after: BAD_FRAME,
  },
  {
    name: "a function name that is a lone surrogate",
    message: callOf(SURROGATE),
    after: BAD_FRAME,
  },
  // Names: that request is refused.
  {
    name: "an empty store name",
    message: sub(text("")),
    after: { code: "bad_name", of: "err" },
  },
  {
    name: "a long store name",
    message: sub(text("x".repeat(201))),
    after: { code: "limit", of: "err" },
  },
  {
    name: "an empty function name",
    message: callOf(text("")),
    after: { code: "bad_name", of: "res" },
  },
  {
    name: "a long function name",
    message: callOf(text("x".repeat(201))),
    after: { code: "limit", of: "res" },
  },
  {
    name: "a store name with a NUL",
    message: sub(text("Room:a\0b")),
    after: { code: "bad_name", of: "err" },
  },
  {
    name: "a store named __proto__",
    message: sub(text("__proto__")),
    after: { code: "store_missing", of: "err" },
  },
  {
    name: "a function named __proto__",
    message: callOf(text("__proto__")),
    after: { code: "function_missing", of: "res" },
  },
  {
    name: "a function named constructor",
    message: callOf(text("constructor")),
    after: { code: "function_missing", of: "res" },
  },
];
