/**
 * The mutations that wait for a store's next commit, and whoever waits to hold the store.
 *
 * @module
 */
import { HeadwaterError, LimitError } from "../../protocol/errors.ts";
import {
  type Batch,
  type BatchLimits,
  BatchRunner,
  type Outcome,
  type PlannedMutation,
  type RunStart,
} from "./batch.ts";
import type {
  Changer,
  Guard,
  MutationSource,
  Settled,
  Written,
} from "./change.ts";

/** The deletion of the store, that waits. */
interface PendingDeletion {
  readonly source: MutationSource;
  readonly resolve: (written: Settled) => void;
  readonly reject: (error: unknown) => void;
}

/** A mutation that waits. */
interface PendingMutation extends PendingDeletion {
  readonly change: Changer;
}

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

/** Limits of a queue and its batches. */
export interface QueueLimits extends BatchLimits {
  readonly queuedMutations: number;
}

/** What waits. */
type Pending = PendingMutation | PendingDeletion | PendingHold;

/** Mutations of one store that wait. */
export class CommitQueue {
  readonly #name: string;
  readonly #limits: QueueLimits;
  readonly #runner: BatchRunner;
  #pending: Pending[] = [];

  /** A queue for the store `name`. */
  constructor(name: string, limits: QueueLimits, guard?: Guard) {
    this.#name = name;
    this.#limits = limits;
    this.#runner = new BatchRunner(name, limits, guard);
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
    mutations: readonly PlannedMutation[],
    start: RunStart,
  ): Generator<undefined, Batch> {
    return this.#runner.steps(mutations, { start, maxBytes: Infinity });
  }

  /** Runs what waits, up to a deletion or `maxBytes`, on a working copy. */
  run(start: RunStart, maxBytes: number): Batch {
    return this.#runner.run(this.#mutations(), { start, maxBytes });
  }

  /** Tells those who wait first what became of their mutations, and drops these. */
  settle(outcomes: readonly Outcome[]): void {
    const settled = this.#pending.slice(0, outcomes.length);
    this.#pending = this.#pending.slice(outcomes.length);
    for (const [index, pending] of settled.entries()) {
      const outcome = outcomes[index]!; // as many as there are outcomes
      if ("error" in outcome) pending.reject(outcome.error);
      else if ("resolve" in pending) pending.resolve(outcome.written);
    }
  }

  /** Takes the deletion that comes next. */
  shift(): PendingDeletion | undefined {
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

  /** Those that come before a deletion, or somebody's turn to hold the store. */
  *#mutations(): Iterable<PlannedMutation> {
    for (const pending of this.#pending) {
      if (!("change" in pending)) return;
      yield pending;
    }
  }
}

function waitForHold() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Whoever waits for several stores may have given up when this one ends.
  promise.catch(() => {});
  return { promise, grant: resolve, reject };
}
