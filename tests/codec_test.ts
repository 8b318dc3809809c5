import assert from "node:assert/strict";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import {
  decodeDown,
  decodeJson,
  decodeUp,
  encodeFrame,
  encodeJson,
  encodeSnapshot,
  joinFrames,
} from "../protocol/codec.ts";
import { HeadwaterError, LimitError } from "../protocol/errors.ts";
import type { DownFrame, RefusedFrame, UpFrame } from "../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { cleanValue, type Json } from "../protocol/value.ts";
import { anyJson, SeededRandom } from "./_arbitraries.ts";
import {
  anyDownFrame,
  anyUpFrame,
  DOWN_SAMPLES,
  SAMPLES,
  UP_SAMPLES,
} from "./_frames.ts";

const LIMITS = { ...DEFAULT_LIMITS, messageBytes: 4 * 1024 * 1024 };

function isUp(frame: UpFrame | DownFrame): frame is UpFrame {
  return Object.values<UpFrame | DownFrame>(UP_SAMPLES).includes(frame);
}

/** Asserts that every reader refuses the bytes with one of the codes of a bad frame. */
function assertRefused(read: () => unknown, about: string): HeadwaterError {
  let refusal: HeadwaterError | undefined;
  assert.throws(read, (error) => {
    assert.ok(error instanceof HeadwaterError, `${about}: ${error}`);
    assert.match(
      error.code,
      /^(bad_frame|bad_value|bad_patch|bad_name|limit)$/,
    );
    refusal = error;
    return true;
  }, about);
  return refusal!; // assert.throws() has called the function above
}

/** An rpc frame as a map, around arguments in MessagePack. */
function callBytes(
  args: Uint8Array | number[],
  id = 7,
): Uint8Array<ArrayBuffer> {
  const head = encodeFrame({
    type: "rpc",
    id,
    name: "f",
    oldest: id,
    elapsedMs: 0,
  });
  head[0]!++;
  return new Uint8Array([...head, 0xa1, 0x61, ...args]);
}

Deno.test("encodeFrame() and decodeUp() give every frame back", () => {
  fc.assert(
    fc.property(
      fc.array(anyUpFrame(), { minLength: 1, maxLength: 4 }),
      (frames) => {
        assert.deepStrictEqual(
          decodeUp(joinFrames(frames.map(encodeFrame)), LIMITS),
          frames,
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("encodeFrame() and decodeDown() give every frame back", () => {
  fc.assert(
    fc.property(
      fc.array(anyDownFrame(), { minLength: 1, maxLength: 4 }),
      (frames) => {
        assert.deepStrictEqual(
          decodeDown(joinFrames(frames.map(encodeFrame))),
          frames,
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("encodeSnapshot() writes the same bytes as encodeFrame()", () => {
  fc.assert(fc.property(anyDownFrame(), (frame) => {
    fc.pre(frame.type === "snap");
    const { state, ...head } = frame;
    assert.deepStrictEqual(
      encodeSnapshot(head, encodeJson(state)),
      encodeFrame(frame),
    );
  }));
});

Deno.test("encodeFrame() needs 28 bytes for one field of 10,000 items", () => {
  assert.equal(encodeFrame(DOWN_SAMPLES.patch).length, 28 - 2); // version below 128
  assert.equal(
    encodeFrame({ ...DOWN_SAMPLES.patch, from: 65_534, version: 65_535 })
      .length,
    28,
  );
});

Deno.test("encodeFrame() never writes again into what it has handed out", () => {
  const frames = Array.from(
    { length: 2_000 },
    (_, i) => ({ type: "res", id: i + 1, value: "x".repeat(i) }) as const,
  );
  const all = frames.map((frame) => encodeFrame(frame));
  joinFrames(all);
  assert.deepStrictEqual(all.map((bytes) => decodeDown(bytes)[0]), frames);
});

Deno.test("encodeFrame() sends whole milliseconds", () => {
  const frame = { ...UP_SAMPLES.rpc, elapsedMs: 12.75 };
  assert.deepStrictEqual(decodeUp(encodeFrame(frame), LIMITS), [{
    ...frame,
    elapsedMs: 12,
  }]);
});

Deno.test("joinFrames() returns a single frame as it is", () => {
  const bytes = encodeFrame({ type: "ping" });
  assert.equal(joinFrames([bytes]), bytes);
});

Deno.test("decodeJson() gives back what cleanValue() has taken", () => {
  fc.assert(
    fc.property(anyJson(), (value) => {
      const clean = cleanValue(value);
      assert.deepStrictEqual(decodeJson(encodeJson(clean)), clean);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("decodeJson() gives back numbers and texts at the borders", () => {
  const numbers = [
    0,
    -1,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53 - 1,
    2 ** 53,
  ]
    .flatMap((number) => [number, -number, number + 0.5]).concat(
      1e300,
      5e-324,
      0.1,
    ).map((n) => n + 0);
  const mark = "\ufeff";
  const texts = [
    "",
    mark,
    mark + "x".repeat(300),
    "é".repeat(150),
    "😀".repeat(100),
    "\0",
    "\u2028",
    "x".repeat(70_000),
  ];
  for (
    const value of [...numbers, ...texts, [mark + "x".repeat(300)], {
      [mark + "k".repeat(300)]: mark,
    }]
  ) {
    const clean = cleanValue(value);
    assert.deepStrictEqual(decodeJson(encodeJson(clean)), clean);
  }
});

Deno.test("decodeJson() makes 0 of -0, and keeps what stands beside it", () => {
  const text = "\ufeff" + "é".repeat(200);
  const sent = {
    a: [-0, 1, text],
    b: { [text]: -0 },
    c: null,
    d: "",
    e: [],
    f: {},
  };
  assert.deepStrictEqual(
    decodeJson(encode(sent, { forceIntegerToFloat: true })),
    {
      ...sent,
      a: [0, 1, text],
      b: { [text]: 0 },
    },
  );
});

Deno.test("encodeJson() leaves out what is undefined", () => {
  assert.deepStrictEqual(
    encodeJson({ a: 1, b: undefined } as unknown as Json),
    encodeJson({ a: 1 }),
  );
});

Deno.test("decodeJson() refuses bytes behind the value, and what is over its limits", () => {
  assert.throws(() => decodeJson(new Uint8Array([0xc0, 0xc0])), {
    code: "bad_frame",
  });
  assert.throws(() => decodeJson(encodeJson([[1]]), { depth: 1 }), {
    limit: "depth",
    allowed: 1,
    actual: 2,
  });
  assert.throws(() => decodeJson(encodeJson([1, 2]), { nodes: 2 }), {
    limit: "nodes",
    allowed: 2,
    actual: 3,
  });
  assert.throws(() => decodeJson(new Uint8Array([0x91, 0xc4, 0])), {
    code: "bad_value",
    path: "/0",
  });
});

Deno.test("decodeUp() and decodeDown() refuse every sample cut off at any byte", () => {
  for (const [name, frame] of Object.entries(SAMPLES)) {
    const bytes = encodeFrame(frame);
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      const read = isUp(frame)
        ? () => decodeUp(cut, LIMITS)
        : () => decodeDown(cut);
      assert.equal(
        assertRefused(read, `${name} at ${length}`).code,
        "bad_frame",
      );
    }
  }
});

/** Values of every kind, and those of another kind than a field's. */
const KINDS: Record<string, readonly Json[]> = {
  null: [null],
  boolean: [true],
  negative: [-1],
  fraction: [1.5],
  huge: [2 ** 53],
  string: ["x"],
  array: [[]],
  object: [{}],
};

/** For each field of each frame on the wire, the kinds that it may be. */
const FIELDS: Record<string, Record<string, readonly string[]>> = {
  hello: {
    t: [],
    v: [],
    s: ["string"],
    i: ["string"],
    p: ["boolean"],
    o: ["boolean"],
    k: ["string"],
  },
  sub: { t: [], n: ["string"], e: ["string"], v: [], w: ["string"] },
  unsub: { t: [], n: ["string"] },
  rpc: {
    t: [],
    i: [],
    n: ["string"],
    m: [],
    o: [],
    r: ["boolean"],
    a: Object.keys(KINDS),
  },
  ping: { t: [] },
  mut: { t: [], i: [], m: [], o: [], r: ["boolean"], x: ["boolean"], w: [] },
  cancel: { t: [], i: [] },
  welcome: {
    t: ["huge"],
    v: [],
    c: ["string"],
    s: ["string"],
    r: ["boolean"],
    l: [],
    h: [],
    b: [],
    d: ["string"],
    u: Object.keys(KINDS),
  },
  snap: {
    t: [],
    s: [],
    n: ["string"],
    e: ["string"],
    v: [],
    w: ["string"],
    x: Object.keys(KINDS),
  },
  resume: {
    t: [],
    s: [],
    n: ["string"],
    e: ["string"],
    f: [],
    v: [],
    w: ["string"],
    p: ["array"],
  },
  patch: { s: [], v: [], f: [], w: ["string"], p: ["array"] },
  res: { t: [], i: [], x: Object.keys(KINDS), e: [] },
  del: { t: [], n: ["string"] },
  evt: { t: [], c: ["string"], x: Object.keys(KINDS), s: ["string"], i: [] },
  err: { t: [], e: [], n: ["string"] },
  parts: { t: ["huge"], b: [] },
  pong: { t: [] },
  own: { t: ["huge"], n: ["string"], c: ["array"] },
};

Deno.test("decodeUp() and decodeDown() refuse every field of a wrong kind", () => {
  let refusals = 0;
  for (const [name, frame] of Object.entries(SAMPLES)) {
    const map = decodeJson(encodeFrame(frame)) as Record<string, Json>; // a frame is a map
    for (const letter of Object.keys(map)) {
      const allowed = FIELDS[frame.type]![letter];
      assert.ok(
        allowed,
        `${name} has a field "${letter}" that this test does not know`,
      );
      for (const [kind, values] of Object.entries(KINDS)) {
        if (allowed.includes(kind)) continue;
        for (const value of values) {
          const bytes = encodeJson({ ...map, [letter]: value });
          const read = isUp(frame)
            ? () => decodeUp(bytes, LIMITS)
            : () => decodeDown(bytes);
          assert.match(
            assertRefused(read, `${name}: ${letter} = ${kind}`).code,
            /^bad_(frame|patch)$/,
          );
          refusals++;
        }
      }
    }
  }
  assert.ok(refusals > 400, `only ${refusals}`);
});

Deno.test("decodeUp() and decodeDown() refuse frames without a field that they need", () => {
  const optional: Record<string, string> = {
    hello: "sipok",
    welcome: "u",
    rpc: "ora",
    mut: "orx",
    patch: "fw",
    res: "xe",
    evt: "x",
    err: "n",
  };
  for (const [name, frame] of Object.entries(SAMPLES)) {
    const map = decodeJson(encodeFrame(frame)) as Record<string, Json>; // a frame is a map
    for (const letter of Object.keys(map)) {
      if (optional[frame.type]?.includes(letter)) continue;
      if (frame.type === "resume" && letter === "t") continue; // it is a patch without
      const { [letter]: _, ...rest } = map;
      const bytes = encodeJson(rest);
      assertRefused(
        () => isUp(frame) ? decodeUp(bytes, LIMITS) : decodeDown(bytes),
        `${name} without ${letter}`,
      );
    }
  }
});

Deno.test("decodeUp() and decodeDown() pass over fields that they do not know", () => {
  for (const frame of Object.values(SAMPLES)) {
    const map = decodeJson(encodeFrame(frame)) as Record<string, Json>; // a frame is a map
    const bytes = encodeJson({ ...map, zz: [1, { a: 2 }] });
    assert.deepStrictEqual(
      isUp(frame) ? decodeUp(bytes, LIMITS) : decodeDown(bytes),
      [frame],
    );
  }
});

Deno.test("decodeDown() refuses a parts frame that is not alone in its message, or of nothing", () => {
  const parts = encodeFrame(DOWN_SAMPLES.parts);
  const pong = encodeFrame(DOWN_SAMPLES.pong);
  assert.deepStrictEqual(decodeDown(parts), [DOWN_SAMPLES.parts]);
  for (const frames of [[parts, pong], [pong, parts], [parts, parts]]) {
    assert.match(
      assertRefused(() => decodeDown(joinFrames(frames)), "not alone").message,
      /not alone/,
    );
  }
  const empty = encodeFrame({ type: "parts", bytes: 0 });
  assertRefused(() => decodeDown(empty), "parts of nothing");
});

Deno.test("decodeUp() refuses a frame type that it does not know, decodeDown() passes over it", () => {
  const unknown = encodeJson({ t: 99, n: "x" });
  assert.throws(() => decodeUp(unknown, LIMITS), {
    code: "bad_frame",
    message: /no type 99 goes up/,
  });
  assert.throws(() => decodeUp(encodeFrame(DOWN_SAMPLES.patch), LIMITS), {
    code: "bad_frame",
  });
  const message = joinFrames([unknown, encodeFrame({ type: "pong" })]);
  assert.deepStrictEqual(decodeDown(message), [{ type: "pong" }]);
});

Deno.test("decodeUp() and decodeDown() refuse a message that is empty or holds anything but maps", () => {
  for (const hex of ["", "c0", "05", "a178", "91c0", "8081", "90"]) {
    const bytes = Uint8Array.fromHex(hex);
    assertRefused(() => decodeUp(bytes, LIMITS), hex);
    assertRefused(() => decodeDown(bytes), hex);
  }
});

Deno.test("decodeDown() refuses fields that cannot stand together", () => {
  for (
    const map of [
      { s: 1, v: 5, f: 5, p: [] },
      { s: 1, v: 0, p: [] },
      { t: 34, s: 1, n: "a", e: "e", f: 3, v: 2, w: "w", p: [] },
      { t: 35, i: 1, x: null, e: { c: "limit", m: "" } },
      { t: 38, e: { c: 1, m: "" } },
      { t: 38, e: { c: "limit" } },
      { t: 38, e: { c: "limit", m: "", p: 1 } },
    ]
  ) {
    assert.throws(
      () => decodeDown(encodeJson(map)),
      { code: "bad_frame" },
      JSON.stringify(map),
    );
  }
});

Deno.test("decodeDown() takes an outcome that it does not know for unknown", () => {
  const bytes = encodeJson({
    t: 38,
    e: { c: "sunspots", m: "Cannot", o: "perhaps" },
  });
  assert.deepStrictEqual(decodeDown(bytes), [
    {
      type: "err",
      error: { code: "sunspots", message: "Cannot", outcome: "unknown" },
    },
  ]);
});

Deno.test("decodeUp() refuses fields that cannot stand together", () => {
  for (
    const map of [
      { t: 4, i: 1, n: "f", m: 0, o: 2 },
      { t: 4, i: 0, n: "f", m: 0 },
      { t: 2, n: "a", e: "e", v: 1 },
      { t: 2, n: "a", w: "w" },
      { t: 1, v: 0 },
    ]
  ) {
    assert.throws(() => decodeUp(encodeJson(map), LIMITS), {
      code: "bad_frame",
    }, JSON.stringify(map));
  }
});

Deno.test("decodeUp() answers refused arguments alone, and takes the frames around them", () => {
  const around = encodeFrame({ type: "ping" });
  for (
    const [args, code, path] of [
      ["c40100", "bad_value", ""],
      ["92c0cb7ff8000000000000", "bad_value", "/1"],
      ["81a3612f62d6ff00000000", "bad_value", "/a~1b"],
      ["81a3612f6292c0cf0020000000000000", "bad_value", "/a~1b/1"],
      ["91a1ff", "bad_value", "/0"],
      ["91a3eda080", "bad_value", "/0"],
      ["81a95f5f70726f746f5f5f80", "bad_value", "/__proto__"],
      ["8105c0", "bad_value", ""],
      ["82a16101a16102", "bad_value", ""],
      ["91".repeat(65) + "c0", "limit", undefined],
      ["91".repeat(10_000) + "c0", "limit", undefined],
    ] as const
  ) {
    const message = joinFrames([
      around,
      callBytes(Uint8Array.fromHex(args)),
      around,
    ]);
    const [before, refused, after, ...rest] = decodeUp(message, LIMITS);
    assert.deepStrictEqual([before, after, rest], [{ type: "ping" }, {
      type: "ping",
    }, []]);
    assert.ok(refused?.type === "refused" && refused.of === "rpc", args);
    assert.equal(refused.id, 7);
    assert.equal(refused.error.code, code);
    assert.equal(refused.error.path, path);
    assert.equal(refused.error.outcome, "notApplied");
  }
});

Deno.test("decodeUp() takes arguments as deep as the limit and names the limit for deeper ones", () => {
  const nested = (depth: number) =>
    callBytes([...new Array(depth).fill(0x91), 0xc0]);
  assert.equal(decodeUp(nested(64), LIMITS)[0]!.type, "rpc");
  assert.deepStrictEqual(decodeUp(nested(65), LIMITS), [{
    type: "refused",
    of: "rpc",
    id: 7,
    error: {
      code: "limit",
      message: "Cannot take a value: 65 is over the limit depth of 64",
      data: { limit: "depth", allowed: 64, actual: 65 },
      outcome: "notApplied",
    },
  }]);
});

Deno.test("decodeUp() refuses too many values in one call, not in one message", () => {
  const limits = { ...LIMITS, nodes: 100 };
  const call = (count: number) =>
    callBytes(encodeJson(new Array(count).fill(0)));
  const [refused] = decodeUp(call(500), limits) as [RefusedFrame];
  assert.deepStrictEqual(refused.error.data, {
    limit: "nodes",
    allowed: 100,
    actual: 500 + 11,
  });
  assert.deepStrictEqual(
    decodeUp(joinFrames([call(60), call(60), call(60)]), limits).map((frame) =>
      frame.type
    ),
    ["rpc", "rpc", "rpc"],
  );
});

Deno.test("decodeUp() answers names that are refused, as they were sent", () => {
  const long = "n".repeat(201);
  const decoded = decodeUp(
    joinFrames([
      encodeFrame({ type: "sub", name: "" }),
      encodeFrame({ type: "sub", name: long }),
      encodeFrame({ type: "unsub", name: "a\nb" }),
      encodeFrame({ type: "rpc", id: 3, name: long, oldest: 3, elapsedMs: 0 }),
      callBytes([0xc4, 0], 4),
    ]),
    LIMITS,
  ) as RefusedFrame[];
  assert.deepStrictEqual(
    decoded.map((
      frame,
    ) => [
      frame.type,
      frame.of,
      frame.of === "rpc" ? frame.id : frame.name,
      frame.error.code,
    ]),
    [
      ["refused", "sub", "", "bad_name"],
      ["refused", "sub", long, "limit"],
      ["refused", "unsub", "a\nb", "bad_name"],
      ["refused", "rpc", 3, "limit"],
      ["refused", "rpc", 4, "bad_value"],
    ],
  );
});

Deno.test("decodeUp() gives names in their normal form", () => {
  assert.deepStrictEqual(decodeUp(encodeJson({ t: 2, n: "e\u0301" }), LIMITS), [
    {
      type: "sub",
      name: "\u00e9",
    },
  ]);
});

Deno.test("decodeUp() ends the connection for faults outside of arguments", () => {
  for (
    const hex of [
      "82a17401a176cb7ff8000000000000", // hello, protocol NaN
      "83a17402a16ea161a17ac400", // sub, an unknown field that is binary
      "82a17405a161c400", // ping with binary arguments
      "82a161c400a17404", // rpc without a number
      "83a161c400a17404a169a131", // rpc whose number is a string
      "82a17405a17405", // a field twice
      "82a1740505c0", // a key that is no string
      "82a17405a95f5f70726f746f5f5f80", // __proto__ as a field
    ]
  ) assertRefused(() => decodeUp(Uint8Array.fromHex(hex), LIMITS), hex);
});

Deno.test("decodeUp() refuses a message over the limit, with its size", () => {
  assert.throws(
    () => decodeUp(new Uint8Array(1001), { ...LIMITS, messageBytes: 1000 }),
    (error) => {
      assert.ok(error instanceof LimitError);
      assert.deepEqual([error.limit, error.allowed, error.actual], [
        "messageBytes",
        1000,
        1001,
      ]);
      return true;
    },
  );
});

/** Reads hostile bytes; asserts that only errors of ours come out, and in time. */
function assertHarmless(bytes: Uint8Array, mostMs = 50): void {
  for (
    const decode of [
      () => decodeUp(bytes, LIMITS),
      () => decodeDown(bytes),
      () => decodeJson(bytes),
    ]
  ) {
    const times: number[] = [];
    // Once more where it took long: the machine may have been busy with something else.
    while (
      times.length < 5 && (times.length === 0 || Math.min(...times) > mostMs)
    ) {
      const start = performance.now();
      try {
        decode();
      } catch (error) {
        if (!(error instanceof HeadwaterError)) {
          throw new Error(bytes.toHex(), { cause: error });
        }
      }
      times.push(performance.now() - start);
    }
    assert.ok(
      Math.min(...times) <= mostMs,
      `${times} ms for ${bytes.toHex().slice(0, 200)}`,
    );
  }
}

Deno.test("decodeUp() refuses nested array headers that announce more than there is", () => {
  // Handed to the decoder as they are, these 500 bytes cost seconds and half a gigabyte.
  for (const count of [0xffff_ffff, 0xffff, 400]) {
    const bytes = new Uint8Array(500);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 500; at += 5) {
      bytes[at] = 0xdd;
      view.setUint32(at + 1, count);
    }
    assertHarmless(bytes);
    assertHarmless(callBytes(bytes));
    assert.throws(() => decodeUp(callBytes(bytes), LIMITS), {
      code: "bad_frame",
    });
  }
});

Deno.test("decodeUp() and decodeDown() bear 20,000 random byte strings", () => {
  const random = new SeededRandom(20_001);
  for (let i = 0; i < 20_000; i++) {
    assertHarmless(
      Uint8Array.from({ length: random.below(64) }, () => random.below(256)),
    );
  }
});

Deno.test("decodeUp() and decodeDown() bear 20,000 mutations of frames", () => {
  const random = new SeededRandom(20_002);
  const samples = Object.values(SAMPLES).map((frame) => encodeFrame(frame));
  const heads = [
    0x81,
    0x91,
    0xa1,
    0xc0,
    0xc1,
    0xc4,
    0xc7,
    0xca,
    0xcb,
    0xcf,
    0xd3,
    0xd9,
    0xdb,
    0xdd,
    0xdf,
    0xff,
  ];
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = [
      ...random.pick(samples),
      ...(random.below(3) === 0 ? random.pick(samples) : []),
    ];
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      const at = random.below(bytes.length);
      const kind = random.below(4);
      if (kind === 0) bytes[at] = random.below(256);
      else if (kind === 1) bytes[at] = random.pick(heads);
      else if (kind === 2) bytes.splice(at, random.below(4));
      else {bytes.splice(
          at,
          0,
          ...random.pick(samples).subarray(0, random.below(8)),
        );}
    }
    const mutant = new Uint8Array(bytes);
    assertHarmless(mutant);
    try {
      decodeUp(mutant, LIMITS);
      taken++;
    } catch {
      // assertHarmless() has looked at it.
    }
  }
  assert.ok(taken > 200 && taken < 10_000, `${taken} were still frames`); // else nothing was tried
});

Deno.test("decodeUp() bears the largest messages of the worst shapes", () => {
  const size = DEFAULT_LIMITS.messageBytes - 20;
  const shapes = {
    arrays: new Uint8Array(size).fill(0x91),
    maps: new Uint8Array(size).fill(0x80),
    zeros: new Uint8Array([
      0xdd,
      ...new Uint8Array(new Uint32Array([size - 5]).buffer).reverse(),
      ...new Uint8Array(size - 5),
    ]),
    keys: encodeJson(
      Object.fromEntries(
        Array.from({ length: 32_000 }, (_, i) => [`k${i}`, 0]),
      ),
    ),
  };
  // Each takes some 20 ms; work that grew with the square would take seconds.
  for (const bytes of Object.values(shapes)) {
    assertHarmless(bytes, 250);
    assertHarmless(callBytes(bytes), 250);
  }
  const pings = new Uint8Array(size - size % 4);
  for (let at = 0; at < pings.length; at += 4) {
    pings.set([0x81, 0xa1, 0x74, 0x05], at);
  }
  assert.equal(decodeUp(pings, LIMITS).length, pings.length / 4);
});
