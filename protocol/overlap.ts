/**
 * Whether two patches of one state touch each other. This module is browser
 * compatible.
 *
 * @module
 */
import type { Patch, PatchOp } from "./patch.ts";
import type { Path } from "./value.ts";

/**
 * Whether `later`, made on a state without `earlier`, means the same on the state
 * that `earlier` has made.
 *
 * - No path of one begins with a path of the other, else one would undo the other.
 * - `earlier` adds no array item, and removes none, at or in front of the item
 *   that a path of `later` leads through, else the path would lead to another.
 *
 * @example Two items of one array
 * ```ts
 * import { isDisjoint } from "./overlap.ts";
 * import assert from "node:assert/strict";
 *
 * const tick = [{ op: "replace", path: ["items", 3, "done"], value: true }] as const;
 * assert.ok(isDisjoint([{ op: "replace", path: ["items", 2, "done"], value: true }], tick));
 * assert.ok(isDisjoint([{ op: "remove", path: ["items", 4] }], tick));
 * assert.ok(!isDisjoint([{ op: "remove", path: ["items", 0] }], tick));
 * ```
 */
export function isDisjoint(earlier: Patch, later: Patch): boolean {
  return earlier.every((first) =>
    later.every((second) => !touches(first, second))
  );
}

function touches(first: PatchOp, second: PatchOp): boolean {
  const shared = sharedLength(first.path, second.path);
  if (shared === first.path.length || shared === second.path.length) {
    return true;
  }
  if (first.op === "replace" || shared !== first.path.length - 1) return false;
  const moved = first.path[shared];
  const next = second.path[shared];
  // Within one state a container is an array for both, or for none.
  return typeof moved === "number" && typeof next === "number" && moved <= next;
}

/** How many segments both paths begin with. */
function sharedLength(a: Path, b: Path): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
