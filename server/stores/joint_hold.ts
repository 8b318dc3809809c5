/**
 * The hold of a transaction on all of its stores. It takes a place in every queue, in one
 * go, so that two of them wait for each other in one order and never in a circle.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { inTime, pause } from "../log/patience.ts";
import type { Clock, Random } from "../ports.ts";
import type { Hold } from "./commit_queue.ts";
import { lateError, unavailable } from "./joint_error.ts";
import type { Seat } from "./joint_seats.ts";

/** What a hold needs. */
export interface HoldOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** How long a commit is tried. */
  readonly commitMs: number;
}

/** See the module's documentation. */
export class JointHold {
  readonly #seats: readonly Seat[];
  readonly #options: HoldOptions;
  readonly #holds: readonly Hold[];
  #deadline = Infinity;

  /**
   * Waits for the stores.
   *
   * @throws {HeadwaterError} if one of them has ended, or too many wait for it.
   */
  constructor(seats: readonly Seat[], options: HoldOptions) {
    this.#seats = seats;
    this.#options = options;
    // Before any is held: nobody would let go of it.
    for (const { store } of seats) {
      if (store.ended) throw store.ended;
      store.held.checkRoom();
    }
    this.#holds = seats.map(({ store }) => store.hold());
  }

  /** Until when the commit is tried. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Resolves when it is its turn everywhere. */
  async granted(): Promise<void> {
    const { clock, commitMs } = this.#options;
    const granted = this.#holds.map(({ granted }) => granted);
    // However many are before it: as long as it holds nothing, it keeps nobody waiting.
    await Promise.race(granted);
    this.#deadline = clock.monotonic() + commitMs;
    await this.#wait(granted);
  }

  /** Lets go of the stores, or waits for them no longer. */
  release(): void {
    for (const hold of this.#holds) hold.release();
  }

  /** Reads what others wrote to the stores, until all of them can be committed to. */
  async refresh(): Promise<void> {
    const { clock } = this.#options;
    const seats = this.#seats;
    const deadline = this.#deadline;
    for (let retry = 0;; retry++) {
      try {
        const refreshes = seats.map(({ store }) => store.held.refresh());
        await inTime(clock, Promise.all(refreshes), deadline);
      } catch (error) {
        // A store that is corrupt stays so; a KV that fails may recover.
        if (error instanceof HeadwaterError) throw error;
        if (clock.monotonic() >= deadline) throw unavailable(error);
        await pause(this.#options, retry);
        continue;
      }
      for (const { store } of seats) if (store.ended) throw store.ended;
      const forking = seats.filter(({ store }) => store.held.isForking);
      if (forking.length > 0) {
        const yielded = forking.map(({ store }) => store.held.yield());
        await this.#wait(yielded);
      } else if (seats.every(({ store }) => store.held.isReady)) {
        return;
      } else if (clock.monotonic() >= deadline) {
        throw lateError();
      } else if (retry > 0) {
        // Another server's write came by the feed while the head was read.
        await pause(this.#options, retry);
      }
    }
  }

  /**
   * Reads what was committed so far: where one store knows that the changes were made,
   * the others may not have heard of it.
   */
  async reread(): Promise<void> {
    const { clock } = this.#options;
    const seats = this.#seats;
    const deadline = this.#deadline;
    try {
      const reads = seats.map(({ store }) => store.held.reread());
      await inTime(clock, Promise.all(reads), deadline);
    } catch (error) {
      throw error instanceof HeadwaterError
        ? error
        : unavailable(error, "unknown");
    }
    for (const { store } of seats) if (store.ended) throw store.ended;
  }

  async #wait(turns: readonly Promise<void>[]): Promise<void> {
    try {
      await inTime(this.#options.clock, Promise.all(turns), this.#deadline);
    } catch (error) {
      throw error instanceof HeadwaterError ? error : lateError(error);
    }
  }
}
