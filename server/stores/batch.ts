/**
 * What a store's next commit is made of: mutations, run one after the other on a working
 * copy. Nothing here changes the store: until the KV has committed, every recipe can be run
 * again on a newer state.
 *
 * @module
 */
import { userIdOf } from "../../protocol/principal.ts";
import { encodeJson } from "../../protocol/codec.ts";
import {
  type ErrorCode,
  HeadwaterError,
  LimitError,
} from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import type { Mutation, Origin } from "../log/mutation.ts";
import type { Recorded, WriteNumbers } from "../log/numbers.ts";
import type {
  Change,
  ChangeContext,
  Changer,
  Guard,
  MutationSource,
  RecentMutation,
  Settled,
} from "./change.ts";
import { repeat, toError, toRefusal } from "./refused_write.ts";
import { sizeOf } from "./size.ts";
import { SERVER_WRITER, type Writer } from "./writer.ts";

/** A mutation that is to be run. */
export interface PlannedMutation {
  readonly change: Changer;
  readonly source: MutationSource;
}

/** What becomes of a mutation once its batch is committed. */
export type Outcome =
  | { readonly written: Settled }
  | { readonly error: unknown };

/** What a run of mutations on a working copy gave. */
export interface Batch {
  readonly state: Json;
  readonly initialized: boolean;
  readonly mutations: readonly Mutation[];
  /** Size of each mutation's patch. */
  readonly sizes: readonly number[];
  /** Of the mutations that were run, in their order. */
  readonly outcomes: readonly Outcome[];
  /** The state's encoded size is not above it. */
  readonly stateBound: number;
}

/** What a run begins with. */
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

/** Limits of what is run. */
export interface BatchLimits {
  readonly stateBytes: number;
  readonly patchBytes: number;
  readonly recipeValueBytes: number;
}

/** Mutations of one commit; more would only make its transaction longer. */
const MUTATIONS_PER_COMMIT = 1_000;

/** Characters of a user's id that the log takes. */
const USER_ID_LENGTH = 256;

/** Errors of a write that was not tried for good: its number stays free. */
const FREE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["rebase"]);

/** Runs mutations of one store on a working copy. */
export class BatchRunner {
  readonly #name: string;
  readonly #limits: BatchLimits;
  readonly #guard: Guard | undefined;

  /** Runs for the store `name`. */
  constructor(name: string, limits: BatchLimits, guard: Guard | undefined) {
    this.#name = name;
    this.#limits = limits;
    this.#guard = guard;
  }

  /** Runs mutations up to `maxBytes`. */
  run(
    queued: Iterable<PlannedMutation>,
    options: { start: RunStart; maxBytes: number },
  ): Batch {
    const steps = this.steps(queued, options);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /** The same, one mutation in each step but the first. */
  *steps(
    queued: Iterable<PlannedMutation>,
    { start, maxBytes }: { start: RunStart; maxBytes: number },
  ): Generator<undefined, Batch> {
    const { numbers } = start;
    let { state, stateBound, initialized } = start;
    const mutations: Mutation[] = [];
    const sizes: number[] = [];
    const outcomes: Outcome[] = [];
    const own = new Map<string, Recorded>();
    let bytes = 0;
    for (const pending of queued) {
      if (mutations.length >= MUTATIONS_PER_COMMIT) break;
      yield;
      const { origin, writer, forgetsRefusal } = pending.source;
      const seen = origin &&
        (numbers.find(origin, pending.source.isResent) ??
          own.get(numberOf(origin)));
      if (seen) {
        outcomes.push(repeat(seen));
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
          outcomes.push({ written: { version, value: change.value } });
          continue;
        }
        const written = { version: version + 1, value: change.value };
        mutations.push(toMutation(change, origin, writer));
        sizes.push(size);
        outcomes.push({ written });
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
          outcomes.push({ error });
          continue;
        }
        // Else a call that is run again could succeed where it failed, and do both. It is
        // told the same in both runs, or its handler might go two ways.
        const refused = toRefusal(error, this.#limits.recipeValueBytes);
        outcomes.push({ error: toError(refused, error) });
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

  #change(
    { change, source }: PlannedMutation,
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

function toMutation(
  change: Change,
  origin: Origin | undefined,
  { clientId: author, user }: Writer = SERVER_WRITER,
): Mutation {
  const userId = userIdOf(user);
  return {
    patch: change.patch,
    ...(change.initialized !== undefined &&
      { initialized: change.initialized }),
    ...(change.schema !== undefined && { schema: change.schema }),
    ...(author !== undefined && { author }),
    // A longer one would stand in every entry of the log.
    ...(userId !== undefined && userId.length <= USER_ID_LENGTH && { userId }),
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
