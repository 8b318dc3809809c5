/**
 * How the life of a store begins.
 *
 * @module
 */
import { freezeDeep } from "../../protocol/value.ts";
import type { Changer } from "./commit_queue.ts";
import type { StateObject } from "./definition.ts";

/** The change by which a store is born, or comes to life again after a reset. */
export function initialization(overrides: StateObject): Changer {
  return (state, isInitialized) => {
    if (isInitialized) return { state, patch: [], value: undefined };
    const next = freezeDeep({ ...state as StateObject, ...overrides });
    return {
      state: next,
      patch: [{ op: "replace", path: [], value: next }],
      value: undefined,
      initialized: true,
    };
  };
}
