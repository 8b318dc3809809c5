import assert from "node:assert/strict";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { HeadwaterError } from "../protocol/errors.ts";
import { type Scanned, scanValue } from "../protocol/scan.ts";
import { anyJson } from "./_arbitraries.ts";

const WIDE = { depth: 64, nodes: 100_000 };

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

function scan(hex: string): Scanned {
  return scanValue(bytesOf(hex), WIDE);
}

function assertMalformed(bytes: Uint8Array): void {
  assert.throws(
    () => scanValue(bytes, WIDE),
    (error) => error instanceof HeadwaterError && error.code === "bad_frame",
  );
}

/** What a fault says: its path and its reason. */
function faultOf(hex: string): string {
  const { fault } = scan(hex);
  return fault === undefined
    ? "none"
    : `${fault.path.join("/")}: ${fault.reason}`;
}

Deno.test("scanValue() finds the end of any value, in front of any other bytes", () => {
  fc.assert(
    fc.property(anyJson(), fc.uint8Array({ maxLength: 8 }), (value, rest) => {
      const bytes = encode(value);
      const scanned = scanValue(new Uint8Array([...bytes, ...rest]), WIDE);
      assert.equal(scanned.end, bytes.length);
      assert.equal(scanned.fault, undefined);
    }),
  );
});

Deno.test("scanValue() begins where it is told", () => {
  assert.equal(
    scanValue(bytesOf("c0 a2 68 69 c0"), { ...WIDE, start: 1 }).end,
    4,
  );
});

Deno.test("scanValue() refuses any value that is cut off", () => {
  fc.assert(fc.property(anyJson(), (value) => {
    const bytes = encode(value);
    for (let length = 0; length < bytes.length; length++) {
      assertMalformed(bytes.subarray(0, length));
    }
  }));
});

Deno.test("scanValue() takes every header in its longer forms", () => {
  for (
    const [hex, value] of [
      ["cc 05", 5],
      ["cd 0005", 5],
      ["ce 00000005", 5],
      ["cf 0000000000000005", 5],
      ["d0 fb", -5],
      ["d1 fffb", -5],
      ["d2 fffffffb", -5],
      ["d3 fffffffffffffffb", -5],
      ["cf 001fffffffffffff", 2 ** 53 - 1],
      ["d3 001fffffffffffff", 2 ** 53 - 1],
      ["d3 ffe0000000000001", 1 - 2 ** 53],
      ["ca 3f000000", 0.5],
      ["ca 7f7fffff", 3.4028234663852886e38],
      ["cb 7fefffffffffffff", Number.MAX_VALUE],
      ["cb 0000000000000001", Number.MIN_VALUE],
      ["d9 01 61", "a"],
      ["da 0001 61", "a"],
      ["db 00000001 61", "a"],
      ["dc 0001 c0", [null]],
      ["dd 00000001 c0", [null]],
      ["de 0001 a1 61 c3", { a: true }],
      ["df 00000001 da 0001 61 c2", { a: false }],
    ] as const
  ) {
    assert.equal(faultOf(hex), "none", hex);
    assert.equal(scan(hex).end, bytesOf(hex).length, hex);
    assert.deepStrictEqual(decode(bytesOf(hex)), value, hex);
  }
});

Deno.test("scanValue() refuses what is not JSON, with the path", () => {
  for (
    const [hex, says] of [
      ["cb 7ff8000000000000", ": it is NaN or infinite"],
      ["cb fff0000000000000", ": it is NaN or infinite"],
      ["ca 7f800000", ": it is NaN or infinite"],
      ["ca ffc00000", ": it is NaN or infinite"],
      ["92 c0 91 cb 7ff0000000000000", "1/0: it is NaN or infinite"],
      ["cf 0020000000000000", ": it is an integer over 2^53 - 1"],
      ["cf ffffffffffffffff", ": it is an integer over 2^53 - 1"],
      ["d3 0020000000000000", ": it is an integer beyond 2^53 - 1"],
      ["d3 ffe0000000000000", ": it is an integer beyond 2^53 - 1"],
      ["d3 8000000000000000", ": it is an integer beyond 2^53 - 1"],
      ["81 a1 61 c4 01 00", "a: it is binary"],
      ["c5 0001 00", ": it is binary"],
      ["c6 00000001 00", ": it is binary"],
      ["c7 01 05 00", ": it is a MessagePack extension"],
      ["c8 0001 05 00", ": it is a MessagePack extension"],
      ["c9 00000001 05 00", ": it is a MessagePack extension"],
      ["d4 05 00", ": it is a MessagePack extension"],
      ["d6 ff 00000000", ": it is a MessagePack extension"],
      ["d7 ff 0000000000000000", ": it is a MessagePack extension"],
      [
        "d8 05 00000000000000000000000000000000",
        ": it is a MessagePack extension",
      ],
      ["81 05 c0", ": it is a map with a key that is not a string"],
      ["81 c0 c0", ": it is a map with a key that is not a string"],
      ["91 82 a1 61 01 a1 61 02", `0: it has the key "a" twice`],
      ["81 a9 5f5f70726f746f5f5f 80", "__proto__: the key is not allowed"],
      ["81 d9 09 5f5f70726f746f5f5f 80", "__proto__: the key is not allowed"],
      ["81 a9 70726f746f74797065 80", "prototype: the key is not allowed"],
      [
        "81 a1 61 81 ab 636f6e7374727563746f72 80",
        "a/constructor: the key is not allowed",
      ],
      ["81 a1 ff c0", ": it has a key that is not valid UTF-8"],
    ] as const
  ) {
    assert.equal(faultOf(hex), says, hex);
    assert.equal(scan(hex).end, bytesOf(hex).length, `end of ${hex}`);
  }
});

Deno.test("scanValue() refuses what is not UTF-8 by RFC 3629", () => {
  for (
    const hex of [
      "80",
      "c080",
      "c1bf",
      "c3",
      "c328",
      "e08080",
      "e28228",
      "eda080",
      "edbfbf",
      "f08080 80",
      "f4908080",
      "f5808080",
      "e282",
      "ff",
    ]
  ) {
    const text = bytesOf(hex);
    const bytes = new Uint8Array([0x91, 0xa0 + text.length, ...text]);
    assert.equal(
      scanValue(bytes, WIDE).fault?.reason,
      "it is not valid UTF-8",
      hex,
    );
    assert.deepEqual(scanValue(bytes, WIDE).fault?.path, [0]);
  }
});

Deno.test("scanValue() and TextDecoder agree on what UTF-8 is", () => {
  const fatal = new TextDecoder("utf-8", { fatal: true });
  // Bytes near the borders of the ranges, since random ones hardly ever come near to being right.
  const borders = [
    0x00,
    0x41,
    0x7f,
    0x80,
    0x8f,
    0x90,
    0x9f,
    0xa0,
    0xbf,
    0xc1,
    0xc2,
    0xdf,
    0xe0,
    0xe1,
    0xec,
  ];
  const byte = fc.constantFrom(
    ...borders,
    0xed,
    0xee,
    0xef,
    0xf0,
    0xf1,
    0xf3,
    0xf4,
    0xf5,
    0xff,
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 5 }), (text) => {
      let isRight = true;
      try {
        fatal.decode(new Uint8Array(text));
      } catch {
        isRight = false;
      }
      assert.equal(
        scanValue(new Uint8Array([0xa0 + text.length, ...text]), WIDE).fault ===
          undefined,
        isRight,
      );
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("scanValue() refuses counts and lengths that the bytes cannot hold", () => {
  for (
    const hex of [
      "",
      "dd ffffffff",
      "df ffffffff",
      "db ffffffff",
      "c6 ffffffff",
      "c9 ffffffff 01",
      "dc 0002 c0",
      "82 a1 61 c0",
      "91",
      "a1",
      "cb 00",
      "d9",
      "c1",
      "91 c1",
    ]
  ) assertMalformed(bytesOf(hex));
});

Deno.test("scanValue() finds what is malformed behind a fault too", () => {
  assertMalformed(bytesOf("92 c4 01 00 c1"));
  assertMalformed(bytesOf("92 c4 01 00"));
});

Deno.test("scanValue() counts nesting as containers within each other", () => {
  const nested = (depth: number) =>
    new Uint8Array([...new Array(depth).fill(0x91), 0xc0]);
  assert.equal(scanValue(nested(64), WIDE).fault, undefined);
  for (const depth of [65, 10_000]) {
    const { fault, end } = scanValue(nested(depth), WIDE);
    assert.deepEqual(fault?.limit, { name: "depth", actual: depth });
    assert.equal(fault?.path.length, 64);
    assert.equal(end, depth + 1);
  }
  const maps = new Uint8Array([
    ...new Array(65).fill([0x81, 0xa1, 0x61]).flat(),
    0xc0,
  ]);
  assert.deepEqual(scanValue(maps, WIDE).fault?.limit, {
    name: "depth",
    actual: 65,
  });
});

Deno.test("scanValue() counts values and keys", () => {
  const value = { a: [1, 2], b: { c: null } }; // 3 keys; the map, 2 containers, 3 scalars
  assert.equal(
    scanValue(encode(value), { depth: 64, nodes: 9 }).fault,
    undefined,
  );
  assert.deepEqual(
    scanValue(encode(value), { depth: 64, nodes: 8 }).fault?.limit,
    {
      name: "nodes",
      actual: 9,
    },
  );
  const many = encode(new Array(500).fill(0));
  assert.deepEqual(scanValue(many, { depth: 64, nodes: 100 }).fault?.limit, {
    name: "nodes",
    actual: 501,
  });
});

Deno.test("scanValue() finds a repeated key among few and among many", () => {
  for (const count of [2, 5, 12, 13, 500]) {
    const object = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`k${1000 + i}`, [{ k1000: i }]]),
    );
    const bytes = encode(object);
    assert.equal(scanValue(bytes, WIDE).fault, undefined, `${count} keys`);
    // The last key becomes the first one.
    const text = new TextEncoder().encode(`k${1000 + count - 1}`);
    const at = bytes.length - encode([{ k1000: count - 1 }]).length -
      text.length;
    assert.deepEqual(bytes.slice(at, at + text.length), text);
    bytes.set(new TextEncoder().encode("k1000"), at);
    assert.equal(
      scanValue(bytes, WIDE).fault?.reason,
      `it has the key "k1000" twice`,
      `${count} keys`,
    );
  }
});

Deno.test("scanValue() tells where the plain decoder would change something", () => {
  assert.equal(scan("cb 8000000000000000").isDelicate, true);
  assert.equal(scan("ca 80000000").isDelicate, true);
  assert.equal(scan("92 a3 efbbbf c0").isDelicate, true);
  assert.equal(scan("cb 8000000000000001").isDelicate, false);
  assert.equal(scan("cb 0000000000000000").isDelicate, false);
  assert.equal(scan("a3 efbbbe").isDelicate, false);
});

Deno.test("scanValue() takes nothing that the decoder cannot read", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
      let scanned;
      try {
        scanned = scanValue(bytes, WIDE);
      } catch (error) {
        assert.ok(error instanceof HeadwaterError);
        return;
      }
      assert.ok(scanned.end <= bytes.length);
      if (scanned.fault === undefined) decode(bytes.subarray(0, scanned.end));
    }),
    { numRuns: 50_000 },
  );
});
