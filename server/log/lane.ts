/**
 * A lane: the commits of some stores, one atomic at a time.
 *
 * While a commit is in flight the mutations of its stores queue; the next one
 * takes them all. A store is always in the same lane, so its commits never
 * compete with each other, only with those of other servers.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import {
  type AtomicOptions,
  AtomicWriter,
  type CommitResult,
} from "./atomic_writer.ts";
import type { StoreCommit } from "./commit.ts";
import type { Participant } from "./participant.ts";
import { inTime, pause } from "./patience.ts";
import { type Round, Turns } from "./turns.ts";

/** Checks in one atomic: a flip and a large entry check their markers, too. */
const CHECKS_PER_ATOMIC = 9;
/** Bytes of entries in one atomic. */
const ENTRY_BYTES_PER_ATOMIC = 600 * 1024;
/** However long a store has waited for its turn, a commit of its is given this part of its time. */
const LEAST_PART = 1 / 8;

/** What a lane needs. */
export interface LaneOptions extends AtomicOptions {
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
  readonly #options: LaneOptions;
  readonly #turns: Turns;
  readonly #writer: AtomicWriter;
  #commits = 0;
  #mutations = 0;
  #conflicts = 0;
  /** The last that was tried failed: nobody waits for it any longer than was promised. */
  #isKvDown = false;
  #running: Promise<void> | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#turns = new Turns(options);
    this.#writer = new AtomicWriter(options);
  }

  /** Id of this lane's feed, new at each boot. */
  get feed(): string {
    return this.#writer.feed;
  }

  /** What it has done so far. */
  get figures(): LaneFigures {
    return {
      commits: this.#commits,
      mutations: this.#mutations,
      conflicts: this.#conflicts,
      retries: this.#writer.retries,
    };
  }

  /** Lets the store's work be committed soon. */
  add(participant: Participant): void {
    if (!this.#turns.add(participant) || this.#running) return;
    // Deferred, so that all mutations of the current tick ride in one commit.
    this.#running = new Promise<void>((resolve) =>
      this.#options.clock.defer(resolve)
    )
      .then(() => this.#run());
  }

  /** Another server wrote to the store, or says that it finds no turn. */
  heard(participant: Participant, isStarving: boolean): void {
    this.#turns.heard(participant, isStarving);
  }

  /** Resolves when nothing is left to commit. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#turns.isEmpty) {
      const round = this.#turns.choose();
      if (round) await this.#safeRound(round);
      else await this.#turns.woken();
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

  async #round(round: Round): Promise<void> {
    const { clock } = this.#options;
    const { chosen, sinceMs } = round;
    const beganMs = clock.monotonic();
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
      const size = (commit.past?.bytes.byteLength ?? 0) +
        (commit.entryBlob ? 0 : commit.entryBytes?.byteLength ?? 0);
      const needs = 1 + (commit.flip ? 1 : 0) + (commit.entryBlob ? 1 : 0) +
        (commit.pastStamp === undefined ? 0 : 1);
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
    if (prepared.size > 0) {
      await this.#commit(prepared, sinceMs);
      this.#turns.took(clock.monotonic() - beganMs);
    }
    this.#turns.end(round, chosen.filter((one) => !prepared.has(one)));
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
    let result: CommitResult;
    try {
      result = await this.#writer.commit(commits, this.#deadline(sinceMs));
    } catch (error) {
      this.#isKvDown = true;
      for (const [participant, commit] of prepared) {
        participant.failed(commit, unavailable(error));
        participant.conflicted();
      }
      return;
    }
    this.#isKvDown = false;
    if (!result.ok) {
      this.#conflicts++;
      const stores = [...prepared.keys()];
      for (const participant of stores) participant.conflicted();
      if (this.#turns.conflicted(stores)) {
        await this.#writer.ask(commits, this.#deadline(sinceMs));
      }
      return;
    }
    this.#commits++;
    this.#turns.committed(prepared.keys());
    for (const [participant, commit] of prepared) {
      this.#mutations += commit.entry?.mutations.length ?? 0;
      participant.committed(commit, result.stamp);
    }
  }

  /** When those who have waited since then are told that it cannot be done. */
  #deadline(sinceMs: number): number {
    const { clock, commitMs } = this.#options;
    const leastMs = this.#isKvDown ? 0 : commitMs * LEAST_PART;
    return Math.max(sinceMs + commitMs, clock.monotonic() + leastMs);
  }
}

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
