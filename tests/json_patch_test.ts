import assert from "node:assert/strict";
import { applyPatch as applyWithLibrary, Pointer } from "rfc6902";
import { HeadwaterError } from "../protocol/errors.ts";
import {
  applyJsonPatch,
  fromJsonPatch,
  type JsonPatchOperation,
  toJsonPatch,
} from "../protocol/json_patch.ts";
import { applyPatch } from "../protocol/patch.ts";
import { freezeDeep, type Json } from "../protocol/value.ts";
import {
  randomJson,
  randomObject,
  randomOperations,
  randomPatch,
  SeededRandom,
} from "./_arbitraries.ts";
import { JSON_PATCH_CASES } from "./data/json_patch_cases.ts";

for (const { claim, document, operations, result } of JSON_PATCH_CASES) {
  Deno.test(`applyJsonPatch() conforms: ${claim}`, () => {
    const before = structuredClone(document);
    const frozen = freezeDeep(structuredClone(document));
    const apply = () =>
      applyJsonPatch(frozen, operations as JsonPatchOperation[]); // many are malformed
    if (result === undefined) {
      assert.throws(
        apply,
        (error) =>
          error instanceof HeadwaterError && error.code === "bad_patch",
      );
    } else {
      assert.deepEqual(apply(), result);
      assert.deepEqual(
        applyPatch(document, fromJsonPatch(document, operations).patch),
        result,
      );
    }
    assert.deepEqual(document, before);
  });
}

/** What became of a document, or that the operations were refused. */
type Outcome = { readonly state: Json } | "refused";

function ourOutcome(
  document: Json,
  operations: readonly JsonPatchOperation[],
): Outcome {
  try {
    return { state: applyJsonPatch(document, operations) };
  } catch (error) {
    if (error instanceof HeadwaterError && error.code === "bad_patch") {
      return "refused";
    }
    throw error;
  }
}

function outcomeOfLibrary(
  document: Json,
  operations: readonly JsonPatchOperation[],
): Outcome {
  const root = structuredClone(document); // it changes the document in place
  try {
    for (const operation of structuredClone(operations)) {
      const failures = applyWithLibrary(
        root,
        asRemoveAndAdd(root, operation) as JsonPatchOperation[],
      );
      if (failures.some((failure) => failure !== null)) return "refused";
    }
    return { state: root };
  } catch (error) {
    // So it refuses to put a member into a string.
    if (error instanceof TypeError) return "refused";
    throw error;
  }
}

/**
 * RFC 6902, sections 4.4 and 4.5: a move is a remove and then an add, a copy is an
 * add. With arrays `rfc6902` departs from that: it looks for a move's target before
 * it removes, and does not check the target's index. Written out, it is right.
 */
function asRemoveAndAdd(
  root: Json,
  operation: JsonPatchOperation,
): readonly JsonPatchOperation[] {
  if (operation.op !== "move" && operation.op !== "copy") return [operation];
  const { op, from, path } = operation;
  const isInArray = Array.isArray(Pointer.fromJSON(path).evaluate(root).parent);
  if (!isInArray && !/\/(-|[0-9]+)(\/|$)/.test(from + path)) return [operation];
  if (op === "move" && (path === from || path.startsWith(`${from}/`))) {
    return [operation];
  }
  const value = Pointer.fromJSON(from).get(root);
  if (value === undefined) return [operation]; // which it refuses
  const add: JsonPatchOperation = {
    op: "add",
    path,
    value: structuredClone(value),
  };
  return op === "copy" ? [add] : [{ op: "remove", path: from }, add];
}

/** Where `rfc6902` 5.4 departs from the RFC, so that it cannot judge us. */
const DIFFERENCES: Record<string, (operation: JsonPatchOperation) => boolean> =
  {
    "it cannot put another value for the whole document": ({ op, path }) =>
      path === "" && op !== "test",
    "it finds members that objects and arrays inherit": (operation) =>
      /\/(toString|length)/.test(
        operation.path + ("from" in operation ? operation.from : ""),
      ),
  };

Deno.test("applyJsonPatch() agrees with rfc6902 on 100,000 random documents", () => {
  let compared = 0;
  let agreed = 0;
  let refused = 0;
  for (let seed = 1; compared < 100_000; seed++) {
    const random = new SeededRandom(seed);
    const document = seed % 3 === 0
      ? randomJson(random, 3)
      : randomObject(random, 3);
    const operations = randomOperations(random, document);
    if (
      operations.some((operation) =>
        Object.values(DIFFERENCES).some((departs) => departs(operation))
      )
    ) {
      continue;
    }
    compared++;
    const ours = ourOutcome(document, operations);
    const theirs = outcomeOfLibrary(document, operations);
    assert.deepEqual(
      ours,
      theirs,
      `seed ${seed}: ${JSON.stringify({ document, operations })}`,
    );
    if (ours === "refused") refused++;
    else agreed++;
  }
  // Else the agreement says little.
  assert(agreed > 50_000, `only ${agreed} were applied`);
  assert(refused > 5_000, `only ${refused} were refused`);
});

Deno.test("fromJsonPatch() gives a compact patch with the same effect", () => {
  let applied = 0;
  for (let seed = 1; seed <= 10_000; seed++) {
    const random = new SeededRandom(seed);
    const document = randomObject(random, 3);
    const operations = randomOperations(random, document);
    if (ourOutcome(document, operations) === "refused") continue;
    applied++;
    const { state, patch } = fromJsonPatch(document, operations);
    assert.deepEqual(applyPatch(document, patch), state, `seed ${seed}`);
  }
  assert(applied > 5_000);
});

Deno.test("toJsonPatch() writes a patch that has the same effect", () => {
  assert.deepEqual(
    toJsonPatch([
      { op: "add", path: ["a/b", 0], value: 1 },
      { op: "replace", path: [], value: null },
      { op: "remove", path: ["m~n"] },
    ]),
    [
      { op: "add", path: "/a~1b/0", value: 1 },
      { op: "replace", path: "", value: null },
      { op: "remove", path: "/m~0n" },
    ],
  );
  for (let seed = 1; seed <= 5_000; seed++) {
    const random = new SeededRandom(seed);
    const state = randomJson(random, 4);
    const patch = randomPatch(random, state, 6);
    assert.deepEqual(
      applyJsonPatch(state, toJsonPatch(patch)),
      applyPatch(state, patch),
      `seed ${seed}`,
    );
  }
});

const HOSTILE: [string, JsonPatchOperation, string][] = [
  [
    "to add __proto__",
    { op: "add", path: "/__proto__", value: { x: 1 } },
    "bad_patch",
  ],
  [
    "to go through __proto__",
    { op: "add", path: "/__proto__/x", value: 1 },
    "bad_patch",
  ],
  ["to go through constructor", {
    op: "add",
    path: "/constructor/prototype/x",
    value: 1,
  }, "bad_patch"],
  ["to replace an inherited member", {
    op: "replace",
    path: "/toString",
    value: 1,
  }, "bad_patch"],
  [
    "to copy an inherited member",
    { op: "copy", from: "/toString", path: "/x" },
    "bad_patch",
  ],
  [
    "to move onto __proto__",
    { op: "move", from: "/a", path: "/__proto__" },
    "bad_patch",
  ],
  [
    "to set a length",
    { op: "replace", path: "/list/length", value: 0 },
    "bad_patch",
  ],
  ["an index that no number holds", {
    op: "add",
    path: `/list/${"9".repeat(400)}`,
    value: 0,
  }, "bad_patch"],
  ["a value with __proto__", {
    op: "add",
    path: "/x",
    value: JSON.parse('{"__proto__":1}'),
  }, "bad_value"],
  [
    "a value that is not JSON",
    { op: "add", path: "/x", value: NaN },
    "bad_value",
  ],
];

for (const [what, operation, code] of HOSTILE) {
  Deno.test(`applyJsonPatch() refuses ${what}`, () => {
    const document = freezeDeep({ a: {}, list: [1] });
    assert.throws(() => applyJsonPatch(document, [operation]), { code });
    assert.equal(({} as Record<string, unknown>)["x"], undefined);
  });
}

Deno.test("applyJsonPatch() does not let copies of copies grow without end", () => {
  const operations = Array.from(
    { length: 40 },
    (_, n): JsonPatchOperation => ({ op: "copy", from: "/a", path: `/a/${n}` }),
  );
  assert.throws(() => applyJsonPatch({ a: {} }, operations), {
    limit: "nodes",
    allowed: 100_000,
  });
});

Deno.test("applyJsonPatch() does not let values go deeper than the limit", () => {
  const nest: JsonPatchOperation[] = [
    { op: "add", path: "/b", value: {} },
    { op: "move", from: "/a", path: "/b/a" },
    { op: "move", from: "/b", path: "/a" },
  ];
  const operations = Array.from({ length: 70 }, () => nest).flat();
  assert.throws(() => applyJsonPatch({ a: {} }, operations), {
    limit: "depth",
    allowed: 64,
  });
});
