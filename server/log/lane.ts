/**
 * A lane: the commits of some stores, one atomic at a time.
 *
 * While a commit is in flight the mutations of its stores queue; the next one
 * takes them all. A store is always in the same lane, so its commits never
 * compete with each other, only with those of other servers.
 *
 * An atomic whose `commit()` threw may have taken effect, or may still do so
 * later. The lane's own feed slot tells: it is filled by the atomic itself. A
 * missing slot alone proves nothing, so the same atomic is tried again, and
 * after the deadline the next one takes the same slot: if the lost one lands
 * first, the slot says so.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import {
  buildAtomic,
  type FeedPosition,
  type StoreCommit,
  takesSlot,
} from "./commit.ts";
import { decodeSlot } from "./feed_slot.ts";
import { newId } from "./ids.ts";
import { headKey, slotKey } from "./keys.ts";
import { inTime, pause } from "./patience.ts";
import { decodeHead } from "./records.ts";

/** Stores in one atomic: denokv allows 10 checks, one is the feed slot's. */
const STORES_PER_ATOMIC = 9;
/** Checks in one atomic: a flip and a large entry check their markers, too. */
const CHECKS_PER_ATOMIC = 9;
/** Bytes of entries in one atomic. */
const ENTRY_BYTES_PER_ATOMIC = 600 * 1024;
/** However long a store has waited for its turn, a commit of its is given this part of its time. */
const LEAST_PART = 1 / 8;

/** A store, as its lane sees it. */
export interface Participant {
  /** Whether anything waits to be committed. */
  hasWork(): boolean;
  /** Makes sure that the head is known, by reading it and what others committed if need be. */
  refresh(): Promise<void>;
  /** Runs what waits on a working copy; undefined if nothing is left to write. */
  prepare(
    maxBytes: number,
  ): StoreCommit | undefined | Promise<StoreCommit | undefined>;
  /** The commit took effect; `stamp` is the head's, where it is known. */
  committed(commit: StoreCommit, stamp: string | undefined): void;
  /** Someone else moved the head, or it is not known who did. */
  conflicted(): void;
  /** Nothing can be committed now; everything that waits is to be rejected. */
  failed(commit: StoreCommit | undefined, error: HeadwaterError): void;
}

/** What a lane needs. */
export interface LaneOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether other servers are told. */
  readonly sync: boolean;
  /** How long a commit is tried. */
  readonly commitMs: number;
}

/** Counters of a lane, since it was made. */
export interface LaneFigures {
  commits: number;
  mutations: number;
  conflicts: number;
  retries: number;
}

/** See the module's documentation. */
export class Lane {
  /** Id of this lane's feed, new at each boot. */
  readonly feed: string;
  readonly figures: LaneFigures = {
    commits: 0,
    mutations: 0,
    conflicts: 0,
    retries: 0,
  };
  readonly #options: LaneOptions;
  /** Stores with work, and since when they have waited. */
  #ready = new Map<Participant, number>();
  /** Stores that met a conflict, and how often in a row; they commit apart. */
  readonly #contended = new Map<Participant, number>();
  /** Contended stores that wait for their turn; the others go on meanwhile. */
  readonly #waiting = new Set<Participant>();
  #wake: () => void = () => {};
  #slot = 1;
  #attempt = 0;
  /** An earlier atomic for this slot may still land. */
  #isSlotInDoubt = false;
  /** The last that was tried failed: nobody waits for it any longer than was promised. */
  #isKvDown = false;
  #running: Promise<void> | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.feed = newId(options.random);
  }

  /** Lets the store's work be committed soon. */
  add(participant: Participant): void {
    if (this.#waiting.has(participant)) return;
    this.#enqueue(participant);
    this.#wake();
    if (this.#running) return;
    // Deferred, so that all mutations of the current tick ride in one commit.
    this.#running = new Promise<void>((resolve) =>
      this.#options.clock.defer(resolve)
    )
      .then(() => this.#run());
  }

  /** Resolves when nothing is left to commit. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#ready.size + this.#waiting.size > 0) {
      if (this.#ready.size > 0) await this.#safeRound(this.#choose());
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
    this.#running = undefined;
  }

  /** A store that fails in an unforeseen way must not end its lane, or all others would hang. */
  async #safeRound(round: Round): Promise<void> {
    try {
      await this.#round(round);
    } catch (error) {
      for (const participant of round.chosen) {
        participant.conflicted();
        participant.failed(undefined, unavailable(error));
      }
    }
  }

  #enqueue(participant: Participant): void {
    if (this.#ready.has(participant)) return;
    this.#ready.set(participant, this.#options.clock.monotonic());
  }

  /** Lets those that found no room come before those that did. */
  #enqueueFirst(late: readonly Participant[], sinceMs: number): void {
    const first = new Map<Participant, number>();
    for (const participant of late) {
      if (participant.hasWork()) first.set(participant, sinceMs);
    }
    if (first.size === 0) return;
    for (const [participant, ms] of this.#ready) {
      if (!first.has(participant)) first.set(participant, ms);
    }
    this.#ready = first;
  }

  #choose(): Round {
    const chosen: Participant[] = [];
    let sinceMs = -Infinity;
    for (const participant of this.#ready.keys()) {
      if (this.#contended.has(participant)) {
        if (chosen.length > 0) continue;
        chosen.push(participant);
        break;
      }
      chosen.push(participant);
      if (chosen.length === STORES_PER_ATOMIC) break;
    }
    for (const participant of chosen) {
      sinceMs = Math.max(sinceMs, this.#ready.get(participant)!); // from #ready
      this.#ready.delete(participant);
    }
    return { chosen, sinceMs };
  }

  async #round({ chosen, sinceMs }: Round): Promise<void> {
    const prepared = new Map<Participant, StoreCommit>();
    let bytes = 0;
    let checks = 0;
    for (const participant of chosen) {
      const commit =
        bytes < ENTRY_BYTES_PER_ATOMIC && checks < CHECKS_PER_ATOMIC
          ? await this.#prepare(participant, {
            maxBytes: ENTRY_BYTES_PER_ATOMIC - bytes,
            deadline: this.#deadline(sinceMs),
          })
          : undefined;
      if (!commit) continue;
      const size = commit.entryBlob ? 0 : commit.entryBytes?.byteLength ?? 0;
      const needs = 1 + (commit.flip ? 1 : 0) + (commit.entryBlob ? 1 : 0);
      if (
        prepared.size > 0 &&
        (bytes + size > ENTRY_BYTES_PER_ATOMIC ||
          checks + needs > CHECKS_PER_ATOMIC)
      ) {
        continue;
      }
      bytes += size;
      checks += needs;
      prepared.set(participant, commit);
    }
    if (prepared.size > 0) await this.#commit(prepared, sinceMs);
    this.#enqueueFirst(chosen.filter((one) => !prepared.has(one)), sinceMs);
    for (const participant of chosen) {
      if (this.#waiting.has(participant)) continue;
      if (participant.hasWork()) this.#enqueue(participant);
      // All that it had to write was there already, by a server that was quicker: were the
      // conflict not forgotten with that, each later one would wait longer.
      else this.#contended.delete(participant);
    }
  }

  async #prepare(
    participant: Participant,
    { maxBytes, deadline }: { maxBytes: number; deadline: number },
  ): Promise<StoreCommit | undefined> {
    const { clock } = this.#options;
    for (let retry = 0;; retry++) {
      try {
        await inTime(clock, participant.refresh(), deadline);
        return await inTime(
          clock,
          Promise.resolve(participant.prepare(maxBytes)),
          deadline,
        );
      } catch (error) {
        // A store that is corrupt stays so; a KV that fails may recover.
        const isFinal = error instanceof HeadwaterError;
        if (isFinal || clock.monotonic() >= deadline) {
          this.#isKvDown = !isFinal;
          participant.failed(undefined, isFinal ? error : unavailable(error));
          return undefined;
        }
        await pause(this.#options, retry);
      }
    }
  }

  async #commit(
    prepared: ReadonlyMap<Participant, StoreCommit>,
    sinceMs: number,
  ): Promise<void> {
    const commits = [...prepared.values()];
    const commitId = `${this.feed}.${++this.#attempt}`;
    const position = this.#options.sync
      ? { feed: this.feed, slot: this.#slot }
      : undefined;
    let result: CommitResult;
    try {
      result = await this.#tryCommit(commits, {
        commitId,
        position,
        deadline: this.#deadline(sinceMs),
      });
    } catch (error) {
      this.#isKvDown = true;
      this.#isSlotInDoubt = true;
      for (const [participant, commit] of prepared) {
        participant.failed(commit, unavailable(error));
        participant.conflicted();
      }
      return;
    }
    this.#isKvDown = false;
    if (!result.ok) return await this.#conflict(prepared, position);
    this.figures.commits++;
    if (position && takesSlot(commits)) {
      this.#slot++;
      this.#isSlotInDoubt = false;
    }
    for (const [participant, commit] of prepared) {
      this.figures.mutations += commit.entry?.mutations.length ?? 0;
      this.#contended.delete(participant);
      participant.committed(commit, result.stamp);
    }
  }

  /** Tries until it is known what became of the atomic; throws where that cannot be told in time. */
  async #tryCommit(
    commits: readonly StoreCommit[],
    { commitId, position, deadline }: {
      commitId: string;
      position: FeedPosition | undefined;
      deadline: number;
    },
  ): Promise<CommitResult> {
    const { clock, kv } = this.#options;
    let mayHaveLanded = false;
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
        this.figures.retries++;
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
    const commit = commits.find((commit) => commit.head);
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

  async #conflict(
    prepared: ReadonlyMap<Participant, StoreCommit>,
    position: FeedPosition | undefined,
  ): Promise<void> {
    this.figures.conflicts++;
    if (position && this.#isSlotInDoubt) {
      // The atomic that was given up has landed after all: its slot is used.
      const holder = await this.#slotHolder(position).catch(() => undefined);
      if (holder !== undefined) {
        this.#slot++;
        this.#isSlotInDoubt = false;
      }
    }
    const stores = [...prepared.keys()];
    for (const participant of stores) participant.conflicted();
    const [only] = stores;
    if (stores.length > 1 || !only) {
      // Not known which of them it was: each goes alone once.
      for (const participant of stores) this.#contended.set(participant, 0);
      return;
    }
    const tries = this.#contended.get(only) ?? 0;
    this.#contended.set(only, tries + 1);
    // Servers that write to one store take turns, or none of them would get on.
    this.#waiting.add(only);
    void pause(this.#options, tries).then(() => {
      this.#waiting.delete(only);
      this.#enqueue(only);
      this.#wake();
    });
  }

  /** When those who have waited since then are told that it cannot be done. */
  #deadline(sinceMs: number): number {
    const { clock, commitMs } = this.#options;
    const leastMs = this.#isKvDown ? 0 : commitMs * LEAST_PART;
    return Math.max(sinceMs + commitMs, clock.monotonic() + leastMs);
  }
}

/** The stores whose turn it is. */
interface Round {
  readonly chosen: readonly Participant[];
  /** When the last of them came. */
  readonly sinceMs: number;
}

type CommitResult = { ok: true; stamp: string | undefined } | { ok: false };

function unavailable(cause: unknown): HeadwaterError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HeadwaterError(
    "unavailable",
    `Cannot commit: the KV failed: ${reason}`,
    {
      cause,
      outcome: "unknown",
    },
  );
}
