/**
 * How the life of a store begins.
 *
 * @module
 */
import { freezeDeep } from "../../protocol/value.ts";
import type { Changer } from "./change.ts";
import type { StateObject } from "./state.ts";

/** The change by which a store is born, or comes to life again after a reset. */
export function initialization(overrides: StateObject): Changer {
  return (state, { isInitialized }) => {
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

/**
 * The same for a store that must not exist: true if it did not. One that another
 * server creates at the same time is left as it is.
 */
export function creation(overrides: StateObject): Changer {
  return (state, context) => {
    const { isInitialized, version } = context;
    if (isInitialized || version > 0) return { state, patch: [], value: false };
    const change = initialization(overrides)(state, context);
    return { ...change, value: true };
  };
}
