/**
 * Whether two patches of one state touch each other. This module is browser
 * compatible.
 *
 * @module
 */
import type { Patch, PatchOp } from "./patch.ts";
import type { Path } from "./json.ts";

/**
 * Whether `later`, made on a state without `earlier`, means the same on the state
 * that `earlier` has made.
 *
 * - No path of one begins with a path of the other, else one would undo the other.
 * - `earlier` adds no array item, and removes none, at or in front of the item
 *   that a path of `later` leads through, else the path would lead to another.
 * - Where the steps of `later` have moved items of an array, all that the item could
 *   have been before counts.
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
  return firstTouched(earlier, [later]) < 0;
}

/**
 * Index of the first of `laters`, made one on top of the other on a state without
 * `earlier`, that does not mean the same on the state that `earlier` has made; -1:
 * all of them do.
 */
export function firstTouched(
  earlier: Patch,
  laters: Iterable<Patch>,
): number {
  const shifts = new Shifts();
  let index = 0;
  for (const later of laters) {
    for (const step of later) {
      if (earlier.some((first) => touches(first, step, shifts))) return index;
      shifts.add(step);
    }
    index++;
  }
  return -1;
}

/**
 * How far the items of arrays may have moved by the steps so far: what a step calls
 * the third item could have been the fourth where the first was made.
 */
class Shifts {
  readonly #byArray = new Map<string, { added: number; removed: number }>();

  /** Counts a step. */
  add({ op, path }: PatchOp): void {
    if (op === "replace" || typeof path.at(-1) !== "number") return;
    const array = arrayOf(path, path.length - 1);
    const shift = this.#byArray.get(array) ?? { added: 0, removed: 0 };
    if (op === "add") shift.added++;
    else shift.removed++;
    this.#byArray.set(array, shift);
  }

  /** Where the item may have been to which segment `depth` of the path leads. */
  rangeOf(path: Path, depth: number): { least: number; most: number } {
    const at = path[depth] as number; // who asks has looked
    const shift = this.#byArray.size > 0
      ? this.#byArray.get(arrayOf(path, depth))
      : undefined;
    const { added = 0, removed = 0 } = shift ?? {};
    return { least: at - added, most: at + removed };
  }
}

/** The arrays at the first `depth` segments; of several in one array it does not matter which. */
function arrayOf(path: Path, depth: number): string {
  const names = path.slice(0, depth).map((segment) =>
    typeof segment === "number" ? 0 : segment
  );
  return JSON.stringify(names);
}

function touches(first: PatchOp, second: PatchOp, shifts: Shifts): boolean {
  const last = first.path.length - 1;
  const most = Math.min(first.path.length, second.path.length);
  for (let depth = 0; depth < most; depth++) {
    const [one, other] = [first.path[depth], second.path[depth]];
    // Within one state a container is an array for both, or for none.
    if (typeof one !== "number" || typeof other !== "number") {
      if (one === other) continue;
      return false;
    }
    const range = shifts.rangeOf(second.path, depth);
    const isMoved = depth === last && first.op !== "replace";
    if (one > range.most) return false;
    if (one < range.least && !isMoved) return false;
    if (isMoved) return true;
  }
  return true;
}
