/**
 * The mutations that wait for a store's next commit, and the working copy on
 * which they run. Nothing here changes the store: until the KV has committed,
 * every recipe can be run again on a newer state.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { type Recipe, runRecipe } from "../../protocol/draft.ts";
import { toErrorBody } from "../../protocol/error_body.ts";
import { HeadwaterError, LimitError } from "../../protocol/errors.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Recorded, WriteNumbers } from "../log/numbers.ts";
import type { Mutation, Origin, Refusal } from "../log/records.ts";
import { toState } from "./definition.ts";
import { sizeOf } from "./size.ts";

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
}

/** How a change is made; may run more than once, on newer states. */
export type Changer = (state: Json, isInitialized: boolean) => Change;

/** Who makes a mutation. */
export interface MutationSource {
  readonly origin?: Origin | undefined;
  readonly author?: string | undefined;
  /** Whether it may have been made before. */
  readonly isResent?: boolean | undefined;
}

/** A mutation that waits. */
interface PendingMutation {
  readonly change: Changer;
  readonly source: MutationSource;
  readonly resolve: (written: Settled) => void;
  readonly reject: (error: unknown) => void;
}

/** A mutation, or the deletion of the store, that waits. */
type Pending = PendingMutation | Omit<PendingMutation, "change">;

/** What becomes of a pending mutation once its batch is committed. */
type Outcome =
  | { readonly pending: Pending; readonly written: Settled }
  | { readonly pending: Pending; readonly error: unknown };

/** What a run of the queue on a working copy gave. */
export interface Batch {
  readonly state: Json;
  readonly initialized: boolean;
  readonly mutations: readonly Mutation[];
  /** Size of each mutation's patch. */
  readonly sizes: readonly number[];
  readonly outcomes: readonly Outcome[];
  /** The state's encoded size is not above it. */
  readonly stateBound: number;
}

/** Limits of a queue and its batches. */
export interface QueueLimits {
  readonly queuedMutations: number;
  readonly stateBytes: number;
  readonly patchBytes: number;
  readonly recipeValueBytes: number;
}

/** Mutations of one commit; more would only make its transaction longer. */
const MUTATIONS_PER_COMMIT = 1_000;

/** Mutations of one store that wait. */
export class CommitQueue {
  readonly #name: string;
  readonly #limits: QueueLimits;
  #pending: Pending[] = [];

  /** A queue for the store `name`. */
  constructor(name: string, limits: QueueLimits) {
    this.#name = name;
    this.#limits = limits;
  }

  /** How many wait. */
  get length(): number {
    return this.#pending.length;
  }

  /** Who deletes the store, where that is the next to come. */
  get nextDeletion(): MutationSource | undefined {
    const [next] = this.#pending;
    return next && !("change" in next) ? next.source : undefined;
  }

  /** Adds a mutation, or refuses it where too many wait. */
  push(change: Changer, source: MutationSource): Promise<Settled> {
    const { queuedMutations } = this.#limits;
    if (this.#pending.length >= queuedMutations) {
      const action = `queue a write to store "${this.#name}"`;
      return Promise.reject(
        new LimitError(
          action,
          "queuedMutations",
          queuedMutations,
          this.#pending.length + 1,
        ),
      );
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ change, source, resolve, reject });
    });
  }

  /** Adds the deletion of the store. */
  pushDeletion(source: MutationSource): Promise<Written> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ source, resolve, reject });
    });
  }

  /** Runs what waits, up to a deletion or `maxBytes`, on a working copy. */
  run(
    start: {
      state: Json;
      stateBound: number;
      version: number;
      initialized: boolean;
    },
    numbers: WriteNumbers,
    maxBytes: number,
  ): Batch {
    let { state, stateBound, initialized } = start;
    const mutations: Mutation[] = [];
    const sizes: number[] = [];
    const outcomes: Outcome[] = [];
    const own = new Map<string, Recorded>();
    let bytes = 0;
    for (const pending of this.#pending) {
      if (!("change" in pending)) break;
      if (mutations.length >= MUTATIONS_PER_COMMIT) break;
      const { origin, author } = pending.source;
      const seen = origin &&
        (numbers.find(origin, pending.source.isResent) ??
          own.get(numberOf(origin)));
      if (seen) {
        outcomes.push({ pending, ...repeat(seen) });
        continue;
      }
      try {
        const change = pending.change(state, initialized);
        const size = sizeOf(change.patch);
        if (mutations.length > 0 && bytes + size > maxBytes) break;
        this.#checkSize(change, size, origin);
        stateBound = this.#checkState(change, stateBound + size);
        const version = start.version + mutations.length;
        if (
          change.patch.length === 0 &&
          !isWorthRecording(change, initialized, origin)
        ) {
          outcomes.push({ pending, written: { version, value: change.value } });
          continue;
        }
        const written = { version: version + 1, value: change.value };
        mutations.push(toMutation(change, origin, author));
        sizes.push(size);
        outcomes.push({ pending, written });
        if (origin) {
          own.set(numberOf(origin), {
            version: version + 1,
            ...recordable(change),
          });
        }
        ({ state } = change);
        initialized = change.initialized ?? initialized;
        bytes += size;
      } catch (error) {
        if (!origin) {
          outcomes.push({ pending, error });
          continue;
        }
        // Else a call that is run again could succeed where it failed, and do both. It is
        // told the same in both runs, or its handler might go two ways.
        const refused = toRefusal(error, this.#limits.recipeValueBytes);
        outcomes.push({ pending, error: toError(refused, error) });
        mutations.push({ patch: [], origin, refused });
        sizes.push(0);
        own.set(numberOf(origin), {
          version: start.version + mutations.length,
          refused,
        });
      }
    }
    return { state, stateBound, initialized, mutations, sizes, outcomes };
  }

  /** Tells those who wait what became of their mutations, and drops these. */
  settle(outcomes: readonly Outcome[]): void {
    this.#pending = this.#pending.slice(outcomes.length);
    for (const outcome of outcomes) {
      if ("written" in outcome) outcome.pending.resolve(outcome.written);
      else outcome.pending.reject(outcome.error);
    }
  }

  /** Takes the deletion that comes next. */
  shift(): Pending | undefined {
    return this.#pending.shift();
  }

  /** Rejects everything; `tried` of them were part of a commit whose outcome is not known. */
  reject(error: HeadwaterError, tried: number): void {
    const all = this.#pending;
    this.#pending = [];
    for (const [index, pending] of all.entries()) {
      pending.reject(
        new HeadwaterError(error.code, error.message, {
          cause: error,
          outcome: index < tried ? "unknown" : "notApplied",
        }),
      );
    }
  }

  /** The new bound of the state's size; measures only where the old one is over the limit. */
  #checkState(change: Change, bound: number): number {
    const { stateBytes } = this.#limits;
    if (bound <= stateBytes) return bound;
    const bytes = encodeJson(change.state).byteLength;
    if (bytes <= stateBytes) return bytes;
    throw new LimitError(
      `write to store "${this.#name}"`,
      "stateBytes",
      stateBytes,
      bytes,
    );
  }

  #checkSize(change: Change, size: number, origin: Origin | undefined): void {
    const { patchBytes, recipeValueBytes } = this.#limits;
    const store = `store "${this.#name}"`;
    if (size > patchBytes) {
      throw new LimitError(`write to ${store}`, "patchBytes", patchBytes, size);
    }
    if (!origin || change.value === undefined) return;
    const bytes = sizeOf(change.value);
    if (bytes > recipeValueBytes) {
      // It is kept in the log, to be given again to a call that is run again.
      const action = `record what a recipe on ${store} returned`;
      throw new LimitError(action, "recipeValueBytes", recipeValueBytes, bytes);
    }
  }
}

/** A change by a recipe. */
export function recipeChange<T, R>(recipe: Recipe<T, R>): Changer {
  // The state has the shape that the definition of the store gave it.
  return (state) => runRecipe(state as T, recipe, { freeze: true });
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

function toMutation(
  change: Change,
  origin: Origin | undefined,
  author: string | undefined,
): Mutation {
  return {
    patch: change.patch,
    ...(change.initialized !== undefined &&
      { initialized: change.initialized }),
    ...(author !== undefined && { author }),
    ...(origin && { origin, ...recordable(change) }),
  };
}

/** A recipe that changed nothing is a version only where its answer must be remembered. */
function isWorthRecording(
  change: Change,
  wasInitialized: boolean,
  origin?: Origin,
): boolean {
  if (
    change.initialized !== undefined && change.initialized !== wasInitialized
  ) return true;
  return origin !== undefined && change.value !== undefined;
}

function numberOf(origin: Origin): string {
  return `${origin.session} ${origin.call} ${origin.n}`;
}

function recordable({ value }: Change): { value?: Json } {
  return value === undefined ? {} : { value };
}

function toRefusal(error: unknown, maxBytes: number): Refusal {
  const { code, message, path, data } = toErrorBody(error, "refused");
  return {
    code,
    message,
    ...(path !== undefined && { path }),
    // It is kept as long as what recipes return.
    ...(data !== undefined && sizeOf(data) <= maxBytes && { data }),
  };
}

function toError(refused: Refusal, cause?: unknown): HeadwaterError {
  const { code, message, path, data } = refused;
  const outcome = code === "unknown" ? "unknown" : "notApplied";
  return new HeadwaterError(code, message, { path, data, outcome, cause });
}

/** What a write that was seen before gives: the first time's value, or its refusal. */
export function repeat(
  { version, isPast, value, refused }: Recorded,
): { written: Settled } | { error: unknown } {
  return refused
    ? { error: toError(refused) }
    : { written: { version, value, ...(isPast && { isPast }) } };
}
