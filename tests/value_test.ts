import assert from "node:assert/strict";
import fc from "fast-check";
import { create } from "mutative";
import { HeadwaterError, LimitError } from "../protocol/errors.ts";
import {
  cleanName,
  cleanValue,
  equalValues,
  freezeDeep,
  type Json,
  parsePointer,
  pointer,
} from "../protocol/value.ts";
import { anyJson } from "./_arbitraries.ts";

function nested(levels: number): Json {
  let value: Json = [];
  for (let level = 1; level < levels; level++) {
    value = level % 2 ? { in: value } : [value];
  }
  return value;
}

/** All objects within a value. */
function containers(value: Json): object[] {
  if (typeof value !== "object" || value === null) return [];
  return [
    value,
    ...Object.values(value).flatMap((member) => containers(member as Json)),
  ];
}

Deno.test("cleanValue() copies what JSON can say, and shares no object with it", () => {
  fc.assert(fc.property(anyJson(), (value) => {
    const copy = cleanValue(value);
    assert.deepEqual(copy, value);
    const originals = new Set(containers(value));
    assert(containers(copy).every((container) => !originals.has(container)));
  }));
});

Deno.test("cleanValue() makes −0 to 0 and leaves undefined members out", () => {
  const copy = cleanValue({
    zero: -0,
    list: [-0],
    gone: undefined,
    kept: null,
  });
  assert.deepEqual(copy, { zero: 0, list: [0], kept: null });
  assert.deepEqual(Object.keys(copy as object), ["zero", "list", "kept"]);
});

Deno.test("cleanValue() takes objects without a prototype and gives plain ones", () => {
  const bare = Object.assign(Object.create(null), { a: 1 });
  assert.equal(Object.getPrototypeOf(cleanValue(bare)), Object.prototype);
  assert.deepEqual(cleanValue(bare), { a: 1 });
});

class Point {
  x = 1;
}

class List extends Array<number> {}

const cyclic: Record<string, unknown> = { a: { b: {} } };
(cyclic["a"] as Record<string, unknown>)["b"] = cyclic;

const REFUSED: [string, unknown, string][] = [
  ["NaN", { a: [1, NaN] }, "/a/1"],
  ["Infinity", [Infinity], "/0"],
  ["-Infinity", [-Infinity], "/0"],
  ["a BigInt", { n: 1n }, "/n"],
  ["a Date", { at: new Date() }, "/at"],
  ["a Map", { m: new Map() }, "/m"],
  ["a Set", { s: new Set() }, "/s"],
  ["a regular expression", [/x/], "/0"],
  ["an error", [new Error("x")], "/0"],
  ["an instance of a class", { p: new Point() }, "/p"],
  ["an array of a class", { p: new List() }, "/p"],
  ["a boxed number", [Object(1)], "/0"],
  ["bytes", { b: new Uint8Array(3) }, "/b"],
  ["an ArrayBuffer", { b: new ArrayBuffer(3) }, "/b"],
  ["a function", { f: () => 1 }, "/f"],
  ["a symbol", { s: Symbol("x") }, "/s"],
  ["a symbol as key", { in: { [Symbol("x")]: 1 } }, "/in"],
  ["undefined in an array", { l: [1, undefined] }, "/l/1"],
  // deno-lint-ignore no-sparse-arrays
  ["a hole in an array", { l: [1, , 3] }, "/l/1"],
  ["a lone surrogate", { "a/b": ["\ud800"] }, "/a~1b/0"],
  ["a low surrogate first", ["\udc00\ud800"], "/0"],
  ["a key with a lone surrogate", { in: { "\udfff": 1 } }, "/in/\ufffd"],
  [
    "the key __proto__",
    JSON.parse('{"a":{"__proto__":{"x":1}}}'),
    "/a/__proto__",
  ],
  ["the key constructor", { constructor: 1 }, "/constructor"],
  ["the key prototype", [{ prototype: 1 }], "/0/prototype"],
  ["a getter", {
    get x() {
      return 1;
    },
  }, "/x"],
  ["a cycle", cyclic, "/a/b"],
  ["undefined", undefined, ""],
  ["an object whose prototype is an object", Object.create({ a: 1 }), ""],
];

for (const [what, value, path] of REFUSED) {
  Deno.test(`cleanValue() refuses ${what} and says where`, () => {
    assert.throws(() => cleanValue(value), {
      name: "HeadwaterError",
      code: "bad_value",
      path,
    });
  });
}

Deno.test("cleanValue() says what it found, where, and what was to be shared", () => {
  assert.throws(
    () =>
      cleanValue({ list: [new Date()] }, {
        what: "the state",
        at: ["root", 3],
      }),
    {
      message:
        "Cannot share the state: found an instance of Date at /root/3/list/0",
      path: "/root/3/list/0",
    },
  );
});

Deno.test("cleanValue() does not go deeper than the limit", () => {
  assert.deepEqual(cleanValue(nested(64)), nested(64));
  assert.throws(() => cleanValue(nested(65)), (error) => {
    assert(error instanceof LimitError);
    assert.equal(error.limit, "depth");
    assert.equal(error.allowed, 64);
    return true;
  });
  assert.deepEqual(cleanValue(nested(3), { depth: 3 }), nested(3));
  assert.throws(() => cleanValue(nested(3), { depth: 2 }), LimitError);
});

Deno.test("cleanValue() counts the place of the value towards the depth", () => {
  assert.deepEqual(cleanValue(nested(62), { at: ["a", 0] }), nested(62));
  assert.throws(() => cleanValue(nested(63), { at: ["a", 0] }), LimitError);
});

Deno.test("cleanValue() stops at once where a value holds itself many times over", () => {
  let bomb: Json = [];
  for (let level = 0; level < 50; level++) bomb = [bomb, bomb];
  assert.throws(() => cleanValue(bomb, { nodes: 1_000 }), {
    limit: "nodes",
    allowed: 1_000,
  });
  let objects: Json = {};
  for (let level = 0; level < 50; level++) objects = { a: objects, b: objects };
  assert.throws(() => cleanValue(objects, { nodes: 1_000 }), {
    limit: "nodes",
    allowed: 1_000,
  });
  const long: Json[] = [];
  long.length = 4_294_967_295;
  assert.throws(() => cleanValue(long), {
    limit: "nodes",
    actual: 4_294_967_295,
  });
});

Deno.test("cleanValue() reads through drafts", () => {
  create({ items: [{ n: 1 }, { n: 2 }], title: "x" }, (draft) => {
    draft.items[0]!.n = 5;
    draft.items.push({ n: 3 });
    assert.deepEqual(cleanValue(draft), {
      items: [{ n: 5 }, { n: 2 }, { n: 3 }],
      title: "x",
    });
    assert.deepEqual(cleanValue({ first: draft.items[0], all: draft.items }), {
      first: { n: 5 },
      all: [{ n: 5 }, { n: 2 }, { n: 3 }],
    });
  });
});

Deno.test("freezeDeep() freezes all, and does not look into what is frozen", () => {
  const inner = { deep: [1] };
  const value = { list: [{ a: 1 }], seen: Object.freeze({ inner }), n: 1 };
  assert.equal(freezeDeep(value), value);
  assert(
    Object.isFrozen(value) && Object.isFrozen(value.list) &&
      Object.isFrozen(value.list[0]),
  );
  assert(!Object.isFrozen(inner));
  assert.equal(freezeDeep(5), 5);
});

Deno.test("equalValues() agrees with deep equality", () => {
  fc.assert(fc.property(anyJson(), anyJson(), (a, b) => {
    assert(equalValues(a, cleanValue(a)));
    let isEqual = true;
    try {
      assert.deepEqual(a, b);
    } catch {
      isEqual = false;
    }
    assert.equal(equalValues(a, b), isEqual);
  }));
  assert(!equalValues({ a: 1 }, { b: 1 }));
  assert(!equalValues({ toString: 1 }, { a: 1 }));
  assert(!equalValues([], {}));
  assert(!equalValues(["a"], { 0: "a" }));
  assert(!equalValues([1], [1, 2]));
  assert(equalValues({ a: 1, b: 2 }, { b: 2, a: 1 }));
});

Deno.test("cleanName() returns names in normal form", () => {
  assert.equal(cleanName("Room:général", "the store", 200), "Room:général");
  assert.equal(cleanName("e\u0301", "the store", 200), "é");
  assert.equal(cleanName("日本 🎈", "the store", 200), "日本 🎈");
});

Deno.test("cleanName() refuses what cannot be a key", () => {
  const bad = [
    "",
    5,
    null,
    undefined,
    {},
    "\ud800",
    "a\udc00b",
    "a\nb",
    "\0",
    "\x7f",
    "\u0085",
    "\u2028",
  ];
  for (const name of bad) {
    assert.throws(() => cleanName(name, "the store", 200), (error) => {
      assert(error instanceof HeadwaterError);
      assert.equal(error.code, "bad_name");
      assert(error.message.startsWith("Cannot use the store: "));
      return true;
    }, String(name));
  }
});

Deno.test("cleanName() refuses long names, before and after normalising", () => {
  assert.equal(cleanName("x".repeat(8), "the store", 8), "x".repeat(8));
  assert.throws(() => cleanName("x".repeat(9), "the store", 8), {
    limit: "nameLength",
    allowed: 8,
    actual: 9,
  });
  // U+FB2C is three characters in normal form C.
  assert.throws(() => cleanName("\ufb2c".repeat(8), "the store", 8), {
    limit: "nameLength",
    actual: 24,
  });
});

Deno.test("pointer() and parsePointer() are each other's inverse", () => {
  assert.equal(pointer([]), "");
  assert.equal(pointer(["a/b", "m~n", 0, ""]), "/a~1b/m~0n/0/");
  assert.deepEqual(parsePointer("/~01"), ["~1"]);
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" })), (path) => {
    assert.deepEqual(parsePointer(pointer(path)), path);
  }));
});

Deno.test("parsePointer() refuses what is no JSON Pointer", () => {
  for (const text of ["a", "a/b", "/~", "/~2", "/a~", "#/a", "/\ud800"]) {
    assert.throws(() => parsePointer(text), { code: "bad_patch" }, text);
  }
});

Deno.test("cleanValue() says where an object first contains itself", () => {
  const own: Record<string, unknown> = { a: { b: [1] } };
  (own["a"] as { b: unknown[] }).b.push({ again: own });
  assert.throws(() => cleanValue(own), {
    code: "bad_value",
    path: "/a/b/1/again",
    message:
      "Cannot share the value: found an object that contains itself at /a/b/1/again",
  });
  const list: unknown[] = [];
  list.push(list);
  assert.throws(() => cleanValue({ list }), { path: "/list/0" });
});

Deno.test("cleanValue() shows the two ends of a long path, and has all of it", () => {
  const [first, last] = ["a".repeat(100), "z".repeat(100)];
  assert.throws(() => cleanValue({ [first]: { [last]: 1n } }), {
    path: `/${first}/${last}`,
    message: `Cannot share the value: found a BigInt at /${
      first.slice(0, 39)
    }…${last.slice(0, 40)}`,
  });
});
