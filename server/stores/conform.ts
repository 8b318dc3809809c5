/**
 * Holds what is written to a store to its schema.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { Schema } from "../../protocol/schema.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Change } from "./change.ts";
import { quote } from "./quoting_error.ts";
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
  { schema, name, hides }: {
    readonly schema: Schema;
    /** Full name of the store. */
    readonly name: string;
    /** Whether the state has what clients must not see. */
    readonly hides: boolean;
  },
): Change {
  if (change.patch.length === 0) return change;
  const what = `state of store "${name}"`;
  let fitted: StateObject;
  try {
    // Whatever was written, a state is an object.
    fitted = fitState(schema, change.state as StateObject, what);
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const action = `Cannot write to store "${name}"`;
    if (change.initialized !== undefined || !fits(schema, before)) {
      const reason = "its stored state does not fit the contract";
      throw quote(error, `${action}: ${reason}`);
    }
    // What is wrong with what a client has written is for that client, where it may see it.
    throw hides
      ? quote(error, `${action}: its state would not fit the contract`)
      : error;
  }
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

/** Whether a schema takes a state; where it does not it was wrong before the write. */
function fits(schema: Schema, state: Json): boolean {
  try {
    fitState(schema, state as StateObject, "the stored state"); // stores hold objects
    return true;
  } catch {
    return false;
  }
}

/** The first change of a life has nothing to build on: it stays a whole state. */
function replacesAll(patch: Patch): boolean {
  const [first] = patch;
  return patch.length === 1 && first?.op === "replace" &&
    first.path.length === 0;
}
