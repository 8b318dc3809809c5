/**
 * Whether a patch whose recipe is gone still means what it meant. This module is
 * browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { applyPatch, type Patch, type PatchOp } from "../../protocol/patch.ts";
import {
  equalValues,
  type Json,
  type PathSegment,
} from "../../protocol/value.ts";

/**
 * Whether every step of `patch`, which was made on `made`, finds in `now` what it
 * found there: the items that it leads through, by their `id` or their value, and the
 * value that it puts another in the place of, or the items that it goes between. That
 * the last step can be made is for who makes it.
 */
export function meansTheSame(patch: Patch, made: Json, now: Json): boolean {
  let [before, after] = [made, now];
  for (const [at, op] of patch.entries()) {
    if (!findsTheSame(op, before, after)) return false;
    // What the last one makes is not looked at, and costs a copy of each container.
    if (at === patch.length - 1) return true;
    const next = [tryStep(before, op), tryStep(after, op)];
    if (next[0] === undefined || next[1] === undefined) return false;
    [before, after] = [next[0], next[1]];
  }
  return true;
}

/** The error of a write whose recipe is gone, and whose patch does not fit any more. */
export function lostRecipe(): HeadwaterError {
  return new HeadwaterError(
    "conflict",
    "Cannot make a write again that was kept over a reload: others have changed the same, and its recipe is gone",
    { outcome: "notApplied" },
  );
}

function findsTheSame({ op, path }: PatchOp, a: Json, b: Json): boolean {
  if (path.length === 0) return equalValues(a, b);
  let [before, after]: (Json | undefined)[] = [a, b];
  for (const segment of path.slice(0, -1)) {
    const isItem = Array.isArray(before);
    if (isItem !== Array.isArray(after)) return false;
    [before, after] = [memberOf(before, segment), memberOf(after, segment)];
    if (before === undefined || after === undefined) return false;
    if (isItem && !isSameItem(before, after)) return false;
  }
  const last = path.at(-1)!; // it has one at least
  if (Array.isArray(before) !== Array.isArray(after)) return false;
  const at = (segment: PathSegment) =>
    [memberOf(before, segment), memberOf(after, segment)] as const;
  if (Array.isArray(before) && op === "add") {
    const index = Number(last);
    return isSameItem(...at(index - 1)) && isSameItem(...at(index));
  }
  const [old, present] = at(last);
  return old === undefined || present === undefined
    ? old === present
    : equalValues(old, present);
}

/** Whether two items of arrays are one: it may have changed otherwise, but keeps its `id`. */
function isSameItem(a: Json | undefined, b: Json | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const id = memberOf(a, "id");
  const isNamed = typeof id === "string" || typeof id === "number";
  return isNamed ? id === memberOf(b, "id") : equalValues(a, b);
}

function memberOf(
  value: Json | undefined,
  segment: PathSegment,
): Json | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (!Object.hasOwn(value, segment)) return undefined;
  return (value as Readonly<Record<PathSegment, Json>>)[segment]; // it has it
}

function tryStep(state: Json, op: PatchOp): Json | undefined {
  try {
    return applyPatch(state, [op]);
  } catch (error) {
    if (error instanceof HeadwaterError) return undefined;
    throw error;
  }
}
