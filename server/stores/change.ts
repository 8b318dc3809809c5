/**
 * A change of a store: how it is made, who makes it, and what it has made.
 *
 * @module
 */
import { type Recipe, runRecipe } from "../../protocol/draft.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import { runApplication } from "../application_error.ts";
import type { Origin } from "../log/mutation.ts";
import type { Recorded } from "../log/numbers.ts";
import { toState } from "./state.ts";
import type { Writer } from "./writer.ts";

/** What a mutation made. */
export interface Written<R = Json | undefined> {
  /** Version that contains it. */
  readonly version: number;
  /** What the recipe returned; the first time's value where a call is run again. */
  readonly value: R;
}

/** The same, as the queue tells it. */
export interface Settled extends Written {
  /** The version is one of a life of the store that has ended. */
  readonly isPast?: boolean;
}

/** What a change does to a state. */
export interface Change {
  readonly patch: Patch;
  readonly state: Json;
  readonly value: Json | undefined;
  /** Whether the store counts as initialised afterwards; absent: as before. */
  readonly initialized?: boolean;
  /** Which shape the state has afterwards; absent: as before. */
  readonly schema?: number;
  /** Whether the client that made it may have reckoned with another patch. */
  readonly isOpaque?: boolean;
}

/** What is known of the state that a change is made on. */
export interface ChangeContext {
  readonly isInitialized: boolean;
  /** Which shape the state has. */
  readonly schema: number;
  readonly epoch: string;
  /** Version of the state. */
  readonly version: number;
  /** The mutations that led here from a version; undefined where they are not all remembered. */
  since(version: number): readonly RecentMutation[] | undefined;
  /** What became of a numbered write, if it was seen. */
  find(origin: Origin): Recorded | undefined;
}

/** How a change is made; may run more than once, on newer states. */
export type Changer = (state: Json, context: ChangeContext) => Change;

/** What the store makes of a change before it counts: it may change or refuse it. */
export type Guard = (
  before: Json,
  change: Change,
  writer: Writer | undefined,
) => Change;

/** Who makes a mutation. */
export interface MutationSource {
  readonly origin?: Origin | undefined;
  /** Whose write it is; absent where the store itself makes it. */
  readonly writer?: Writer | undefined;
  /** Whether it may have been made before. */
  readonly isResent?: boolean | undefined;
  /**
   * Whether its refusal leaves no record. A function's must, or a run of it that is
   * repeated could go another way; a client's must once it may be with two servers.
   */
  readonly forgetsRefusal?: boolean | undefined;
}

/** A mutation of late, as those that are made after it see it. */
export interface RecentMutation {
  readonly patch: Patch;
  /** As in {@linkcode Change}. */
  readonly isOpaque?: boolean | undefined;
  readonly origin?: Origin | undefined;
}

/** A change by a recipe. */
export function recipeChange<T, R>(recipe: Recipe<T, R>): Changer {
  // The state has the shape that the definition of the store gave it.
  return (state) =>
    runApplication(() => runRecipe(state as T, recipe, { freeze: true }));
}

/** A change to a given state. */
export function setChange(value: unknown, what: string): Changer {
  const state = toState(value, what);
  return () => ({
    state,
    patch: [{ op: "replace", path: [], value: state }],
    value: undefined,
  });
}
