import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeDown, encodeUp, joinUp } from "../protocol/client_codec.ts";
import { copyClean } from "../protocol/copy_clean.ts";
import { decodeJson, encodeFrame, encodeJson } from "../protocol/codec.ts";
import { PackReader } from "../protocol/pack_reader.ts";
import { PackWriter } from "../protocol/pack_writer.ts";
import { cleanValue, type Json } from "../protocol/value.ts";
import { anyJson } from "./_arbitraries.ts";

/** Values where the kind of their first byte changes. */
const BORDERS: readonly Json[] = [
  ...[7, 8, 15, 16, 31, 32, 53].flatMap((bits) =>
    [-1, 0, 1].flatMap((more) => [2 ** bits + more, -(2 ** bits) + more])
  ).filter(Number.isSafeInteger),
  ...[-33, -32, -1, 0, 127, 128, 1.5, -0.1, 2 ** 60, 5e-324],
  ...[0, 1, 15, 16, 23, 24, 25, 31, 32, 255, 256, 65_535, 65_536].flatMap((
    length,
  ) => [
    "a".repeat(length),
    "é".repeat(length),
    "日".repeat(length),
    new Array(length).fill(null),
    Object.fromEntries(Array.from({ length }, (_, n) => [`k${n}`, n])),
  ]),
  "😀 \ufeff",
  "\ufeffmarked",
  { "": { "é": [[], {}] } },
];

Deno.test("PackWriter writes the bytes that the server's encoder writes", () => {
  const writer = new PackWriter();
  for (const value of BORDERS) {
    assert.deepEqual(writer.write(value), encodeJson(value));
  }
  fc.assert(fc.property(anyJson(), (value) => {
    assert.deepEqual(writer.write(value), encodeJson(value));
  }));
});

Deno.test("PackWriter leaves out what is undefined, and writes never again into what it gave", () => {
  const writer = new PackWriter();
  const first = writer.write({ t: 1, a: undefined, b: "kept" });
  const copy = first.slice();
  writer.write("another value that is as long");
  assert.deepEqual(first, copy);
  assert.deepEqual(first, encodeJson({ t: 1, b: "kept" }));
});

Deno.test("PackReader reads what decodeJson() reads", () => {
  for (const value of BORDERS) {
    assert.deepStrictEqual(
      new PackReader(encodeJson(value)).read(),
      decodeJson(encodeJson(value)),
    );
  }
  fc.assert(fc.property(anyJson(), (value) => {
    const bytes = encodeJson(value);
    // Not at the beginning of its buffer, as a message in parts is not.
    const shifted = new Uint8Array([0xc1, ...bytes]).subarray(1);
    assert.deepStrictEqual(new PackReader(shifted).read(), decodeJson(bytes));
  }));
});

Deno.test("PackReader makes 0 of -0, also of one of four bytes", () => {
  for (const hex of ["cb8000000000000000", "ca80000000"]) {
    const value = new PackReader(Uint8Array.fromHex(hex)).read();
    assert.ok(Object.is(value, 0), hex);
  }
});

Deno.test("PackReader refuses what is no JSON, and what the bytes do not hold", () => {
  const refused = {
    "nothing": "",
    "the byte that begins nothing": "c1",
    "binary": "c40100",
    "an extension": "d40000",
    "NaN": "cb7ff8000000000000",
    "an infinity of four bytes": "ca7f800000",
    "an integer over 2^53": "cf0020000000000000",
    "one below -2^53": "d3ffdfffffffffffff",
    "a key that is a number": "810101",
    "a key that is a map": "8180c0",
    "__proto__": `81a9${hexOf("__proto__")}c0`,
    "constructor": `81ab${hexOf("constructor")}c0`,
    "a text that is cut": "a5616263",
    "a text that is not UTF-8": "a2c328",
    "a short text with half a surrogate": "a3eda080",
    "an array of 4 billion": "ddffffffff00",
    "a map of 4 billion": "dfffffffffa16100",
    "an array in itself 600 times": "91".repeat(600) + "c0",
  };
  for (const [what, hex] of Object.entries(refused)) {
    assert.throws(
      () => new PackReader(Uint8Array.fromHex(hex)).read(),
      Error,
      what,
    );
    assert.throws(
      () => decodeDown(Uint8Array.fromHex(hex)),
      { code: "bad_frame" },
      what,
    );
  }
});

Deno.test("decodeDown() reads frame after frame, and encodeUp() is encodeFrame()", () => {
  const frames = [{ type: "pong" }, { type: "del", name: "A" }] as const;
  const message = joinUp(frames.map((frame) => encodeFrame(frame)));
  assert.deepStrictEqual(decodeDown(message), frames);
  const hello = { type: "hello", protocol: 1, parts: true } as const;
  assert.deepEqual(encodeUp(hello), encodeFrame(hello));
});

Deno.test("copyClean() gives what cleanValue() gives, and nothing where that refuses", () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const nested = (depth: number): unknown =>
    depth === 0 ? 1 : { in: nested(depth - 1) };
  const bomb = Array.from({ length: 30 }).reduce<unknown>(
    (inner) => [inner, inner],
    [],
  );
  const odd = [
    ...BORDERS,
    ...[undefined, NaN, Infinity, -0, 1n, Symbol("s"), () => {}, "\ud800"],
    ...[new Date(), new Map(), new Uint8Array(1), /x/, new Error("e")],
    ...[[undefined], new Array(3), { a: undefined }, Object.create(null)],
    ...[{ "\ud800": 1 }, { [Symbol("s")]: 1 }, Object.create({ a: 1 })],
    ...[JSON.parse('{"__proto__":1}'), { constructor: 1 }, {
      get a() {
        return 1;
      },
    }],
    ...[
      cyclic,
      nested(64),
      nested(65),
      bomb,
      class {},
      new (class extends Array {})(),
    ],
  ];
  for (const value of odd) {
    assert.deepStrictEqual(copyClean(value), tried(value));
  }
  fc.assert(fc.property(fc.anything({ withNullPrototype: true }), (value) => {
    assert.deepStrictEqual(copyClean(value), tried(value));
  }));
  fc.assert(fc.property(anyJson(), (value) => {
    const copy = copyClean(value);
    assert.deepStrictEqual(copy, value);
    if (typeof value === "object" && value !== null) assert.ok(copy !== value);
  }));
});

function tried(value: unknown): Json | undefined {
  try {
    return cleanValue(value);
  } catch {
    return undefined;
  }
}

function hexOf(text: string): string {
  return new TextEncoder().encode(text).toHex();
}
