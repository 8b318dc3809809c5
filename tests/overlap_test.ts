import assert from "node:assert/strict";
import fc from "fast-check";
import { diffStates } from "../protocol/diff.ts";
import { firstTouched, isDisjoint } from "../protocol/overlap.ts";
import { applyPatch, type Patch, type PatchOp } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";

const replace = (...path: (string | number)[]) =>
  [{ op: "replace", path, value: 1 }] as const satisfies Patch;
const add = (...path: (string | number)[]) =>
  [{ op: "add", path, value: 1 }] as const satisfies Patch;
const remove = (...path: (string | number)[]) =>
  [{ op: "remove", path }] as const satisfies Patch;

Deno.test("isDisjoint() tells patches that touch each other", () => {
  const touching: [Patch, Patch][] = [
    [replace(), replace("a")],
    [replace("a"), replace()],
    [replace("a"), replace("a")],
    [replace("a"), replace("a", "b")],
    [replace("a", "b"), remove("a")],
    [add("items", 0), replace("items", 0, "done")],
    [add("items", 2), replace("items", 5, "done")],
    [remove("items", 2), remove("items", 3)],
    [remove("items", 2), add("items", 2)],
    [add("items", 3), add("items", 3)],
    [[...replace("x"), ...remove("items", 0)], replace("items", 9)],
    // What is the third item after the first was removed was the fourth before.
    [add("items", 3), [...remove("items", 0), ...replace("items", 2)]],
    [replace("items", 3), [...remove("items", 0), ...replace("items", 2)]],
    [replace("items", 1), [...add("items", 0), ...replace("items", 2)]],
    [
      replace("items", 3, "tags"),
      [...remove("items", 0), ...add("items", 2, "tags", 0)],
    ],
  ];
  for (const [earlier, later] of touching) {
    assert.equal(
      isDisjoint(earlier, later),
      false,
      JSON.stringify([earlier, later]),
    );
  }
  const apart: [Patch, Patch][] = [
    [replace("a"), replace("b")],
    [add("a", "b"), add("a", "c")],
    [replace("items", 2), replace("items", 3)],
    [add("items", 5), replace("items", 4, "done")],
    [remove("items", 5), remove("items", 4)],
    [remove("items", 0), replace("others", 3)],
    [replace("items", 0, "tags", 0), add("items", 0, "tags", 1)],
    [[], replace("a")],
    [replace("a"), []],
  ];
  for (const [earlier, later] of apart) {
    assert.ok(isDisjoint(earlier, later), JSON.stringify([earlier, later]));
  }
});

interface List {
  items: { id: number; done: boolean; tags: number[] }[];
  title: string;
}

/** Changes of a list by the ids of its items, so that it can be told which were hit. */
const edit = fc.oneof(
  fc.record({ kind: fc.constant("done" as const), at: fc.nat(5) }),
  fc.record({ kind: fc.constant("tag" as const), at: fc.nat(5) }),
  fc.record({ kind: fc.constant("remove" as const), at: fc.nat(5) }),
  fc.record({ kind: fc.constant("insert" as const), at: fc.nat(6) }),
  fc.record({ kind: fc.constant("title" as const), at: fc.constant(0) }),
);
type Edit = typeof edit extends fc.Arbitrary<infer E> ? E : never;

function run(list: List, { kind, at }: Edit, mark: number): List {
  const items = list.items;
  const id = items[at]?.id;
  switch (kind) {
    case "title":
      return { ...list, title: `${mark}` };
    case "insert":
      return {
        ...list,
        items: items.toSpliced(at, 0, { id: mark, done: false, tags: [] }),
      };
    case "remove":
      return { ...list, items: items.filter((item) => item.id !== id) };
    case "done":
    case "tag":
      return {
        ...list,
        items: items.map((item) =>
          item.id !== id
            ? item
            : kind === "done"
            ? { ...item, done: !item.done }
            : { ...item, tags: [...item.tags, mark] }
        ),
      };
  }
}

/** What an edit has done to the list, by ids and not by places. */
function effect(before: List, after: List): unknown {
  const known = new Map(before.items.map((item) => [item.id, item]));
  return {
    title: before.title === after.title ? undefined : after.title,
    added: after.items.filter(({ id }) => !known.has(id)),
    removed: [...known.keys()].filter((id) =>
      !after.items.some((item) => item.id === id)
    ),
    changed: after.items.filter((item) => {
      const was = known.get(item.id);
      return was && JSON.stringify(was) !== JSON.stringify(item);
    }).map((item) => ({
      id: item.id,
      isToggled: item.done !== known.get(item.id)!.done,
      tags: item.tags.filter((tag) => !known.get(item.id)!.tags.includes(tag)),
    })),
  };
}

Deno.test("isDisjoint() patches mean on the other's state what they meant without it", () => {
  let disjoint = 0;
  fc.assert(
    fc.property(edit, edit, (one, two) => {
      const base: List = {
        title: "",
        items: Array.from(
          { length: 6 },
          (_, id) => ({ id, done: false, tags: [] }),
        ),
      };
      const first = run(base, one, 100);
      const second = run(base, two, 200);
      const earlier = diffStates(base as unknown as Json, first);
      const later = diffStates(base as unknown as Json, second);
      if (!isDisjoint(earlier, later)) return;
      disjoint++;
      const both = applyPatch(first as unknown as Json, later);
      assert.deepEqual(
        effect(first, both as unknown as List),
        effect(base, second),
      );
    }),
    { numRuns: 5_000 },
  );
  assert.ok(disjoint > 1_000, `${disjoint}`);
});

Deno.test("isDisjoint() patches of several edits mean what they meant, too", () => {
  let disjoint = 0;
  const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(edits, edits, (ones, twos) => {
      const base: List = {
        title: "",
        items: Array.from(
          { length: 6 },
          (_, id) => ({ id, done: false, tags: [] }),
        ),
      };
      const first = runAll(base, ones, 100);
      const second = runAll(base, twos, 200);
      if (!isDisjoint(first.patch, second.patch)) return;
      disjoint++;
      const both = applyPatch(first.list as unknown as Json, second.patch);
      assert.deepEqual(
        effect(first.list, both as unknown as List),
        effect(base, second.list),
      );
    }),
    { numRuns: 20_000 },
  );
  assert.ok(disjoint > 1_000, `${disjoint}`);
});

/** Makes edits one by one: each step of the patch is on top of those before it. */
function runAll(
  base: List,
  edits: readonly Edit[],
  mark: number,
): { list: List; patch: Patch } {
  let list = base;
  const patch: PatchOp[] = [];
  for (const [index, edit] of edits.entries()) {
    const next = run(list, edit, mark + index);
    patch.push(...diffStates(list as unknown as Json, next));
    list = next;
  }
  return { list, patch };
}

Deno.test("firstTouched() counts what earlier patches have moved", () => {
  const laters = [replace("title"), remove("items", 0), replace("items", 2)];
  assert.equal(firstTouched(add("items", 3), laters), 2);
  assert.equal(firstTouched(add("items", 4), laters), -1);
  assert.equal(firstTouched(replace("title"), laters), 0);
});
