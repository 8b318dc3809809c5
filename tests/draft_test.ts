import assert from "node:assert/strict";
import fc from "fast-check";
import { diffStates } from "../protocol/diff.ts";
import { type Recipe, runRecipe } from "../protocol/draft.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import { applyPatch, type Patch } from "../protocol/patch.ts";
import {
  cleanValue,
  equalValues,
  freezeDeep,
  type Json,
} from "../protocol/value.ts";
import {
  anyJson,
  randomObject,
  randomPatch,
  SeededRandom,
} from "./_arbitraries.ts";

interface Item {
  id: string;
  n: number;
  done?: boolean | undefined;
}

function manyItems(count: number): { items: Item[] } {
  return {
    items: Array.from(
      { length: count },
      (_, n) => ({ id: `item ${n}`, n, done: false }),
    ),
  };
}

/** Runs a recipe on frozen state, and checks the patch against the new state. */
function runChecked<T, R>(
  state: T,
  recipe: Recipe<T, R>,
): ReturnType<typeof runRecipe> {
  const before = structuredClone(state);
  const result = runRecipe(freezeDeep(state), recipe);
  assert.deepEqual(state, before);
  assert.deepEqual(applyPatch(state as Json, result.patch), result.state);
  assert.deepEqual(cleanValue(result.state), result.state);
  return result;
}

Deno.test("runRecipe() changes a copy, and tells the changes", () => {
  const start = { items: [{ id: "the first item", n: 1 }], title: "x" };
  const { state, patch, value } = runChecked(start, (draft) => {
    draft.items[0]!.n++;
    draft.items.push({ id: "b", n: 2 });
    draft.title = "y";
  });
  assert.deepEqual(state, {
    items: [{ id: "the first item", n: 2 }, { id: "b", n: 2 }],
    title: "y",
  });
  assert.deepEqual(patch, [
    { op: "replace", path: ["items", 0, "n"], value: 2 },
    { op: "add", path: ["items", 1], value: { id: "b", n: 2 } },
    { op: "replace", path: ["title"], value: "y" },
  ]);
  assert.equal(value, undefined);
});

Deno.test("runRecipe() gives the same state and no patch where nothing changes", () => {
  const state = freezeDeep({ items: [{ n: 1 }], title: "x" });
  const recipes: Recipe<{ items: { n: number }[]; title: string }, unknown>[] =
    [
      () => {},
      (draft) => draft.items[0]!.n,
      (draft) => void (draft.title = "x"),
      (draft) => void (draft.items[0] = { n: 1 }),
      (draft) => {
        draft.items.push({ n: 2 });
        draft.items.pop();
      },
      (draft) => {
        draft.items[0]!.n = 5;
        draft.items[0]!.n = 1;
      },
      (draft) => void ((draft as Record<string, unknown>)["other"] = undefined),
    ];
  for (const recipe of recipes) {
    const result = runRecipe(state, recipe);
    assert.equal(result.state, state);
    assert.deepEqual(result.patch, []);
  }
});

Deno.test("runRecipe() copies what the recipe returns, and never makes it the state", () => {
  const state = { items: [{ n: 1 }], title: "x" };
  assert.equal(
    runChecked(state, (draft) => draft.items.push({ n: 2 })).value,
    2,
  );
  const returned = { own: [1] };
  const other = runChecked(state, () => returned);
  assert.deepEqual(other.value, returned);
  assert.notEqual(other.value, returned);
  assert.equal(other.state, state);
  const draft = runChecked(state, (draft) => {
    draft.items[0]!.n = 7;
    return { first: draft.items[0], all: draft };
  });
  assert.deepEqual(draft.value, {
    first: { n: 7 },
    all: { items: [{ n: 7 }], title: "x" },
  });
  assert.equal(runChecked(state, () => null).value, null);
  assert.throws(() => runRecipe(state, () => new Map()), {
    code: "bad_value",
    message: "Cannot share what the recipe returned: found an instance of Map",
  });
});

Deno.test("runRecipe() lets the recipe's error pass, and nothing has changed", () => {
  const state = freezeDeep(manyItems(3));
  const failure = new Error("no seats");
  assert.throws(
    () =>
      runRecipe(state, (draft) => {
        draft.items.pop();
        throw failure;
      }),
    (error) => error === failure,
  );
  assert.equal(state.items.length, 3);
});

Deno.test("runRecipe() refuses a recipe that returns a promise, whose failure is handled", async () => {
  const unhandled: unknown[] = [];
  const listener = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", listener);
  try {
    const state = freezeDeep({ n: 1 });
    let late: unknown;
    const slow = async (draft: { n: number }) => {
      draft.n = 2;
      await Promise.resolve();
      try {
        draft.n = 3;
      } catch (error) {
        late = error;
        throw error;
      }
    };
    assert.throws(() => runRecipe(state, slow), {
      name: "TypeError",
      message: /^Recipes are synchronous/,
    });
    assert.throws(
      () => runRecipe(state, () => Promise.reject(new Error("x"))),
      TypeError,
    );
    assert.throws(
      () => runRecipe(state, () => ({ then: () => {} })),
      TypeError,
    );
    await new Promise((resolve) => setTimeout(resolve));
    assert(late instanceof TypeError, "the draft has ended");
    assert.deepEqual(unhandled, []);
    assert.deepEqual(state, { n: 1 });
  } finally {
    globalThis.removeEventListener("unhandledrejection", listener);
  }
});

Deno.test("runRecipe() keeps the recipe's own objects out of the state", () => {
  const mine = { id: "b", n: 2 };
  const { state, patch } = runChecked(
    manyItems(1),
    (draft) => void draft.items.push(mine),
  );
  mine.n = 99;
  assert.equal((state as unknown as { items: Item[] }).items[1]!.n, 2);
  assert.deepEqual((patch[0] as { value: Json }).value, { id: "b", n: 2 });
  assert(!Object.isFrozen(mine));
});

Deno.test("runRecipe() freezes what is new if asked", () => {
  const state = freezeDeep(manyItems(2));
  const result = runRecipe(
    state,
    (draft) => void draft.items.push({ id: "b", n: 2 }),
    { freeze: true },
  );
  const after = result.state as unknown as typeof state;
  assert(
    Object.isFrozen(after) && Object.isFrozen(after.items) &&
      Object.isFrozen(after.items[2]),
  );
});

Deno.test("runRecipe() takes a state that is no container", () => {
  assert.deepEqual(runRecipe(5, (draft) => draft + 1), {
    state: 5,
    patch: [],
    value: 6,
  });
  assert.deepEqual(runRecipe(null, () => {}), {
    state: null,
    patch: [],
    value: undefined,
  });
});

const SHORT: [string, Recipe<{ items: Item[] }, unknown>, Patch][] = [
  ["unshift", (draft) => draft.items.unshift({ id: "x", n: -1 }), [
    { op: "add", path: ["items", 0], value: { id: "x", n: -1 } },
  ]],
  ["push", (draft) => draft.items.push({ id: "x", n: -1 }), [
    { op: "add", path: ["items", 10_000], value: { id: "x", n: -1 } },
  ]],
  ["shift", (draft) => draft.items.shift(), [{
    op: "remove",
    path: ["items", 0],
  }]],
  ["pop", (draft) => draft.items.pop(), [{
    op: "remove",
    path: ["items", 9_999],
  }]],
  ["splice that removes", (draft) => draft.items.splice(5_000, 2), [
    { op: "remove", path: ["items", 5_000] },
    { op: "remove", path: ["items", 5_000] },
  ]],
  [
    "splice that inserts",
    (draft) => draft.items.splice(5_000, 0, { id: "x", n: -1 }),
    [
      { op: "add", path: ["items", 5_000], value: { id: "x", n: -1 } },
    ],
  ],
  ["a field", (draft) => draft.items[7_000]!.done = true, [
    { op: "replace", path: ["items", 7_000, "done"], value: true },
  ]],
  ["two fields far apart", (draft) => {
    draft.items[10]!.done = true;
    draft.items[9_000]!.n = 5;
  }, [
    { op: "replace", path: ["items", 10, "done"], value: true },
    { op: "replace", path: ["items", 9_000, "n"], value: 5 },
  ]],
  [
    "filter",
    (draft) =>
      draft.items = draft.items.filter((item) =>
        item.n !== 3 && item.n !== 5_000
      ),
    [
      { op: "remove", path: ["items", 3] },
      { op: "remove", path: ["items", 4_999] },
    ],
  ],
  ["map with a spread", (draft) => {
    draft.items = draft.items.map((item) =>
      item.n === 5 ? { ...item, done: true } : item
    );
  }, [{ op: "replace", path: ["items", 5, "done"], value: true }]],
  [
    "a move to the front",
    (draft) => draft.items.unshift(draft.items.splice(5_000, 1)[0]!),
    [
      {
        op: "add",
        path: ["items", 0],
        value: { id: "item 5000", n: 5_000, done: false },
      },
      { op: "remove", path: ["items", 5_001] },
    ],
  ],
  ["a remove, a change and an insert", (draft) => {
    draft.items.splice(100, 1);
    draft.items[4_000]!.n = -4;
    draft.items.splice(8_000, 0, { id: "x", n: -1 });
  }, [
    { op: "remove", path: ["items", 100] },
    { op: "replace", path: ["items", 4_000, "n"], value: -4 },
    { op: "add", path: ["items", 8_000], value: { id: "x", n: -1 } },
  ]],
  ["both ends", (draft) => {
    draft.items.shift();
    draft.items.pop();
  }, [
    { op: "remove", path: ["items", 0] },
    { op: "remove", path: ["items", 9_998] },
  ]],
  ["emptying", (draft) => draft.items.length = 0, [{
    op: "replace",
    path: ["items"],
    value: [],
  }]],
  ["a new array", (draft) => draft.items = [{ id: "x", n: -1 }], [
    { op: "replace", path: ["items"], value: [{ id: "x", n: -1 }] },
  ]],
];

for (const [what, recipe, expected] of SHORT) {
  Deno.test(`runRecipe() tells shortly, on 10,000 items: ${what}`, () => {
    const { patch } = runChecked(
      manyItems(10_000),
      (draft) => void recipe(draft),
    );
    assert.deepEqual(patch, expected);
  });
}

Deno.test("runRecipe() sends a short array again rather than many steps", () => {
  const { patch } = runChecked(
    { tags: ["a", "b"] },
    (draft) => void (draft.tags = ["b", "c"]),
  );
  assert.deepEqual(patch, [{
    op: "replace",
    path: ["tags"],
    value: ["b", "c"],
  }]);
});

Deno.test("runRecipe() does not send an array again for the sake of some items", () => {
  const { patch } = runChecked(manyItems(100), (draft) => {
    for (const item of draft.items) if (item.n % 2) item.done = true;
  });
  assert.equal(patch.length, 50);
  assert(JSON.stringify(patch).length < 5_000);
});

Deno.test("runRecipe() sorts with fewer bytes than the array", () => {
  const random = new SeededRandom(1);
  const items = Array.from(
    { length: 1_000 },
    (_, n) => ({ id: `item ${n}`, n: random.below(1_000) }),
  );
  const { state, patch } = runChecked(
    { items },
    (draft) => void draft.items.sort((a, b) => a.n - b.n),
  );
  assert.deepEqual(state, { items: items.toSorted((a, b) => a.n - b.n) });
  assert(JSON.stringify(patch).length < 1.5 * JSON.stringify(items).length);
});

// A step of a random recipe. Numbers choose: where to walk, what to do, with what.
const STEP = fc.record({
  walk: fc.array(fc.nat({ max: 20 }), { maxLength: 4 }),
  action: fc.nat({ max: 20 }),
  from: fc.array(fc.nat({ max: 20 }), { maxLength: 3 }),
  a: fc.nat({ max: 12 }),
  b: fc.nat({ max: 4 }),
  value: anyJson(),
});
type Step = typeof STEP extends fc.Arbitrary<infer S> ? S : never;
type Loose = unknown[] | Record<string, unknown>;

function isLoose(value: unknown): value is Loose {
  return typeof value === "object" && value !== null;
}

function walkTo(root: Loose, walk: readonly number[]): Loose[] {
  const way = [root];
  for (const turn of walk) {
    const at = way.at(-1)!;
    const children = Object.values(at).filter(isLoose);
    if (children.length === 0) break;
    way.push(children[turn % children.length]!);
  }
  return way;
}

/** Changes `root` as the step says: the same way whether it is a draft or plain. */
function takeStep(root: Loose, step: Step): void {
  const target = walkTo(root, step.walk).at(-1)!;
  const value = structuredClone(step.value);
  const way = walkTo(root, step.from);
  const moved = way.at(-1)!;
  // What lies within itself has no JSON.
  const canHold = !walkTo(root, step.walk).includes(moved) &&
    !holds(moved, target);
  if (Array.isArray(target)) {
    changeArray(target, step, value, canHold ? moved : value);
  } else changeObject(target, step, value, canHold ? moved : value);
}

function holds(outer: unknown, inner: Loose): boolean {
  return outer === inner ||
    (isLoose(outer) &&
      Object.values(outer).some((value) => holds(value, inner)));
}

function changeArray(
  target: unknown[],
  { action, a, b }: Step,
  value: unknown,
  moved: unknown,
): void {
  const index = target.length === 0 ? 0 : a % target.length;
  const actions: (() => void)[] = [
    () => target.push(value),
    () => target.unshift(value),
    () => target.pop(),
    () => target.shift(),
    () => target.splice(index, b),
    () => target.splice(index, b, value),
    () => target.splice(index, 0, value, moved),
    () => target.splice(index, 1, ...target.slice(0, b)),
    () => target[index] = value,
    () => target[index] = moved,
    () => target.push(moved),
    () => target.reverse(),
    () => target.sort((x, y) => JSON.stringify(x) < JSON.stringify(y) ? -1 : 1),
    () => target.unshift(target.pop() ?? null),
    () => target.length = Math.min(b, target.length),
    () => target.fill(b, index),
    () => target.copyWithin(0, index),
    () =>
      [target[0], target[index]] = [target[index] ?? null, target[0] ?? null],
  ];
  actions[action % actions.length]!();
}

function changeObject(
  target: Record<string, unknown>,
  { action, a, b }: Step,
  value: unknown,
  moved: unknown,
): void {
  const keys = Object.keys(target);
  const key = keys[a % keys.length] ?? "fresh";
  const actions: (() => void)[] = [
    () => target[key] = value,
    () => target[`new ${b}`] = value,
    () => target[`new ${b}`] = moved,
    () => target[key] = moved,
    () => delete target[key],
    () => target[key] = undefined,
    () => target[key] = (target[key] as number) === 1 ? 2 : 1,
    () => {
      const kept = target[key];
      delete target[key];
      target[`new ${b}`] = kept;
    },
    () =>
      target[key] = Array.isArray(target[key])
        ? target[key].filter((_, n) => n % 2)
        : { ...target },
    () => Object.assign(target, { x: b, y: value }),
  ];
  actions[action % actions.length]!();
}

function isShareable(value: unknown): boolean {
  try {
    cleanValue(value);
    return true;
  } catch {
    return false;
  }
}

Deno.test("runRecipe() does what the same changes do to a plain copy", () => {
  let changed = 0;
  fc.assert(
    fc.property(anyJson(), fc.array(STEP, { maxLength: 8 }), (json, steps) => {
      const state = freezeDeep({
        root: json,
        list: [{ n: 1 }, { n: 2 }, [3], 4],
      });
      const plain: Loose = structuredClone(state);
      for (const step of steps) takeStep(plain, step);
      fc.pre(isShareable(plain));
      const result = runChecked(state, (draft) => {
        for (const step of steps) takeStep(draft as unknown as Loose, step);
      });
      assert.deepEqual(result.state, cleanValue(plain));
      if (result.patch.length > 0) changed++;
      else assert.equal(result.state, state);
    }),
    { numRuns: 5_000 },
  );
  assert(changed > 2_500);
});

const HOSTILE: [
  string,
  (draft: { items: unknown[]; map: Record<string, unknown> }) => void,
  RegExp,
][] = [
  [
    "the prototype, set",
    (draft) => (draft.map as { __proto__: unknown }).__proto__ = {},
    /has no prototype|set, not defined/,
  ],
  ["the prototype, defined", (draft) => {
    Object.defineProperty(draft.map, "__proto__", {
      value: 1,
      enumerable: true,
    });
  }, /set, not defined/],
  [
    "a key constructor",
    (draft) => draft.map["constructor"] = 1,
    /the key "constructor" at \/map\/constructor/,
  ],
  [
    "a key prototype",
    (draft) => draft.map["prototype"] = 1,
    /the key "prototype" at \/map\/prototype/,
  ],
  [
    "__proto__ out of JSON",
    (draft) => draft.map["x"] = JSON.parse('{"__proto__":{}}'),
    /at \/map\/x\/__proto__/,
  ],
  [
    "a symbol as key",
    (draft) => Object.assign(draft.map, { [Symbol("x")]: 1 }),
    /a symbol as key at \/map$/,
  ],
  [
    "a symbol as key of an array",
    (draft) => Object.assign(draft.items, { [Symbol("x")]: 1 }),
    /symbol/i,
  ],
  [
    "a name in an array",
    (draft) => Object.assign(draft.items, { name: 1 }),
    /array/,
  ],
  [
    "a lone surrogate as key",
    (draft) => draft.map["\ud800"] = 1,
    /a key with a lone surrogate/,
  ],
  [
    "the largest length",
    (draft) => draft.items.length = 4_294_967_295,
    /limit nodes/,
  ],
  [
    "a large length",
    (draft) => draft.items.length = 5_000_000,
    /undefined at \/items\/3/,
  ],
  ["the largest length behind a change", (draft) => {
    draft.items[0] = "x";
    draft.items.length = 4_294_967_295;
  }, /limit nodes/],
  ["a large length behind a change", (draft) => {
    draft.items.shift();
    draft.items.length = 5_000_000;
  }, /undefined at \/items\//],
  [
    "the largest index",
    (draft) => draft.items[4_294_967_294] = 1,
    /limit nodes/,
  ],
  ["a hole", (draft) => draft.items[9] = 1, /undefined at \/items\/3/],
  [
    "a deleted item",
    (draft) => delete draft.items[1],
    /undefined at \/items\/1/,
  ],
  [
    "undefined in an array",
    (draft) => draft.items.push(undefined),
    /undefined at \/items\/3/,
  ],
  [
    "a cycle of drafts",
    (draft) => draft.map["self"] = draft,
    /contains itself/,
  ],
  [
    "a cycle through an item",
    (draft) => (draft.items[0] as { up: unknown }).up = draft.items,
    /contains itself/,
  ],
  ["a cycle of its own", (draft) => {
    const own: Record<string, unknown> = {};
    own["own"] = [own];
    draft.map["own"] = own;
  }, /contains itself/],
  ["a bomb", (draft) => {
    let bomb: unknown[] = [];
    for (let level = 0; level < 40; level++) bomb = [bomb, bomb];
    draft.map["bomb"] = bomb;
  }, /limit nodes/],
  [
    "an instance of a class",
    (draft) => draft.map["url"] = new URL("http://a/"),
    /instance of URL at \/map\/url/,
  ],
  [
    "a Date for an object",
    (draft) => draft.items[0] = new Date(),
    /instance of Date at \/items\/0/,
  ],
  ["a Map", (draft) => draft.map["m"] = new Map(), /instance of Map/],
  ["an array of a class", (draft) => {
    draft.items = new (class List extends Array {})() as unknown[];
  }, /instance of List at \/items/],
  [
    "bytes",
    (draft) => draft.items = new Uint8Array(3) as unknown as unknown[],
    /Uint8Array at \/items/,
  ],
  ["NaN", (draft) => draft.map["n"] = NaN, /NaN at \/map\/n/],
  ["a function", (draft) => draft.map["f"] = () => 1, /a function at \/map\/f/],
  ["a BigInt", (draft) => draft.map["n"] = 1n, /a BigInt at \/map\/n/],
  ["too deep", (draft) => {
    let deep: unknown = 1;
    for (let level = 0; level < 63; level++) deep = [deep];
    draft.map["deep"] = deep;
  }, /limit depth of 64/],
  ["a draft in a frozen object", (draft) => {
    draft.map["pick"] = Object.freeze({ item: draft.items[0] });
  }, /a draft in a frozen object/],
  ["a draft of a recipe that has ended", (draft) => {
    let old: unknown;
    runRecipe({ a: {} }, (other) => void (old = other.a));
    draft.map["old"] = old;
  }, /proxy that has been revoked|cannot be read/],
];

for (const [what, recipe, message] of HOSTILE) {
  Deno.test(`runRecipe() refuses ${what}`, () => {
    const state = freezeDeep({ items: [{ n: 1 }, 2, 3], map: { a: 1 } });
    // A recipe that returns what it assigns would be refused for that.
    const run = () => runRecipe(state, (draft) => void recipe(draft as never));
    assert.throws(run, { message });
    assert.deepEqual(state, { items: [{ n: 1 }, 2, 3], map: { a: 1 } });
    assert.equal(Object.getPrototypeOf(state.map), Object.prototype);
  });
}

Deno.test("runRecipe() says where in the state a value cannot be shared", () => {
  assert.throws(
    () =>
      runRecipe(
        { a: { b: [{}] } },
        (draft) => void (draft.a.b[0] = { c: new Date() }),
      ),
    (error) =>
      error instanceof HeadwaterError && error.code === "bad_value" &&
      error.path === "/a/b/0/c",
  );
});

Deno.test("runRecipe() copies what stands in two places", () => {
  const shared = { n: 1 };
  const { state } = runChecked(
    { a: {}, b: {}, list: [{ n: 5 }] } as Record<string, unknown>,
    (draft) => {
      draft["a"] = shared;
      draft["b"] = shared;
      draft["c"] = draft["list"];
      (draft["list"] as Item[])[0]!.n = 6;
    },
  );
  assert.deepEqual(state, {
    a: { n: 1 },
    b: { n: 1 },
    list: [{ n: 6 }],
    c: [{ n: 6 }],
  });
  const { a, b, c, list } = state as Record<string, Json>;
  assert.notEqual(a, b);
  assert.notEqual(c, list);
});

Deno.test("diffStates() gives a patch from any state to any other", () => {
  fc.assert(
    fc.property(anyJson(), anyJson(), (before, after) => {
      const patch = diffStates(before, after);
      assert.deepEqual(applyPatch(before, patch), after);
      if (equalValues(before, after)) assert.deepEqual(patch, []);
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("diffStates() gives a patch between states that share most", () => {
  for (let seed = 1; seed <= 5_000; seed++) {
    const random = new SeededRandom(seed);
    const before = randomObject(random, 4);
    const after = applyPatch(before, randomPatch(random, before, 6));
    assert.deepEqual(
      applyPatch(before, diffStates(before, after)),
      after,
      `seed ${seed}`,
    );
  }
});

Deno.test("diffStates() finds the way between arrays of few values", () => {
  const few = fc.oneof(
    fc.array(fc.nat({ max: 4 }), { maxLength: 30 }),
    // Where head and tail could overlap.
    fc.array(fc.nat({ max: 1 }), { maxLength: 8 }),
  );
  fc.assert(
    fc.property(few, few, (before, after) => {
      assert.deepEqual(
        applyPatch({ l: before }, diffStates({ l: before }, { l: after })),
        { l: after },
      );
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("diffStates() tells equal items apart by their number", () => {
  const zeros: Json[] = Array.from({ length: 20 }, () => 0);
  assert.deepEqual(diffStates({ l: ["x", ...zeros, "y"] }, { l: zeros }), [
    { op: "remove", path: ["l", 0] },
    { op: "remove", path: ["l", 20] },
  ]);
});

Deno.test("diffStates() replaces an object of which nothing is left, but not the root", () => {
  assert.deepEqual(
    diffStates({ at: { x: 1, y: 2 }, n: 1 }, { at: { x: 5, y: 6 }, n: 1 }),
    [
      { op: "replace", path: ["at"], value: { x: 5, y: 6 } },
    ],
  );
  assert.deepEqual(diffStates({ x: 1, y: 2 }, { x: 5, y: 6 }), [
    { op: "replace", path: ["x"], value: 5 },
    { op: "replace", path: ["y"], value: 6 },
  ]);
});
