import assert from "node:assert/strict";
import { diffStates } from "../protocol/diff.ts";
import { applyPatch } from "../protocol/patch.ts";
import { shareValue } from "../protocol/share.ts";
import {
  cleanValue,
  equalValues,
  freezeDeep,
  type Json,
} from "../protocol/value.ts";
import { randomObject, randomPatch, SeededRandom } from "./_arbitraries.ts";

/** Runs `check` on random pairs of values that have much in common, but no objects. */
function forPairs(check: (before: Json, next: Json) => void): void {
  for (let seed = 1; seed <= 3_000; seed++) {
    const random = new SeededRandom(seed);
    const before = randomObject(random, 4);
    const patch = randomPatch(random, before, 4);
    const next = seed % 5 === 0
      ? randomObject(random, 4)
      : cleanValue(applyPatch(before, patch));
    try {
      check(freezeDeep(before), freezeDeep(next));
    } catch (error) {
      throw new Error(`Seed ${seed} fails`, { cause: error });
    }
  }
}

/** Parts of a value that are containers, by their paths. */
function* containers(value: Json, path = ""): Iterable<[string, object]> {
  if (typeof value !== "object" || value === null) return;
  yield [path, value];
  for (const [key, part] of Object.entries(value)) {
    yield* containers(part as Json, `${path}/${JSON.stringify(key)}`);
  }
}

Deno.test("shareValue() changes nothing of the value, and nothing of either argument", () => {
  forPairs((before, next) => {
    const texts = [JSON.stringify(before), JSON.stringify(next)];
    const shared = shareValue(before, next);
    assert.ok(equalValues(shared, next));
    assert.deepEqual([JSON.stringify(before), JSON.stringify(next)], texts);
  });
});

Deno.test("shareValue() gives an equal value as the very one before, and so every part of objects", () => {
  forPairs((before, next) => {
    assert.equal(shareValue(before, freezeDeep(cleanValue(before))), before);
    const shared = shareValue(before, next);
    const parts = new Map(containers(before));
    for (const [path, part] of containers(shared)) {
      // Within arrays the same index need not be the same place.
      if (/\/"\d+"/.test(path)) continue;
      const known = parts.get(path);
      if (!known || !equalValues(known as Json, part as Json)) continue;
      assert.equal(part, known, `${path} is equal and was copied`);
    }
  });
});

Deno.test("shareValue() makes the difference as small as that of states that share by themselves", () => {
  forPairs((before, next) => {
    const patch = diffStates(before, shareValue(before, next));
    assert.ok(equalValues(applyPatch(before, patch), next));
    assert.equal(patch.length === 0, equalValues(before, next));
  });
});

Deno.test("shareValue() finds the items around those that were added, removed or changed", () => {
  const row = (id: number) => ({ id, tags: ["a", `${id}`] });
  const before = Array.from({ length: 100 }, (_, id) => row(id));
  const copy = (): Json[] => cleanValue(before) as Json[]; // an array stays one
  for (
    const [from, removed, added] of [[0, 0, 2], [40, 3, 0], [100, 0, 1], [
      99,
      1,
      4,
    ]] as const
  ) {
    const next = copy();
    next.splice(
      from,
      removed,
      ...Array.from({ length: added }, (_, i) => row(1_000 + i)),
    );
    const shared = shareValue(before, next) as Json[];
    for (const [index, item] of shared.entries()) {
      if (index < from) assert.equal(item, before[index]);
      else if (index >= from + added) {
        assert.equal(item, before[index - added + removed]);
      }
    }
  }
  const next = copy();
  next[50] = { id: -1, tags: ["a", "50"] };
  const shared = shareValue(before, next) as typeof before;
  assert.equal(shared[50]?.tags, before[50]?.tags);
  assert.deepEqual(diffStates(before, shared), [
    { op: "replace", path: [50, "id"], value: -1 },
  ]);
});

Deno.test("shareValue() keeps what is shared already, without looking into it", () => {
  let looks = 0;
  const guarded = new Proxy({ big: true }, {
    ownKeys(target) {
      looks++;
      return Reflect.ownKeys(target);
    },
  });
  const before = { part: guarded, n: 1 };
  const shared = shareValue(before, { part: guarded, n: 2 });
  assert.deepEqual(
    [Object.is((shared as typeof before).part, guarded), looks],
    [true, 0],
  );
});

Deno.test("cleanValue() takes a part whose height is known as it is, and counts that", () => {
  const known = freezeDeep({ deep: [[["x"]]] });
  const heightOf = (value: object) => value === known ? 5 : undefined;
  const clean = cleanValue({ a: { known } }, { heightOf, depth: 7 });
  assert.equal((clean as { a: { known: object } }).a.known, known);
  assert.throws(() => cleanValue({ a: { known } }, { heightOf, depth: 6 }), {
    code: "limit",
    limit: "depth",
  });
});
