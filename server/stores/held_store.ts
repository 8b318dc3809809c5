/**
 * A loaded store as whoever holds it sees it: it runs changes of its own, and commits
 * them together with those of other stores.
 *
 * @module
 */
import type { CommitResult } from "../log/atomic_writer.ts";
import type { StoreCommit } from "../log/commit.ts";
import type { StoreId } from "../log/keys.ts";
import type { TogetherRef } from "../log/log_entry.ts";
import type { Mutation } from "../log/mutation.ts";
import type { Recorded } from "../log/numbers.ts";
import type { Batch, PlannedMutation } from "./batch.ts";
import type { MutationSource } from "./change.ts";
import type { CommitQueue, Hold } from "./commit_queue.ts";
import type { Follower } from "./follower.ts";
import type { Fork } from "./fork.ts";
import type { StoreMemory } from "./store_memory.ts";
import type { StoreWriter } from "./store_writer.ts";

/** What became of a commit by whoever holds the store. */
export type HeldResult = CommitResult | {
  readonly ok: false;
  /** It may have taken effect, or may still do so. */
  readonly isInDoubt: boolean;
};

/** The commits of the store that is held. */
export interface HeldCommits {
  /** Whether this life of the store is over, or about to be. */
  isOver(): boolean;
  /** Lets the lane commit what waits, if it may. */
  wake(): void;
  /** The commit of that batch is about to be tried. */
  begin(batch: Batch): void;
  /** Takes what became of it. */
  settle(commit: StoreCommit, result: HeldResult): void;
}

/** What it is made from. */
export interface HeldParts {
  readonly id: StoreId;
  readonly queue: CommitQueue;
  readonly memory: StoreMemory;
  readonly fork: Fork;
  readonly follower: Follower;
  readonly writer: StoreWriter;
  readonly commits: HeldCommits;
}

/** See the module's documentation. */
export class HeldStore {
  readonly #parts: HeldParts;

  /** A store that nobody holds yet. */
  constructor(parts: HeldParts) {
    this.#parts = parts;
  }

  /**
   * Whether somebody may wait for it.
   *
   * @throws {LimitError} if so many wait that nobody may.
   */
  checkRoom(): void {
    this.#parts.queue.checkRoom();
  }

  /** Waits for what is queued, and keeps the lane from what comes behind that until it is released. */
  hold(): Hold {
    const { queue, commits } = this.#parts;
    const { granted, release } = queue.pushHold();
    commits.wake();
    return {
      granted,
      release: () => {
        release();
        commits.wake();
      },
    };
  }

  /** Lets the lane commit what has to come before whoever holds the store; resolves when it is its turn again. */
  yield(): Promise<void> {
    const granted = this.#parts.queue.yieldHold();
    this.#parts.commits.wake();
    return granted;
  }

  /** Whether it can be committed to, once it is refreshed. */
  get isReady(): boolean {
    const { memory: { stamp, head }, fork, commits } = this.#parts;
    return typeof stamp === "string" && head !== undefined &&
      !commits.isOver() && !fork.isPending;
  }

  /** Whether a new epoch has to be begun first. */
  get isForking(): boolean {
    return this.#parts.fork.isPending;
  }

  /** What became of a numbered write, if it was seen. */
  find({ origin, isResent }: MutationSource): Recorded | undefined {
    return origin && this.#parts.memory.numbers.find(origin, isResent);
  }

  /** Makes sure that the head is known, by reading it and what others committed if need be. */
  refresh(): Promise<void> {
    return this.#parts.follower.refresh();
  }

  /** Reads what was committed before this was called, though it is held. */
  reread(): Promise<void> {
    return this.#parts.follower.reread();
  }

  /** Runs mutations on a working copy, one in each step but the first. */
  run(mutations: readonly PlannedMutation[]): Generator<undefined, Batch> {
    const { queue, memory } = this.#parts;
    return queue.runHeld(mutations, memory.toRunStart());
  }

  /** A batch of mutations that leave the state as it is. */
  record(mutations: readonly Mutation[]): Batch {
    const start = this.#parts.memory.toRunStart();
    return { ...start, mutations, sizes: mutations.map(() => 0), outcomes: [] };
  }

  /** The commit of a batch; the store must be ready. */
  prepare(
    batch: Batch,
    together: readonly TogetherRef[] | undefined,
  ): StoreCommit {
    const { id, memory, writer } = this.#parts;
    const { stamp = null, epoch, head } = memory;
    const base = { id, epoch, stamp };
    if (batch.mutations.length === 0) {
      return { ...base, head: head ?? null, isCheckOnly: true };
    }
    const { expiresAtMs, pastStamp, schema } = memory;
    return {
      ...base,
      ...writer.entryInPlace(head, batch, {
        epoch,
        expiresAtMs,
        pastStamp,
        schema,
        ...(together && { together }),
      }),
    };
  }

  /** The commit of that batch is about to be tried. */
  begin(batch: Batch): void {
    this.#parts.commits.begin(batch);
  }

  /** Takes what became of that commit. */
  settle(commit: StoreCommit, result: HeldResult): void {
    this.#parts.commits.settle(commit, result);
  }
}
