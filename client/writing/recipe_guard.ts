/**
 * Knows whether a recipe runs. This module is browser compatible.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";
import type { Step } from "./pending_entry.ts";

/** See the module's documentation. */
export class RecipeGuard {
  #isWithin = false;

  /** The same step, known to run while it does. */
  wrap(make: (state: Json) => Step): (state: Json) => Step {
    return (state) => {
      const wasWithin = this.#isWithin;
      this.#isWithin = true;
      try {
        return make(state);
      } finally {
        this.#isWithin = wasWithin;
      }
    };
  }

  /**
   * A recipe runs as often as others write: what it wrote would be written as often,
   * and on top of a state that is being made.
   *
   * @throws {TypeError} within a recipe, a mutator or a guess.
   */
  refuseWithin(): void {
    if (!this.#isWithin) return;
    throw new TypeError(
      "Cannot write within a recipe: change its draft, or write after it",
    );
  }
}
