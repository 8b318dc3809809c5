/**
 * What makes the next state of a store. This module is browser compatible.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { type Recipe, runRecipe } from "../../protocol/draft.ts";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Step } from "./pending_entry.ts";

/** The step of a recipe. */
export function recipeStep(
  recipe: Recipe<never, unknown>,
): (state: Json) => Step {
  return (state) => {
    // The state has the shape that the caller has named.
    const made = runRecipe(state as never, recipe as Recipe<never, Json>, {
      freeze: true,
    });
    // The habit of reducers; without a word it would be written and change nothing.
    if (made.patch.length > 0 || !isObject(made.value)) return made;
    throw new TypeError(
      "Cannot update: the recipe changed nothing and returned an object; change the draft, or use set()",
    );
  };
}

/** The step to a given state, which is frozen. */
export function setStep(state: Json): (before: Json) => Step {
  return () => ({ state, patch: [{ op: "replace", path: [], value: state }] });
}

/** The step of a guess at what a call does. */
export function guessStep(
  state: Json,
  guess: (state: never) => unknown,
): Step {
  // Its author has named the state's shape.
  const after = guess(state as never);
  if (after === undefined) {
    throw new TypeError(
      "Cannot show the optimistic state: its function returned nothing; it returns the next state",
    );
  }
  const patch = diffStates(state, after, "the optimistic state");
  return { state: applyPatch(state, patch, { freeze: true }), patch };
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
