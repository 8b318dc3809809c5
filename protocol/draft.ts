/**
 * Runs recipes on drafts. The only importer of the draft library. This module is
 * browser compatible.
 *
 * @module
 */
// The library's own entry reads NODE_ENV, for which Deno asks leave, and writes to
// the console where that is not "production".
// @ts-types="mutative"
import { create } from "mutative/dist/mutative.esm.production.min.mjs";
import { diffStates } from "./diff.ts";
import { HeadwaterError } from "./errors.ts";
import { applyPatch, type Patch } from "./patch.ts";
import { cleanValue, type Json } from "./value.ts";

/** Changes a draft in place. What it returns goes to whoever asked for the change. */
export type Recipe<T, R> = (draft: T) => R | void;

/** What a recipe did. */
export interface RecipeResult {
  /** The state with the changes; the very same object if there are none. */
  readonly state: Json;
  /** The changes; empty if there are none. */
  readonly patch: Patch;
  /** A copy of what the recipe returned. It never becomes the state. */
  readonly value: Json | undefined;
}

/** Options of {@linkcode runRecipe}. */
export interface RecipeOptions {
  /** Freezes what is new in the state. */
  freeze?: boolean | undefined;
}

/**
 * Runs a recipe on a draft of `state`, which itself stays as it is.
 *
 * - Nothing of the recipe's own objects becomes part of the state: values are copied.
 * - If the recipe throws, its error passes through and there is no change.
 *
 * @example Push
 * ```ts
 * import { runRecipe } from "./draft.ts";
 * import assert from "node:assert/strict";
 *
 * const { state, patch, value } = runRecipe({ items: ["a"] }, (draft) => draft.items.push("b"));
 * assert.deepEqual(state, { items: ["a", "b"] });
 * assert.deepEqual(patch, [{ op: "add", path: ["items", 1], value: "b" }]);
 * assert.equal(value, 2);
 * ```
 *
 * @throws {TypeError} If the recipe returns a promise.
 * @throws {HeadwaterError} `bad_value` if it puts something into the state, or
 * returns something, that cannot be shared.
 */
export function runRecipe<T, R>(
  state: T,
  recipe: Recipe<T, R>,
  options: RecipeOptions = {},
): RecipeResult {
  const before = state as Json; // T is the user's name for what is Json
  let value: Json | undefined;
  const run = (draft: T): void => {
    const returned: unknown = recipe(draft);
    refusePromise(returned);
    // While the draft lives: what is returned may hold parts of it.
    if (returned !== undefined) {
      value = cleanValue(returned, { what: "what the recipe returned" });
    }
  };
  if (typeof state !== "object" || state === null) {
    run(state);
    return { state: before, patch: [], value };
  }
  // Without the library's patches: those of an array whose length was set to
  // 4294967295 take hours, and those of an `unshift` have a step for every item.
  const patch = diffChange(before, change(state, (draft) => run(draft as T)));
  return { state: applyPatch(before, patch, options), patch, value };
}

function change(state: object, run: (draft: unknown) => void): unknown {
  try {
    return create(state, run);
  } catch (cause) {
    throw explain(cause) ?? cause;
  }
}

/** What a recipe may not do to a draft, by the numbers of the library's errors. */
const MISUSES: Readonly<Record<string, string>> = {
  2: "an array takes items and a length, no other members",
  3: "it has no prototype that could be set",
  4: "its members can be set, not defined",
};

/** Words for an error of the library, which this build of it gives as a number. */
function explain(cause: unknown): TypeError | undefined {
  const number = cause instanceof Error &&
    /^Minified Mutative error #(\d+)/.exec(cause.message)?.[1];
  const why = number && MISUSES[number];
  return why
    ? new TypeError(`Cannot change a draft so: ${why}`, { cause })
    : undefined;
}

function diffChange(before: Json, after: unknown): Patch {
  try {
    return diffStates(before, after, "the changed state");
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause;
    // The library leaves a draft that stands in a frozen object where it is, where it has ended.
    const message =
      "Cannot share the changed state: part of it cannot be read, such as a draft in a frozen object";
    throw new HeadwaterError("bad_value", message, { cause });
  }
}

function refusePromise(returned: unknown): void {
  if (typeof returned !== "object" || returned === null) return;
  if (typeof (returned as Partial<PromiseLike<unknown>>).then !== "function") {
    return;
  }
  // It goes on, and fails at the draft, which has ended: not an unhandled rejection.
  Promise.resolve(returned).catch(() => {});
  throw new TypeError(
    "Recipes are synchronous: this one returned a promise; await before update(), not in it",
  );
}
