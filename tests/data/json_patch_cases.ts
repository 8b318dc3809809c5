/**
 * What RFC 6902 and RFC 6901 demand of a JSON Patch, as data. Covers every
 * example of the RFC's appendix and every situation of the public conformance
 * suite of the json-patch organisation, with documents of our own.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";

/** One case: what the operations make of the document, or that they are refused. */
export interface JsonPatchCase {
  /** What it shows. */
  readonly claim: string;
  /** The document. */
  readonly document: Json;
  /** The operations; many are malformed on purpose. */
  readonly operations: unknown;
  /** The document afterwards; absent where the operations must be refused. */
  readonly result?: Json;
}

const SHOP = {
  name: "Ada's",
  open: true,
  shelves: [{ tea: 3 }, { coffee: 5 }],
} as const;

/** The cases. */
export const JSON_PATCH_CASES: readonly JsonPatchCase[] = [
  // No operations.
  {
    claim: "no operations leave an object",
    document: {},
    operations: [],
    result: {},
  },
  {
    claim: "no operations leave members",
    document: { a: 1 },
    operations: [],
    result: { a: 1 },
  },
  {
    claim: "the order of members does not count",
    document: { a: 1, b: 2 },
    operations: [],
    result: { b: 2, a: 1 },
  },
  {
    claim: "the order of members does not count in an array",
    document: [{ a: 1, b: 2 }],
    operations: [],
    result: [{ b: 2, a: 1 }],
  },
  {
    claim: "the order of members does not count further down",
    document: { in: { a: 1, b: 2 } },
    operations: [],
    result: { in: { b: 2, a: 1 } },
  },
  {
    claim: "no operations leave an array",
    document: ["a"],
    operations: [],
    result: ["a"],
  },

  // add, to objects.
  {
    claim: "add makes a member (A.1)",
    document: { tea: "green" },
    operations: [{ op: "add", path: "/coffee", value: "black" }],
    result: { tea: "green", coffee: "black" },
  },
  {
    claim: "add makes a nested member (A.10)",
    document: { tea: "green" },
    operations: [{ op: "add", path: "/box", value: { inner: {} } }],
    result: { tea: "green", box: { inner: {} } },
  },
  {
    claim: "add replaces a member that exists",
    document: { tea: null },
    operations: [{ op: "add", path: "/tea", value: 1 }],
    result: { tea: 1 },
  },
  {
    claim: "add keeps a string of digits a string",
    document: {},
    operations: [{ op: "add", path: "/n", value: "1" }],
    result: { n: "1" },
  },
  {
    claim: "add takes an integer",
    document: {},
    operations: [{ op: "add", path: "/n", value: 1 }],
    result: { n: 1 },
  },
  {
    claim: "add takes true",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b", value: true }],
    result: { a: 1, b: true },
  },
  {
    claim: "add takes false",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b", value: false }],
    result: { a: 1, b: false },
  },
  {
    claim: "add takes null",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b", value: null }],
    result: { a: 1, b: null },
  },
  {
    claim: "add takes an array",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b", value: [1, 2] }],
    result: { a: 1, b: [1, 2] },
  },
  {
    claim: "add reaches into an array of objects",
    document: SHOP,
    operations: [{ op: "add", path: "/shelves/0/milk", value: 1 }],
    result: {
      name: "Ada's",
      open: true,
      shelves: [{ tea: 3, milk: 1 }, { coffee: 5 }],
    },
  },
  {
    claim: "a digit is a key of an object",
    document: { a: 1 },
    operations: [{ op: "add", path: "/0", value: "b" }],
    result: { a: 1, 0: "b" },
  },
  {
    claim: "the empty string is a key",
    document: {},
    operations: [{ op: "add", path: "/", value: 1 }],
    result: { "": 1 },
  },
  {
    claim: "the empty string is a key further down",
    document: { a: {} },
    operations: [{ op: "add", path: "/a/", value: 1 }],
    result: { a: { "": 1 } },
  },
  {
    claim: "keys tell upper from lower case",
    document: { tea: 1 },
    operations: [{ op: "add", path: "/TEA", value: 2 }],
    result: { tea: 1, TEA: 2 },
  },
  {
    claim: "unknown members of an operation are ignored (A.11)",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b", value: 2, because: "why not" }],
    result: { a: 1, b: 2 },
  },
  {
    claim: "add does not make missing parents (A.12)",
    document: { a: 1 },
    operations: [{ op: "add", path: "/b/c", value: 2 }],
  },
  {
    claim: "add does not make missing parents beside others (4.1)",
    document: { q: { c: 2 } },
    operations: [{ op: "add", path: "/a/c", value: 1 }],
  },

  // add, to arrays.
  {
    claim: "add inserts an item (A.2)",
    document: { teas: ["green", "black"] },
    operations: [{ op: "add", path: "/teas/1", value: "white" }],
    result: { teas: ["green", "white", "black"] },
  },
  {
    claim: "add puts an array in as one item (A.16)",
    document: { teas: ["green"] },
    operations: [{ op: "add", path: "/teas/-", value: ["a", "b"] }],
    result: { teas: ["green", ["a", "b"]] },
  },
  {
    claim: "add fills an empty root array",
    document: [],
    operations: [{ op: "add", path: "/0", value: "a" }],
    result: ["a"],
  },
  {
    claim: "add inserts at the front",
    document: ["b", "c"],
    operations: [{ op: "add", path: "/0", value: "a" }],
    result: ["a", "b", "c"],
  },
  {
    claim: "add inserts in the middle",
    document: ["a", "c"],
    operations: [{ op: "add", path: "/1", value: "b" }],
    result: ["a", "b", "c"],
  },
  {
    claim: "add appends at the length",
    document: ["a", "b"],
    operations: [{ op: "add", path: "/2", value: "c" }],
    result: ["a", "b", "c"],
  },
  {
    claim: "add appends to one item",
    document: ["a"],
    operations: [{ op: "add", path: "/1", value: "b" }],
    result: ["a", "b"],
  },
  {
    claim: "add does not flatten an array in the middle",
    document: ["a", "d"],
    operations: [{ op: "add", path: "/1", value: ["b", "c"] }],
    result: ["a", ["b", "c"], "d"],
  },
  {
    claim: "- is the end of the root array",
    document: [],
    operations: [{ op: "add", path: "/-", value: "a" }],
    result: ["a"],
  },
  {
    claim: "- takes any value",
    document: [1, 2],
    operations: [{ op: "add", path: "/-", value: { a: ["b", 3] } }],
    result: [1, 2, { a: ["b", 3] }],
  },
  {
    claim: "- is the end of an inner array",
    document: [1, [2, [3]]],
    operations: [{ op: "add", path: "/1/1/-", value: { a: 4 } }],
    result: [1, [2, [3, { a: 4 }]]],
  },
  {
    claim: "add refuses an index after the length",
    document: ["a", "b"],
    operations: [{ op: "add", path: "/3", value: "c" }],
  },
  {
    claim: "add refuses an index far after the length",
    document: { l: [1, 2] },
    operations: [{ op: "add", path: "/l/8", value: 3 }],
  },
  {
    claim: "add refuses a negative index",
    document: { l: [1, 2] },
    operations: [{ op: "add", path: "/l/-1", value: 3 }],
  },
  {
    claim: "add refuses a key in an array",
    document: ["a", "b"],
    operations: [{ op: "add", path: "/c", value: 3 }],
  },
  {
    claim: "add refuses an exponent as index",
    document: ["a", "b"],
    operations: [{ op: "add", path: "/1e0", value: 3 }],
  },

  // The root.
  {
    claim: "add to the root replaces an object by an array",
    document: {},
    operations: [{ op: "add", path: "", value: [] }],
    result: [],
  },
  {
    claim: "add to the root replaces an array by an object",
    document: [],
    operations: [{ op: "add", path: "", value: {} }],
    result: {},
  },
  {
    claim: "add to the root replaces an object by another",
    document: { a: 1 },
    operations: [{ op: "add", path: "", value: { b: 2 } }],
    result: { b: 2 },
  },
  {
    claim: "replace takes the root",
    document: { a: 1 },
    operations: [{ op: "replace", path: "", value: { b: 2 } }],
    result: { b: 2 },
  },
  {
    claim: "the root may be a string",
    document: "a",
    operations: [{ op: "replace", path: "", value: "b" }],
    result: "b",
  },
  {
    claim: "test takes the root",
    document: { a: 1 },
    operations: [{ op: "test", path: "", value: { a: 1 } }],
    result: { a: 1 },
  },

  // remove.
  {
    claim: "remove takes a member (A.3)",
    document: { tea: 1, coffee: 2 },
    operations: [{ op: "remove", path: "/tea" }],
    result: { coffee: 2 },
  },
  {
    claim: "remove takes an item (A.4)",
    document: { teas: ["green", "white", "black"] },
    operations: [{ op: "remove", path: "/teas/1" }],
    result: { teas: ["green", "black"] },
  },
  {
    claim: "remove takes a whole array",
    document: { a: 1, l: [1, 2, 3] },
    operations: [{ op: "remove", path: "/l" }],
    result: { a: 1 },
  },
  {
    claim: "remove reaches into an array of objects",
    document: { a: 1, l: [{ b: 2 }] },
    operations: [{ op: "remove", path: "/l/0/b" }],
    result: { a: 1, l: [{}] },
  },
  {
    claim: "remove takes the first item",
    document: [1, 2, 3],
    operations: [{ op: "remove", path: "/0" }],
    result: [2, 3],
  },
  {
    claim: "a second remove counts from what the first left",
    document: [1, 2, 3, 4],
    operations: [{ op: "remove", path: "/1" }, { op: "remove", path: "/2" }],
    result: [1, 3],
  },
  {
    claim: "remove takes null",
    document: { a: null },
    operations: [{ op: "remove", path: "/a" }],
    result: {},
  },
  {
    claim: "remove refuses a missing member",
    document: { a: 1 },
    operations: [{ op: "remove", path: "/b" }],
  },
  {
    claim: "remove refuses a missing way",
    document: { a: 1 },
    operations: [{ op: "remove", path: "/b/c" }],
  },
  {
    claim: "remove refuses a missing item",
    document: ["a", "b"],
    operations: [{ op: "remove", path: "/2" }],
  },
  {
    claim: "remove refuses an exponent as index",
    document: [1, 2, 3],
    operations: [{ op: "remove", path: "/1e0" }],
  },
  {
    claim: "remove refuses an exponent on the way",
    document: { l: [{ a: 1 }, { a: 2 }] },
    operations: [{ op: "remove", path: "/l/1e0/a" }],
  },
  {
    claim: "remove refuses -",
    document: ["a"],
    operations: [{ op: "remove", path: "/-" }],
  },

  // replace.
  {
    claim: "replace puts another value (A.5)",
    document: { tea: "green", coffee: "black" },
    operations: [{ op: "replace", path: "/tea", value: "white" }],
    result: { tea: "white", coffee: "black" },
  },
  {
    claim: "replace puts an array for a number",
    document: { a: 1, l: [{ b: 2 }] },
    operations: [{ op: "replace", path: "/a", value: [1, 2] }],
    result: { a: [1, 2], l: [{ b: 2 }] },
  },
  {
    claim: "replace reaches into an array of objects",
    document: { a: 1, l: [{ b: 2 }] },
    operations: [{ op: "replace", path: "/l/0/b", value: "c" }],
    result: { a: 1, l: [{ b: "c" }] },
  },
  {
    claim: "replace puts an item",
    document: ["a"],
    operations: [{ op: "replace", path: "/0", value: "b" }],
    result: ["b"],
  },
  {
    claim: "replace puts 0 for the empty string",
    document: [""],
    operations: [{ op: "replace", path: "/0", value: 0 }],
    result: [0],
  },
  {
    claim: "replace puts true",
    document: [""],
    operations: [{ op: "replace", path: "/0", value: true }],
    result: [true],
  },
  {
    claim: "replace puts false",
    document: [""],
    operations: [{ op: "replace", path: "/0", value: false }],
    result: [false],
  },
  {
    claim: "replace puts null for an item",
    document: [""],
    operations: [{ op: "replace", path: "/0", value: null }],
    result: [null],
  },
  {
    claim: "replace puts null for a member",
    document: { a: "b" },
    operations: [{ op: "replace", path: "/a", value: null }],
    result: { a: null },
  },
  {
    claim: "replace finds a member that is null",
    document: { a: null },
    operations: [{ op: "replace", path: "/a", value: "b" }],
    result: { a: "b" },
  },
  {
    claim: "replace does not flatten an array",
    document: ["a", "b"],
    operations: [{ op: "replace", path: "/1", value: ["c", "d"] }],
    result: ["a", ["c", "d"]],
  },
  {
    claim: "replace refuses a missing member",
    document: { a: 1 },
    operations: [{ op: "replace", path: "/b", value: 1 }],
  },
  {
    claim: "replace refuses a missing parent",
    document: { a: 1 },
    operations: [{ op: "replace", path: "/b/c", value: false }],
  },
  {
    claim: "replace refuses the index after the last",
    document: ["a"],
    operations: [{ op: "replace", path: "/1", value: 1 }],
  },
  {
    claim: "replace refuses an exponent as index",
    document: ["", ""],
    operations: [{ op: "replace", path: "/1e0", value: false }],
  },

  // move.
  {
    claim: "move takes a member elsewhere (A.6)",
    document: { left: { a: 1, b: 2 }, right: { c: 3 } },
    operations: [{ op: "move", from: "/left/b", path: "/right/d" }],
    result: { left: { a: 1 }, right: { c: 3, d: 2 } },
  },
  {
    claim: "move takes an item along its array (A.7)",
    document: { line: ["a", "b", "c", "d"] },
    operations: [{ op: "move", from: "/line/1", path: "/line/3" }],
    result: { line: ["a", "c", "d", "b"] },
  },
  {
    claim: "move renames a member",
    document: { a: 1, l: [] },
    operations: [{ op: "move", from: "/a", path: "/b" }],
    result: { l: [], b: 1 },
  },
  {
    claim: "move takes a member into an array",
    document: { l: [{ a: "x" }], b: 1 },
    operations: [{ op: "move", from: "/l/0/a", path: "/l/1" }],
    result: { l: [{}, "x"], b: 1 },
  },
  {
    claim: "move to the same place has no effect",
    document: { a: 1 },
    operations: [{ op: "move", from: "/a", path: "/a" }],
    result: { a: 1 },
  },
  {
    claim: "move of the root to the root has no effect",
    document: { a: 1 },
    operations: [{ op: "move", from: "", path: "" }],
    result: { a: 1 },
  },
  {
    claim: "move takes null",
    document: { a: null },
    operations: [{ op: "move", from: "/a", path: "/b" }],
    result: { b: null },
  },
  {
    claim: "move may go up, over what it came from",
    document: { a: { b: { c: 1 } } },
    operations: [{ op: "move", from: "/a/b", path: "/a" }],
    result: { a: { c: 1 } },
  },
  {
    claim: "move may replace the root",
    document: { a: { b: 1 } },
    operations: [{ op: "move", from: "/a", path: "" }],
    result: { b: 1 },
  },
  {
    claim: "move counts the target after the removal",
    document: [[0], [1], [2]],
    operations: [{ op: "move", from: "/0", path: "/0/0" }],
  },
  {
    claim: "move tells a prefix of the text from a prefix of the path",
    document: { a: 1, ab: {} },
    operations: [{ op: "move", from: "/a", path: "/ab/c" }],
    result: { ab: { c: 1 } },
  },
  {
    claim: "move refuses to put a value into itself",
    document: { a: { b: {} } },
    operations: [{ op: "move", from: "/a", path: "/a/b/c" }],
  },
  {
    claim: "move refuses a missing source",
    document: { a: 1 },
    operations: [{ op: "move", from: "/b", path: "/a" }],
  },
  {
    claim: "move refuses a missing source even where it would stay",
    document: { a: 1 },
    operations: [{ op: "move", from: "/b", path: "/b" }],
  },
  {
    claim: "move refuses an exponent as index",
    document: { a: 1, l: [1, 2, 3] },
    operations: [{ op: "move", from: "/l/1e0", path: "/a" }],
  },

  // copy.
  {
    claim: "copy puts a second value",
    document: { l: [{ a: 1 }], b: 1 },
    operations: [{ op: "copy", from: "/l/0", path: "/c" }],
    result: { l: [{ a: 1 }], b: 1, c: { a: 1 } },
  },
  {
    claim: "copy takes null",
    document: { a: null },
    operations: [{ op: "copy", from: "/a", path: "/b" }],
    result: { a: null, b: null },
  },
  {
    claim: "copy may go into itself",
    document: { a: { b: 1 } },
    operations: [{ op: "copy", from: "/a", path: "/a/c" }],
    result: { a: { b: 1, c: { b: 1 } } },
  },
  {
    claim: "copy inserts into an array",
    document: ["a", "b"],
    operations: [{ op: "copy", from: "/1", path: "/0" }],
    result: ["b", "a", "b"],
  },
  {
    claim: "a copy does not follow its source",
    document: { a: { b: { l: [{ c: 1 }] } } },
    operations: [
      { op: "copy", from: "/a", path: "/d" },
      { op: "replace", path: "/a/b/l/0/c", value: 2 },
    ],
    result: { a: { b: { l: [{ c: 2 }] } }, d: { b: { l: [{ c: 1 }] } } },
  },
  {
    claim: "a source does not follow its copy",
    document: { a: { b: { l: [{ c: 1 }] } } },
    operations: [
      { op: "copy", from: "/a", path: "/d" },
      { op: "replace", path: "/d/b/l/0/c", value: 2 },
    ],
    result: { a: { b: { l: [{ c: 1 }] } }, d: { b: { l: [{ c: 2 }] } } },
  },
  {
    claim: "copy refuses a missing source",
    document: { a: 1 },
    operations: [{ op: "copy", from: "/b", path: "/a" }],
  },
  {
    claim: "copy refuses an exponent as index",
    document: { l: [1, 2, 3] },
    operations: [{ op: "copy", from: "/l/1e0", path: "/a" }],
  },

  // test.
  {
    claim: "tests that hold change nothing (A.8)",
    document: { tea: "green", l: ["a", 2, "c"] },
    operations: [{ op: "test", path: "/tea", value: "green" }, {
      op: "test",
      path: "/l/1",
      value: 2,
    }],
    result: { tea: "green", l: ["a", 2, "c"] },
  },
  {
    claim: "a test that does not hold refuses (A.9)",
    document: { tea: "green" },
    operations: [{ op: "test", path: "/tea", value: "black" }],
  },
  {
    claim: "a test that does not hold refuses what went before",
    document: { tea: "green" },
    operations: [
      { op: "replace", path: "/tea", value: "black" },
      { op: "test", path: "/tea", value: "green" },
    ],
  },
  {
    claim: "test finds null",
    document: { a: null },
    operations: [{ op: "test", path: "/a", value: null }],
    result: { a: null },
  },
  {
    claim: "test does not take a missing member for null",
    document: {},
    operations: [{ op: "test", path: "/a", value: null }],
  },
  {
    claim: "test ignores the order of members",
    document: { in: { a: 1, b: 2 } },
    operations: [{ op: "test", path: "/in", value: { b: 2, a: 1 } }],
    result: { in: { a: 1, b: 2 } },
  },
  {
    claim: "test ignores the order of members in an array",
    document: { l: [{ a: 1, b: 2 }] },
    operations: [{ op: "test", path: "/l", value: [{ b: 2, a: 1 }] }],
    result: { l: [{ a: 1, b: 2 }] },
  },
  {
    claim: "test compares deeply",
    document: { a: { l: [1, 2, 5] } },
    operations: [{ op: "test", path: "/a", value: { l: [1, 2, 5] } }],
    result: { a: { l: [1, 2, 5] } },
  },
  {
    claim: "test does not take an object for an array",
    document: { a: { l: [1, 2, 5] } },
    operations: [{ op: "test", path: "/a", value: [1, 2] }],
  },
  {
    claim: "test heeds the order of items",
    document: { l: [1, 2] },
    operations: [{ op: "test", path: "/l", value: [2, 1] }],
  },
  {
    claim: "test does not take a part for the whole",
    document: { in: { a: 1, b: 2 } },
    operations: [{ op: "test", path: "/in", value: { a: 1 } }],
  },
  {
    claim: "test ignores unknown members of an operation",
    document: { a: 1 },
    operations: [{ op: "test", path: "/a", value: 1, note: 1 }],
    result: { a: 1 },
  },
  {
    claim: "test finds the empty key",
    document: { "": 1 },
    operations: [{ op: "test", path: "/", value: 1 }],
    result: { "": 1 },
  },
  {
    claim: "test finds a key that looks like a number",
    document: { "1e0": "a" },
    operations: [{ op: "test", path: "/1e0", value: "a" }],
    result: { "1e0": "a" },
  },
  {
    claim: "test refuses an exponent as index",
    document: ["a", "b"],
    operations: [{ op: "test", path: "/1e0", value: "b" }],
  },
  {
    claim: "test refuses a leading zero before 0",
    document: ["a", "b"],
    operations: [{ op: "test", path: "/00", value: "a" }],
  },
  {
    claim: "test refuses a leading zero before 1",
    document: ["a", "b"],
    operations: [{ op: "test", path: "/01", value: "b" }],
  },

  // Pointers (RFC 6901, section 5, and escapes).
  {
    claim: "pointers escape ~ and / and nothing else (RFC 6901)",
    document: {
      foo: ["bar", "baz"],
      "": 0,
      "a/b": 1,
      "c%d": 2,
      "e^f": 3,
      "g|h": 4,
      "i\\j": 5,
      'k"l': 6,
      " ": 7,
      "m~n": 8,
    },
    operations: [
      { op: "test", path: "/foo", value: ["bar", "baz"] },
      { op: "test", path: "/foo/0", value: "bar" },
      { op: "test", path: "/", value: 0 },
      { op: "test", path: "/a~1b", value: 1 },
      { op: "test", path: "/c%d", value: 2 },
      { op: "test", path: "/e^f", value: 3 },
      { op: "test", path: "/g|h", value: 4 },
      { op: "test", path: "/i\\j", value: 5 },
      { op: "test", path: '/k"l', value: 6 },
      { op: "test", path: "/ ", value: 7 },
      { op: "test", path: "/m~0n", value: 8 },
      { op: "replace", path: "", value: "all held" },
    ],
    result: "all held",
  },
  {
    claim: "~01 is ~1 and not / (A.14)",
    document: { "/": 1, "~1": 2 },
    operations: [{ op: "test", path: "/~01", value: 2 }],
    result: { "/": 1, "~1": 2 },
  },
  {
    claim: "a number is not its digits (A.15)",
    document: { "/": 1, "~1": 10 },
    operations: [{ op: "test", path: "/~01", value: "10" }],
  },
  {
    claim: "a pointer begins with /",
    document: {},
    operations: [{ op: "add", path: "a", value: 1 }],
  },

  // Malformed operations.
  {
    claim: "operations need a path",
    document: {},
    operations: [{ op: "add", value: 1 }],
  },
  {
    claim: "a path is not null",
    document: {},
    operations: [{ op: "add", path: null, value: 1 }],
  },
  {
    claim: "a path is no number",
    document: [1],
    operations: [{ op: "remove", path: 0 }],
  },
  {
    claim: "add needs a value",
    document: [1],
    operations: [{ op: "add", path: "/-" }],
  },
  {
    claim: "replace needs a value",
    document: [1],
    operations: [{ op: "replace", path: "/0" }],
  },
  {
    claim: "test needs a value",
    document: [null],
    operations: [{ op: "test", path: "/0" }],
  },
  {
    claim: "test needs a value where false stands",
    document: [false],
    operations: [{ op: "test", path: "/0" }],
  },
  {
    claim: "copy needs a source",
    document: [1],
    operations: [{ op: "copy", path: "/-" }],
  },
  {
    claim: "move needs a source",
    document: { a: 1 },
    operations: [{ op: "move", path: "" }],
  },
  {
    claim: "an unknown operation is refused (A.13 is one for parsers)",
    document: { a: 1 },
    operations: [{ op: "put", path: "/a", value: 2 }],
  },
  {
    claim: "an operation needs an op",
    document: { a: 1 },
    operations: [{ path: "/a", value: 2 }],
  },
  {
    claim: "an operation is an object",
    document: { a: 1 },
    operations: ["remove /a"],
  },
  { claim: "an operation is not null", document: { a: 1 }, operations: [null] },
  {
    claim: "operations are an array",
    document: { a: 1 },
    operations: { op: "remove", path: "/a" },
  },
];
