/**
 * Commits to several stores in one atomic operation, all or nothing.
 *
 * Each store has a queue and a lane that empties it. When it is the turn of a joint commit
 * in every queue, it runs its changes on working copies and commits them; if another server
 * was quicker it reads what that wrote, and runs them again.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { StoreId } from "../log/keys.ts";
import { Rivalry, RoundTime } from "../log/rivalry.ts";
import type { HeldResult } from "./held_store.ts";
import { lateError, unavailable } from "./joint_error.ts";
import { type HoldOptions, JointHold } from "./joint_hold.ts";
import {
  type JointPart,
  type JointWritten,
  refuseTooMany,
} from "./joint_part.ts";
import {
  findAll,
  JointPast,
  type PastOptions,
  repeatAll,
} from "./joint_past.ts";
import { isWorthChecking, runParts, type SeatCommit } from "./joint_run.ts";
import { openSeats, type OpenStore, type Seat, seatOf } from "./joint_seats.ts";
import type { Store } from "./store.ts";
import type { TryOptions, WriterPool } from "./writer_pool.ts";

/** How often it begins again because a store was deleted under it. */
const ATTEMPTS = 4;

/** What joint commits need. */
export interface JointOptions extends HoldOptions, PastOptions {
  readonly writers: WriterPool;
  /** How long a commit is tried. */
  readonly commitMs: number;
  readonly recipeValueBytes: number;
  /** The store, if it is loaded. */
  readonly loaded: (id: StoreId) => Store | undefined;
}

/** See the module's documentation. */
export class JointCommits {
  readonly #options: JointOptions;
  readonly #past: JointPast;
  readonly #writers: WriterPool;
  readonly #roundTime = new RoundTime();
  readonly #running = new Set<Promise<unknown>>();

  /** Nothing is to be committed yet. */
  constructor(options: JointOptions) {
    this.#options = options;
    this.#past = new JointPast(options);
    this.#writers = options.writers;
  }

  /**
   * Makes all changes, or none of them. The first that throws refuses all, with its
   * error. Where the changes are numbered and any of them was seen before, all were
   * decided then, and what that gave is given again.
   */
  async commit(
    parts: readonly JointPart[],
    open: OpenStore,
  ): Promise<JointWritten[]> {
    if (parts.length === 0) return [];
    refuseTooMany(parts);
    const running = this.#commit(parts, open);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  async #commit(
    parts: readonly JointPart[],
    open: OpenStore,
  ): Promise<JointWritten[]> {
    for (let attempt = 1;; attempt++) {
      // Asked first: opening a store could begin another life of it.
      const known = await this.#past.madeBefore(parts, attempt > 1);
      if (known) return known;
      try {
        const { loaded } = this.#options;
        const seats = await openSeats(parts, { open, loaded });
        return await this.#hold(seats, parts);
      } catch (error) {
        // A store that is deleted begins another life with the next write.
        const isGone = error instanceof HeadwaterError &&
          error.code === "store_deleted" && error.outcome === "notApplied";
        if (!isGone || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #hold(
    seats: readonly Seat[],
    parts: readonly JointPart[],
  ): Promise<JointWritten[]> {
    const hold = new JointHold(seats, this.#options);
    try {
      await hold.granted();
      return await this.#tryAll(seats, { parts, hold });
    } finally {
      hold.release();
    }
  }

  async #tryAll(
    seats: readonly Seat[],
    { parts, hold }: { parts: readonly JointPart[]; hold: JointHold },
  ): Promise<JointWritten[]> {
    const { clock } = this.#options;
    const { deadline } = hold;
    const rivalry = new Rivalry(this.#options);
    let hasLost = false;
    for (;;) {
      const beganMs = clock.monotonic();
      await hold.refresh();
      if (findAll(seats, parts).some(({ recorded }) => recorded)) {
        await hold.reread();
        return repeatAll(findAll(seats, parts));
      }
      const { written, refusal, commits } = runParts(
        seats,
        parts,
        this.#options,
      );
      const result = isWorthChecking(commits)
        ? await this.#write(commits, { deadline, isAlone: hasLost })
        : { ok: true } as const;
      if (result.ok) {
        this.#roundTime.add(clock.monotonic() - beganMs);
        if (refusal) throw refusal.error;
        return parts.map(({ id }, index) => ({
          id,
          epoch: seatOf(seats, id).store.epoch,
          ...written[index]!, // as many as there are parts
        }));
      }
      hasLost = true;
      const waitMs = rivalry.lost(this.#roundTime.ms);
      if (clock.monotonic() + waitMs >= deadline) throw lateError();
      if (rivalry.asks()) {
        const asked = commits.map(({ commit }) => commit);
        await this.#writers.ask(asked, deadline);
      }
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
    }
  }

  /** In one atomic; every store takes what became of it before anybody else can. */
  async #write(
    commits: readonly SeatCommit[],
    options: TryOptions,
  ): Promise<{ readonly ok: boolean }> {
    const all = commits.map(({ commit }) => commit);
    for (const { held, batch } of commits) held.begin(batch);
    let result: HeldResult;
    let failure: HeadwaterError | undefined;
    try {
      result = await this.#writers.commit(all, options);
    } catch (error) {
      failure = unavailable(error, "unknown");
      result = { ok: false, isInDoubt: true };
    }
    for (const { held, commit } of commits) held.settle(commit, result);
    if (failure) throw failure;
    return result;
  }
}
