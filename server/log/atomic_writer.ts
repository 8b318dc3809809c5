/**
 * Commits the atomics of one lane, and finds out what became of each.
 *
 * An atomic whose `commit()` threw may have taken effect, or may still do so
 * later. The lane's own feed slot tells: it is filled by the atomic itself. A
 * missing slot alone proves nothing, so the same atomic is tried again, and
 * after the deadline the next one takes the same slot: if the lost one lands
 * first, the slot says so.
 *
 * @module
 */
import type { Clock, Kv, Random } from "../ports.ts";
import {
  buildAsking,
  buildAtomic,
  type FeedPosition,
  type StoreCommit,
  takesSlot,
} from "./commit.ts";
import { decodeSlot } from "./feed_slot.ts";
import { newId } from "./ids.ts";
import { headKey, slotKey } from "./keys.ts";
import { inTime, pause } from "./patience.ts";
import { decodeHead } from "./head.ts";

/** What a writer of atomics needs. */
export interface AtomicOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether other servers are told. */
  readonly sync: boolean;
  /** A KV that is far away has a client that may send an atomic twice without a word. */
  readonly isLocal: boolean;
}

/** What became of an atomic; `stamp` is the heads', where it is known. */
export type CommitResult = { ok: true; stamp: string | undefined } | {
  ok: false;
};

/** See the module's documentation. */
export class AtomicWriter {
  /** Id of this writer's feed, new at each boot. */
  readonly feed: string;
  readonly #options: AtomicOptions;
  #retries = 0;
  #slot = 1;
  #attempt = 0;
  /** An earlier atomic for this slot may still land. */
  #isSlotInDoubt = false;

  /** A writer with a feed of its own. */
  constructor(options: AtomicOptions) {
    this.#options = options;
    this.feed = newId(options.random);
  }

  /** How often an atomic was tried again. */
  get retries(): number {
    return this.#retries;
  }

  /** Commits, one call at a time; throws where it cannot be told in time what became of it. */
  async commit(
    commits: readonly StoreCommit[],
    deadline: number,
  ): Promise<CommitResult> {
    const commitId = `${this.feed}.${++this.#attempt}`;
    const position = this.#options.sync
      ? { feed: this.feed, slot: this.#slot }
      : undefined;
    let result: CommitResult;
    try {
      result = await this.#try(commits, { commitId, position, deadline });
    } catch (error) {
      this.#isSlotInDoubt = true;
      throw error;
    }
    if (!result.ok) {
      if (position && this.#isSlotInDoubt) await this.#settleSlot(position);
    } else if (position && takesSlot(commits)) {
      this.#slot++;
      this.#isSlotInDoubt = false;
    }
    return result;
  }

  /**
   * Tells other servers that this one wants to write to the stores, too, and
   * finds no turn. Nothing but time is lost where it does not arrive.
   */
  async ask(commits: readonly StoreCommit[], deadline: number): Promise<void> {
    const { clock, kv, sync } = this.#options;
    if (!sync) return;
    const commitId = `${this.feed}.${++this.#attempt}`;
    const position = { feed: this.feed, slot: this.#slot };
    try {
      const atomic = buildAsking(kv, commits, { commitId, position });
      const { ok } = await inTime(clock, atomic.commit(), deadline);
      if (!ok) return await this.#settleSlot(position);
      this.#slot++;
      this.#isSlotInDoubt = false;
    } catch {
      this.#isSlotInDoubt = true;
    }
  }

  /** Tries until it is known what became of the atomic; throws where that cannot be told in time. */
  async #try(
    commits: readonly StoreCommit[],
    { commitId, position, deadline }: {
      commitId: string;
      position: FeedPosition | undefined;
      deadline: number;
    },
  ): Promise<CommitResult> {
    const { clock, kv, isLocal } = this.#options;
    // Where the answer to the first sending was lost, the second one finds its own writes in its way.
    let mayHaveLanded = !isLocal;
    for (let retry = 0;; retry++) {
      try {
        const atomic = buildAtomic(kv, commits, { commitId, position });
        const result = await inTime(clock, atomic.commit(), deadline);
        if (result.ok) return { ok: true, stamp: result.versionstamp };
        const landed = mayHaveLanded &&
          await this.#hasLanded(commits, commitId, position);
        return landed ? { ok: true, stamp: undefined } : { ok: false };
      } catch (error) {
        mayHaveLanded = true;
        if (clock.monotonic() >= deadline) throw error;
        this.#retries++;
        await pause(this.#options, retry);
      }
    }
  }

  async #hasLanded(
    commits: readonly StoreCommit[],
    commitId: string,
    position: FeedPosition | undefined,
  ): Promise<boolean> {
    if (position && takesSlot(commits)) {
      return await this.#slotHolder(position) === commitId;
    }
    // All heads of an atomic carry its id, so one of them tells.
    const commit = commits.find(({ head, isCheckOnly }) =>
      head && !isCheckOnly
    );
    if (!commit) return false;
    const { value, versionstamp } = await this.#options.kv.get(
      headKey(commit.id),
    );
    return versionstamp !== null && decodeHead(value).commitId === commitId;
  }

  async #slotHolder(position: FeedPosition): Promise<string | undefined> {
    const { value, versionstamp } = await this.#options.kv.get(
      slotKey(position.feed, position.slot),
    );
    return versionstamp === null ? undefined : decodeSlot(value).commitId;
  }

  async #settleSlot(position: FeedPosition): Promise<void> {
    // The atomic that was given up has landed after all: its slot is used.
    const holder = await this.#slotHolder(position).catch(() => undefined);
    if (holder === undefined) return;
    this.#slot++;
    this.#isSlotInDoubt = false;
  }
}
