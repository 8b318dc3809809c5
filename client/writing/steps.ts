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
  // The state has the shape that the caller has named.
  return (state) =>
    runRecipe(state as never, recipe as Recipe<never, Json>, { freeze: true });
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
  const patch = diffStates(state, after, "the optimistic state");
  return { state: applyPatch(state, patch, { freeze: true }), patch };
}
