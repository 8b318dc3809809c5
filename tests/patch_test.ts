import assert from "node:assert/strict";
import fc from "fast-check";
import { HeadwaterError } from "../protocol/errors.ts";
import {
  applyPatch,
  composePatches,
  invertPatch,
  type Patch,
  type PatchOp,
} from "../protocol/patch.ts";
import { decodePatch, encodePatch } from "../protocol/patch_codec.ts";
import { freezeDeep, type Json } from "../protocol/value.ts";
import {
  randomJson,
  randomObject,
  randomPatch,
  SeededRandom,
} from "./_arbitraries.ts";

/** Runs `check` on random states, each with a patch that fits. */
function forRandomPatches(
  runs: number,
  check: (state: Json, patch: Patch, random: SeededRandom) => void,
) {
  for (let seed = 1; seed <= runs; seed++) {
    const random = new SeededRandom(seed);
    const state = freezeDeep(
      seed % 4 === 0 ? randomJson(random, 4) : randomObject(random, 4),
    );
    try {
      check(state, randomPatch(random, state, 8), random);
    } catch (error) {
      throw new Error(`Seed ${seed} fails`, { cause: error });
    }
  }
}

/** Applies a patch in the plainest way: in place, on a copy. */
function applyPlainly(state: Json, patch: Patch): Json {
  // deno-lint-ignore no-explicit-any
  const root: any = { state: structuredClone(state) };
  for (const op of patch) {
    const path = ["state", ...op.path];
    const last = path.pop()!;
    const parent = path.reduce((at, segment) => at[segment], root);
    if (op.op === "remove") {
      Array.isArray(parent)
        ? parent.splice(last as number, 1)
        : delete parent[last];
    } else if (op.op === "add" && Array.isArray(parent)) {
      parent.splice(last as number, 0, structuredClone(op.value));
    } else parent[last] = structuredClone(op.value);
  }
  return root.state;
}

Deno.test("applyPatch() does what plain changes in place do, and leaves its input alone", () => {
  forRandomPatches(5_000, (state, patch) => {
    freezeDeep(patch as unknown as Json); // nothing of it may change either
    assert.deepEqual(applyPatch(state, patch), applyPlainly(state, patch));
  });
});

Deno.test("applyPatch() adds to, replaces in and removes from arrays and objects", () => {
  const state = { list: [1, 2, 3], map: { a: 1 } };
  const cases: [PatchOp, Json][] = [
    [{ op: "add", path: ["list", 0], value: 0 }, {
      list: [0, 1, 2, 3],
      map: { a: 1 },
    }],
    [{ op: "add", path: ["list", 3], value: 4 }, {
      list: [1, 2, 3, 4],
      map: { a: 1 },
    }],
    [{ op: "replace", path: ["list", 1], value: "x" }, {
      list: [1, "x", 3],
      map: { a: 1 },
    }],
    [{ op: "remove", path: ["list", 0] }, { list: [2, 3], map: { a: 1 } }],
    [{ op: "add", path: ["map", "b"], value: 2 }, {
      list: [1, 2, 3],
      map: { a: 1, b: 2 },
    }],
    [{ op: "add", path: ["map", "a"], value: 2 }, {
      list: [1, 2, 3],
      map: { a: 2 },
    }],
    [{ op: "add", path: ["map", "toString"], value: 2 }, {
      list: [1, 2, 3],
      map: { a: 1, toString: 2 },
    }],
    [{ op: "replace", path: ["map", "a"], value: null }, {
      list: [1, 2, 3],
      map: { a: null },
    }],
    [{ op: "remove", path: ["map", "a"] }, { list: [1, 2, 3], map: {} }],
    [{ op: "replace", path: [], value: 5 }, 5],
    [{ op: "add", path: [], value: [] }, []],
  ];
  for (const [op, expected] of cases) {
    assert.deepEqual(applyPatch(state, [op]), expected);
  }
});

Deno.test("applyPatch() shares what it does not touch", () => {
  const state = {
    a: { deep: [1] },
    b: { deep: [2] },
    list: [{ n: 1 }, { n: 2 }],
  };
  const next = applyPatch(state, [{
    op: "replace",
    path: ["list", 1, "n"],
    value: 3,
  }]) as typeof state;
  assert.equal(next.a, state.a);
  assert.equal(next.b, state.b);
  assert.equal(next.list[0], state.list[0]);
  assert.notEqual(next.list, state.list);
  assert.equal(applyPatch(state, []), state);
});

Deno.test("applyPatch() does not change a value that stands in the patch", () => {
  const value = { n: 1 };
  const next = applyPatch({}, [
    { op: "add", path: ["a"], value },
    { op: "add", path: ["b"], value },
    { op: "replace", path: ["a", "n"], value: 2 },
  ]);
  assert.deepEqual(value, { n: 1 });
  assert.deepEqual(next, { a: { n: 2 }, b: { n: 1 } });
});

Deno.test("applyPatch() freezes what is new, and only if asked", () => {
  const state = { list: [{ n: 1 }, { n: 2 }], other: {} };
  const patch: Patch = [
    { op: "replace", path: ["list", 1, "n"], value: 3 },
    { op: "add", path: ["map"], value: { in: [{}] } },
  ];
  assert(!Object.isFrozen(applyPatch(state, patch)));
  const frozen = applyPatch(state, patch, { freeze: true }) as {
    list: Json[];
    map: { in: Json[] };
  };
  assert.deepEqual(frozen, {
    list: [{ n: 1 }, { n: 3 }],
    other: {},
    map: { in: [{}] },
  });
  for (
    const part of [
      frozen,
      frozen.list,
      frozen.list[1],
      frozen.map,
      frozen.map.in,
      frozen.map.in[0],
    ]
  ) {
    assert(Object.isFrozen(part));
  }
  // Its old parts were the caller's, and would take as long as the state is large.
  assert(!Object.isFrozen(frozen.list[0]));
  const again = applyPatch(
    frozen,
    [{ op: "add", path: ["list", 0], value: 0 }],
    { freeze: true },
  );
  assert(Object.isFrozen((again as typeof frozen).list));
});

Deno.test("applyPatch() copies a container once, however many steps change it", () => {
  const items = Array.from({ length: 10_000 }, (_, n) => ({ n }));
  const patch: PatchOp[] = [];
  for (let n = 0; n < 500; n++) {
    patch.push({ op: "replace", path: ["items", n, "n"], value: -n });
  }
  const iterate = Array.prototype[Symbol.iterator];
  let copies = 0;
  Array.prototype[Symbol.iterator] = function () {
    if (this.length === items.length) copies++;
    return iterate.call(this);
  };
  try {
    applyPatch({ items }, patch);
  } finally {
    Array.prototype[Symbol.iterator] = iterate;
  }
  assert.equal(copies, 1);
});

const STATE = freezeDeep({
  list: [1, { n: 1 }],
  map: { a: 1 },
  text: "abc",
  none: null,
});

const MISFITS: [string, PatchOp, string][] = [
  [
    "an index over the end",
    { op: "add", path: ["list", 3], value: 1 },
    "/list/3",
  ],
  ["the index after the last, to replace", {
    op: "replace",
    path: ["list", 2],
    value: 1,
  }, "/list/2"],
  [
    "the index after the last, to remove",
    { op: "remove", path: ["list", 2] },
    "/list/2",
  ],
  ["the index 4294967294", {
    op: "add",
    path: ["list", 4_294_967_294],
    value: 1,
  }, "/list/4294967294"],
  ["an index below 0", { op: "add", path: ["list", -1], value: 1 }, "/list/-1"],
  ["an index that is not whole", {
    op: "replace",
    path: ["list", 0.5],
    value: 1,
  }, "/list/0.5"],
  [
    "NaN as index",
    { op: "replace", path: ["list", NaN], value: 1 },
    "/list/NaN",
  ],
  [
    "a key of an array",
    { op: "replace", path: ["list", "0"], value: 1 },
    "/list/0",
  ],
  ["the length of an array", {
    op: "replace",
    path: ["list", "length"],
    value: 0,
  }, "/list/length"],
  ["- in an array", { op: "add", path: ["list", "-"], value: 0 }, "/list/-"],
  [
    "a method of an array",
    { op: "replace", path: ["list", "push"], value: 0 },
    "/list/push",
  ],
  [
    "an index of an object",
    { op: "add", path: ["map", 0], value: 0 },
    "/map/0",
  ],
  ["a missing member, to replace", {
    op: "replace",
    path: ["map", "b"],
    value: 0,
  }, "/map/b"],
  [
    "a missing member, to remove",
    { op: "remove", path: ["map", "b"] },
    "/map/b",
  ],
  ["an inherited member", {
    op: "replace",
    path: ["map", "toString"],
    value: 0,
  }, "/map/toString"],
  [
    "a way through an inherited member",
    { op: "add", path: ["map", "valueOf", "x"], value: 0 },
    "/map/valueOf",
  ],
  [
    "the key __proto__",
    { op: "add", path: ["map", "__proto__"], value: {} },
    "/map/__proto__",
  ],
  ["a way through __proto__", {
    op: "add",
    path: ["map", "__proto__", "x"],
    value: 0,
  }, "/map/__proto__"],
  [
    "the key constructor",
    { op: "add", path: ["constructor"], value: {} },
    "/constructor",
  ],
  [
    "the key prototype",
    { op: "add", path: ["prototype"], value: {} },
    "/prototype",
  ],
  [
    "a way through nothing",
    { op: "add", path: ["gone", "x"], value: {} },
    "/gone",
  ],
  ["a way through a string", {
    op: "replace",
    path: ["text", "length"],
    value: 1,
  }, "/text"],
  [
    "a way through a number",
    { op: "add", path: ["list", 0, "x"], value: 1 },
    "/list/0",
  ],
  ["a way through null", { op: "add", path: ["none", "x"], value: 1 }, "/none"],
  ["the root, to remove", { op: "remove", path: [] }, ""],
];

for (const [what, op, path] of MISFITS) {
  Deno.test(`applyPatch() refuses ${what} and says where`, () => {
    const first: PatchOp = { op: "replace", path: ["map", "a"], value: 2 };
    for (const apply of [applyPatch, invertPatch]) {
      assert.throws(() => apply(STATE, [first, op]), {
        name: "HeadwaterError",
        code: "bad_patch",
        path,
      });
    }
    assert.deepEqual(STATE, {
      list: [1, { n: 1 }],
      map: { a: 1 },
      text: "abc",
      none: null,
    });
    assert.equal(({} as Record<string, unknown>)["x"], undefined);
  });
}

Deno.test("applyPatch() refuses the root of a state that is no container", () => {
  assert.throws(() => applyPatch(5, [{ op: "add", path: ["x"], value: 1 }]), {
    code: "bad_patch",
    path: "",
  });
});

Deno.test("invertPatch() gives the way back", () => {
  forRandomPatches(5_000, (state, patch) => {
    const next = applyPatch(state, patch);
    assert.deepEqual(applyPatch(next, invertPatch(state, patch)), state);
  });
});

Deno.test("composePatches() has the effect of all, in order", () => {
  forRandomPatches(3_000, (state, patch, random) => {
    let current = applyPatch(state, patch);
    const patches = [patch];
    for (let count = random.below(4); count > 0; count--) {
      const next = randomPatch(random, current, 4);
      patches.push(next);
      current = applyPatch(current, next);
    }
    assert.deepEqual(applyPatch(state, composePatches(patches)), current);
  });
});

Deno.test("composePatches() leaves out what is overridden, and nothing else", () => {
  const replace = (path: (string | number)[], value: Json): PatchOp => ({
    op: "replace",
    path,
    value,
  });
  assert.deepEqual(
    composePatches([[replace(["a"], 1)], [replace(["b"], 2)], [
      replace(["a"], 3),
    ]]),
    [replace(["a"], 3), replace(["b"], 2)],
  );
  const asKeyAndIndex = [replace(["m", "1"], 1), replace(["m", 1], 2)];
  assert.deepEqual(
    composePatches([[asKeyAndIndex[0]!], [asKeyAndIndex[1]!]]),
    asKeyAndIndex,
  );
  // The deeper one looks into what the first put there.
  const deeper = [
    replace(["a"], { b: 1 }),
    replace(["a", "b"], 2),
    replace(["a"], 3),
  ];
  assert.deepEqual(composePatches(deeper.map((op) => [op])), deeper);
  // The insert moves item 0, so that both replace different items.
  const moved: PatchOp[] = [
    replace(["l", 0], 1),
    { op: "add", path: ["l", 0], value: 0 },
    replace(["l", 0], 2),
  ];
  assert.deepEqual(composePatches(moved.map((op) => [op])), moved);
});

Deno.test("composePatches() takes linear time", () => {
  const patches: Patch[] = Array.from(
    { length: 100_000 },
    (_, n) => [{ op: "replace", path: ["items", n % 50_000], value: n }],
  );
  assert.equal(composePatches(patches).length, 50_000);
});

Deno.test("encodePatch() writes one flat array", () => {
  const patch: Patch = [
    { op: "replace", path: ["items", 3, "done"], value: true },
    { op: "add", path: ["items", 0], value: [1] },
    { op: "remove", path: ["a"] },
    { op: "replace", path: [], value: [] },
  ];
  assert.deepEqual(encodePatch(patch), [
    ["items", 3, "done"],
    true,
    1,
    ["items", 0],
    [1],
    2,
    ["a"],
    [],
    [],
  ]);
});

Deno.test("decodePatch() reads what encodePatch() writes", () => {
  forRandomPatches(2_000, (_state, patch) => {
    assert.deepEqual(
      decodePatch(JSON.parse(JSON.stringify(encodePatch(patch)))),
      patch,
    );
  });
});

const MALFORMED: [string, unknown][] = [
  ["no array", {}],
  ["nothing", undefined],
  ["undefined as code", [undefined, ["a"], 1]],
  ["a string", "[]"],
  ["a code that does not exist", [3, ["a"], 1]],
  ["the code 0", [0, ["a"], 1]],
  ["a code that is not whole", [1.5, ["a"], 1]],
  ["a string as code", ["1", ["a"], 1]],
  ["a code without path", [1]],
  ["a code and no path", [2, 5]],
  ["a path as an object", [1, { 0: "a" }, 1]],
  ["a replace without value", [["a"]]],
  ["an add without value", [1, ["a"]]],
  ["an index below 0", [["a", -1], 1]],
  ["an index that is not whole", [["a", 0.5], 1]],
  ["an index that is too large", [["a", 4_294_967_295], 1]],
  ["NaN as index", [["a", NaN], 1]],
  ["a segment that is null", [["a", null], 1]],
  ["a segment that is an array", [["a", ["b"]], 1]],
  ["the key __proto__", [["a", "__proto__"], 1]],
  ["the key constructor", [1, ["constructor"], 1]],
  ["the key prototype", [2, ["prototype"]]],
  ["a lone surrogate in a key", [["\ud800"], 1]],
];

for (const [what, json] of MALFORMED) {
  Deno.test(`decodePatch() refuses ${what}`, () => {
    assert.throws(() => decodePatch(json), {
      name: "HeadwaterError",
      code: "bad_patch",
    });
    // What comes before it is fine, and must not save it.
    if (Array.isArray(json)) {
      assert.throws(() => decodePatch([["a"], 1, ...json]), {
        code: "bad_patch",
      });
    }
  });
}

Deno.test("decodePatch() refuses a path that is deeper than values may be", () => {
  const path = (length: number) => Array.from({ length }, () => "a");
  assert.equal(decodePatch([path(64), 1]).length, 1);
  assert.throws(() => decodePatch([path(65), 1]), {
    limit: "depth",
    allowed: 64,
    actual: 65,
  });
});

Deno.test("decodePatch() never throws anything but its own errors", () => {
  fc.assert(fc.property(fc.anything(), (value) => {
    for (
      const json of [value, [value], [1, value], [["a"], value], [value, value]]
    ) {
      try {
        decodePatch(json);
      } catch (error) {
        assert(error instanceof HeadwaterError);
      }
    }
  }));
});
