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
import {
  type ErrorCode,
  HeadwaterError,
  LimitError,
} from "../../protocol/errors.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Recorded, WriteNumbers } from "../log/numbers.ts";
import type { Mutation, Origin } from "../log/mutation.ts";
import type { Refusal } from "../log/refusal.ts";
import { sizeOf } from "./size.ts";
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

/** A mutation that waits. */
interface PendingMutation {
  readonly change: Changer;
  readonly source: MutationSource;
  readonly resolve: (written: Settled) => void;
  readonly reject: (error: unknown) => void;
}

/** A mutation, or the deletion of the store, that waits. */
type Pending = PendingMutation | Omit<PendingMutation, "change">;

/** Whoever waits until all before it is settled, and then keeps what follows from being run. */
interface PendingHold {
  isGranted: boolean;
  grant: () => void;
  reject: (error: unknown) => void;
}

/** A place in a queue, for whoever runs changes of its own when it is its turn. */
export interface Hold {
  /** It is the holder's turn; rejects where what waits is rejected. */
  readonly granted: Promise<void>;
  /** Lets go, or waits no longer. */
  readonly release: () => void;
}

/** A mutation that is run by whoever holds the store. */
export type HeldMutation = Pick<PendingMutation, "change" | "source">;

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

/** Errors of a write that was not tried for good: its number stays free. */
const FREE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["rebase"]);

/** What a run of the queue begins with. */
export interface RunStart {
  readonly state: Json;
  readonly stateBound: number;
  readonly epoch: string;
  readonly version: number;
  readonly initialized: boolean;
  readonly schema: number;
  readonly numbers: WriteNumbers;
  /** As {@linkcode ChangeContext.since}, for what is committed. */
  readonly since: ChangeContext["since"];
}

/** Mutations of one store that wait. */
export class CommitQueue {
  readonly #name: string;
  readonly #limits: QueueLimits;
  readonly #guard: Guard | undefined;
  #pending: (Pending | PendingHold)[] = [];

  /** A queue for the store `name`. */
  constructor(name: string, limits: QueueLimits, guard?: Guard) {
    this.#name = name;
    this.#limits = limits;
    this.#guard = guard;
  }

  /** How many wait. */
  get length(): number {
    return this.#pending.length;
  }

  /** Who deletes the store, where that is the next to come. */
  get nextDeletion(): MutationSource | undefined {
    const [next] = this.#pending;
    return next && "source" in next && !("change" in next)
      ? next.source
      : undefined;
  }

  /** Whether somebody holds the store now. */
  get isHeld(): boolean {
    const [next] = this.#pending;
    return next !== undefined && "grant" in next && next.isGranted;
  }

  /** Whether somebody who waits to hold the store has its turn; tells it so. */
  grant(): boolean {
    const [next] = this.#pending;
    if (!next || !("grant" in next)) return false;
    next.isGranted = true;
    next.grant();
    return true;
  }

  /** Adds a mutation, or refuses it where too many wait. */
  push(change: Changer, source: MutationSource): Promise<Settled> {
    try {
      this.checkRoom();
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ change, source, resolve, reject });
    });
  }

  /**
   * Whether another one may wait.
   *
   * @throws {LimitError} if too many do.
   */
  checkRoom(): void {
    const { queuedMutations } = this.#limits;
    const { length } = this.#pending;
    if (length < queuedMutations) return;
    throw new LimitError(
      `queue a write to store "${this.#name}"`,
      "queuedMutations",
      queuedMutations,
      length + 1,
    );
  }

  /** Adds the deletion of the store. */
  pushDeletion(source: MutationSource): Promise<Written> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ source, resolve, reject });
    });
  }

  /** Adds whoever wants to hold the store. */
  pushHold(): Hold {
    const { promise: granted, ...waiting } = waitForHold();
    const hold: PendingHold = { isGranted: false, ...waiting };
    this.#pending.push(hold);
    const release = () => {
      this.#pending = this.#pending.filter((pending) => pending !== hold);
    };
    return { granted, release };
  }

  /** Takes the turn from whoever holds the store, who stays the next; resolves when it is given back. */
  yieldHold(): Promise<void> {
    const [hold] = this.#pending;
    if (!hold || !("grant" in hold)) {
      return Promise.reject(new TypeError("Nobody holds the store"));
    }
    const { promise, ...waiting } = waitForHold();
    Object.assign(hold, { isGranted: false, ...waiting });
    return promise;
  }

  /** Runs mutations of whoever holds the store on a working copy, one in each step but the first. */
  runHeld(
    mutations: readonly HeldMutation[],
    start: RunStart,
  ): Generator<undefined, Batch> {
    const own = new CommitQueue(this.#name, this.#limits, this.#guard);
    // Told by the holder what became of them, and not by a queue.
    const nobody = { resolve: () => {}, reject: () => {} };
    own.#pending = mutations.map((mutation) => ({ ...mutation, ...nobody }));
    return own.#steps(start, Infinity);
  }

  /** Runs what waits, up to a deletion or `maxBytes`, on a working copy. */
  run(start: RunStart, maxBytes: number): Batch {
    const steps = this.#steps(start, maxBytes);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  *#steps(
    start: RunStart,
    maxBytes: number,
  ): Generator<undefined, Batch> {
    const { numbers } = start;
    let { state, stateBound, initialized } = start;
    const mutations: Mutation[] = [];
    const sizes: number[] = [];
    const outcomes: Outcome[] = [];
    const own = new Map<string, Recorded>();
    let bytes = 0;
    for (const pending of this.#pending) {
      if (!("change" in pending)) break;
      if (mutations.length >= MUTATIONS_PER_COMMIT) break;
      yield;
      const { origin, writer, forgetsRefusal } = pending.source;
      const seen = origin &&
        (numbers.find(origin, pending.source.isResent) ??
          own.get(numberOf(origin)));
      if (seen) {
        outcomes.push({ pending, ...repeat(seen) });
        continue;
      }
      try {
        const change = this.#change(pending, state, {
          isInitialized: initialized,
          schema: start.schema,
          epoch: start.epoch,
          version: start.version + mutations.length,
          since: (version) => sinceOf(start, mutations, version),
          find: (origin) => own.get(numberOf(origin)) ?? numbers.find(origin),
        });
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
        mutations.push(toMutation(change, origin, writer?.clientId));
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
        const isFree = error instanceof HeadwaterError && FREE.has(error.code);
        if (!origin || isFree || forgetsRefusal) {
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
    const next = this.#pending.shift();
    return next && "source" in next ? next : undefined;
  }

  /**
   * Rejects everything but who holds the store, who has a deadline of its own;
   * `tried` of them were part of a commit whose outcome is not known.
   */
  reject(error: HeadwaterError, tried: number): void {
    const held = this.isHeld ? 1 : 0;
    const all = this.#pending.splice(held);
    for (const [index, pending] of all.entries()) {
      pending.reject(
        new HeadwaterError(error.code, error.message, {
          cause: error,
          outcome: index < tried ? "unknown" : "notApplied",
        }),
      );
    }
  }

  #change(
    { change, source }: PendingMutation,
    state: Json,
    context: ChangeContext,
  ): Change {
    const made = change(state, context);
    if (!this.#guard || made.patch.length === 0) return made;
    const guarded = this.#guard(state, made, source.writer);
    return guarded === made ? made : { ...guarded, isOpaque: true };
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

function waitForHold() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Whoever waits for several stores may have given up when this one ends.
  promise.catch(() => {});
  return { promise, grant: resolve, reject };
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
    ...(change.schema !== undefined && { schema: change.schema }),
    ...(author !== undefined && { author }),
    ...(origin && { origin, ...recordable(change) }),
    ...(origin && change.isOpaque && { isOpaque: true }),
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
  // A state that has its new shape already is migrated, too.
  if (change.schema !== undefined) return true;
  return origin !== undefined && change.value !== undefined;
}

/** The mutations above `version`: those that are committed, then those of this run. */
function sinceOf(
  start: RunStart,
  mutations: readonly Mutation[],
  version: number,
): readonly RecentMutation[] | undefined {
  if (version > start.version) {
    return version > start.version + mutations.length
      ? undefined
      : mutations.slice(version - start.version);
  }
  const committed = start.since(version);
  return committed && [...committed, ...mutations];
}

function numberOf(origin: Origin): string {
  return `${origin.session} ${origin.call} ${origin.n}`;
}

function recordable({ value }: Change): { value?: Json } {
  return value === undefined ? {} : { value };
}

/** The record of a refusal. */
export function toRefusal(error: unknown, maxBytes: number): Refusal {
  const { code, message, path, data } = toErrorBody(error, "refused");
  return {
    code,
    message,
    ...(path !== undefined && { path }),
    // It is kept as long as what recipes return.
    ...(data !== undefined && sizeOf(data) <= maxBytes && { data }),
  };
}

function toError(
  refused: Refusal,
  // What was thrown the first time is not known any more, but that something was.
  cause: unknown = new Error(refused.message),
): HeadwaterError {
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
