/**
 * Whether two patches of one state touch each other. This module is browser
 * compatible.
 *
 * @module
 */
import type { Patch, PatchOp } from "./patch.ts";
import type { Path } from "./value.ts";

/** Arrays whose items were moved by patches that one side knows of and the other does not. */
export class ShiftedArrays {
  readonly #paths = new Set<string>();

  /** Adds the arrays that a patch adds items to, or removes them from. */
  add(patch: Patch): void {
    for (const { op, path } of patch) {
      const isShift = op !== "replace" && typeof path.at(-1) === "number";
      if (isShift) this.#paths.add(JSON.stringify(path.slice(0, -1)));
    }
  }

  /** Whether items of the array at `path` were moved. */
  has(path: Path): boolean {
    return this.#paths.size > 0 && this.#paths.has(JSON.stringify(path));
  }
}

/**
 * Whether `later`, made on a state without `earlier`, means the same on the state
 * that `earlier` has made.
 *
 * - No path of one begins with a path of the other, else one would undo the other.
 * - `earlier` adds no array item, and removes none, at or in front of the item
 *   that a path of `later` leads through, else the path would lead to another.
 * - Both do not lead through one of the `shifted` arrays: those that only `later` has
 *   reckoned with, so that equal indexes there are not equal items.
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
export function isDisjoint(
  earlier: Patch,
  later: Patch,
  shifted?: ShiftedArrays,
): boolean {
  return earlier.every((first) =>
    later.every((second) => !touches(first, second, shifted))
  );
}

function touches(
  first: PatchOp,
  second: PatchOp,
  shifted: ShiftedArrays | undefined,
): boolean {
  const shared = sharedLength(first.path, second.path);
  if (shared === first.path.length || shared === second.path.length) {
    return true;
  }
  for (let length = 0; length <= shared; length++) {
    if (shifted?.has(first.path.slice(0, length))) return true;
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
