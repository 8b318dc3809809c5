/**
 * Holds what is written to a store to its schema.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { Schema } from "../../protocol/schema.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import type { Change } from "./change.ts";
import { shareEqual } from "./restore.ts";
import { fitState, type StateObject } from "./state.ts";

/**
 * The change with the state that the schema makes of it.
 *
 * @throws {HeadwaterError} `invalid` if the schema refuses the state.
 * @throws {TypeError} if the schema is asynchronous, or changes what it gave itself.
 */
export function conform(
  before: Json,
  change: Change,
  { schema, what }: { schema: Schema; what: string },
): Change {
  if (change.patch.length === 0) return change;
  // Whatever was written, a state is an object.
  const fitted = fitState(schema, change.state as StateObject, what);
  if (fitted === change.state) return change;
  // Libraries copy what they check. Only what was corrected is to count as new, or
  // the patch would replace all items of an array in which one was moved.
  const state = freezeDeep(shareEqual(change.state, fitted));
  if (state === change.state) return change;
  const patch: Patch = replacesAll(change.patch)
    ? [{ op: "replace", path: [], value: state }]
    : diffStates(before, state, what);
  return { ...change, patch, state };
}

/** The first change of a life has nothing to build on: it stays a whole state. */
function replacesAll(patch: Patch): boolean {
  const [first] = patch;
  return patch.length === 1 && first?.op === "replace" &&
    first.path.length === 0;
}
