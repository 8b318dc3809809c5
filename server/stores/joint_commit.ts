/**
 * Commits to several stores in one atomic operation, all or nothing.
 *
 * Each store has a queue and a lane that empties it. A joint commit takes a place in
 * every queue, in one go, so that two of them wait for each other in one order and
 * never in a circle. When it is its turn everywhere, it runs its changes on working
 * copies and commits them; if another server was quicker it reads what that wrote,
 * and runs them again.
 *
 * @module
 */
import { HeadwaterError, LimitError } from "../../protocol/errors.ts";
import type { AtomicWriter } from "../log/atomic_writer.ts";
import type { StoreCommit } from "../log/commit.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Recorded } from "../log/numbers.ts";
import { inTime, pause } from "../log/patience.ts";
import type { Refusal } from "../log/records.ts";
import { Rivalry, RoundTime } from "../log/rivalry.ts";
import type { Clock, Random } from "../ports.ts";
import {
  type Batch,
  type HeldMutation,
  repeat,
  type Settled,
  toRefusal,
} from "./commit_queue.ts";
import type { HeldResult } from "./committer.ts";
import type { HeldStore, Store } from "./store.ts";
import { WriterPool } from "./writer_pool.ts";

/** Stores in one transaction: some KVs check 10 keys in one atomic, of which one is the feed's. */
export const STORES_PER_TRANSACTION = 9;
/** Changes in one transaction. */
export const CHANGES_PER_TRANSACTION = 1_000;
/** Bytes of the log entries of one transaction; a KV takes 800 KiB with all that goes with them. */
export const TRANSACTION_BYTES: number = 600 * 1024;

/** How often it begins again because a store was deleted under it. */
const ATTEMPTS = 4;

/** One change of a transaction; several may be of one store. */
export interface JointPart extends HeldMutation {
  readonly id: StoreId;
}

/** What one change has made. */
export interface JointWritten extends Settled {
  readonly id: StoreId;
  /** The life of the store that the version is one of. */
  readonly epoch: string;
}

/** What joint commits need. */
export interface JointOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly writers: readonly AtomicWriter[];
  /** How long a commit is tried. */
  readonly commitMs: number;
  readonly recipeValueBytes: number;
  /** The store, if it is loaded. */
  readonly loaded: (id: StoreId) => Store | undefined;
  /** The store, if it exists. */
  readonly find: (id: StoreId) => Promise<Store | undefined>;
  /** What became of a write to a life of the store that has ended. */
  readonly findPast: JointFindPast;
}

type JointFindPast = (
  id: StoreId,
  origin: NonNullable<HeldMutation["source"]["origin"]>,
) => Promise<Recorded | undefined>;

/** Gives a store, which is created if need be. */
export type OpenStore = (id: StoreId) => Promise<Store>;

/** One store of a transaction that holds it. */
interface Seat {
  readonly store: Store;
  readonly parts: readonly JointPart[];
}

/** What is remembered of one change. */
interface Found {
  readonly id: StoreId;
  readonly store: Store | undefined;
  readonly recorded: Recorded | undefined;
}

/** What is to be committed to one store. */
interface SeatCommit {
  readonly held: HeldStore;
  readonly batch: Batch;
  readonly commit: StoreCommit;
}

/** What a run of all changes gave. */
interface Run {
  readonly commits: readonly SeatCommit[];
  /** Of each change. */
  readonly written: readonly Settled[];
  /** Why there is nothing but that to be remembered. */
  readonly refusal?: { readonly error: unknown };
}

/** See the module's documentation. */
export class JointCommits {
  readonly #options: JointOptions;
  readonly #writers: WriterPool;
  readonly #roundTime = new RoundTime();
  readonly #running = new Set<Promise<unknown>>();

  /** Nothing is to be committed yet. */
  constructor(options: JointOptions) {
    this.#options = options;
    this.#writers = new WriterPool(options.writers);
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
      const known = await this.#madeBefore(parts, attempt > 1);
      if (known) return known;
      try {
        const seats = await this.#seat(parts, open);
        return await this.#hold(seats, parts);
      } catch (error) {
        // A store that is deleted begins another life with the next write.
        const isGone = error instanceof HeadwaterError &&
          error.code === "store_deleted" && error.outcome === "notApplied";
        if (!isGone || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** What the changes gave, if any of them was made to a life of its store that has ended. */
  async #madeBefore(
    parts: readonly JointPart[],
    isAgain: boolean,
  ): Promise<JointWritten[] | undefined> {
    const { clock, commitMs } = this.#options;
    const deadline = clock.monotonic() + commitMs;
    const past = (part: JointPart) => this.#findPast(part, isAgain);
    const known = await Promise.all(parts.map(past));
    if (known.every((recorded) => recorded === undefined)) return undefined;
    for (let retry = 0;; retry++) {
      const found = await this.#findBefore(parts, past);
      if (found) return repeatAll(found);
      if (clock.monotonic() >= deadline) throw lateError(undefined, "unknown");
      await pause(this.#options, retry);
    }
  }

  /** What is remembered of changes that were made; undefined where a life that is over is not settled. */
  async #findBefore(
    parts: readonly JointPart[],
    past: (part: JointPart) => Promise<Recorded | undefined>,
  ): Promise<Found[] | undefined> {
    const found: Found[] = [];
    for (const part of parts) {
      const { id, source } = part;
      const store = await this.#options.find(id);
      await store?.check();
      if (store?.ended || store?.isGone) return undefined;
      // Asked last: what is not in this life was in one that had ended before it was looked for.
      const recorded = store?.held.find(source) ?? await past(part);
      found.push({ id, store, recorded });
    }
    return found;
  }

  async #findPast(
    { id, source: { origin, isResent } }: JointPart,
    isAgain: boolean,
  ): Promise<Recorded | undefined> {
    return origin && (isResent || isAgain)
      ? await this.#options.findPast(id, origin)
      : undefined;
  }

  /** Opens the stores of the changes, in order of their names. */
  async #seat(parts: readonly JointPart[], open: OpenStore): Promise<Seat[]> {
    for (let attempt = 1;; attempt++) {
      const seats = await toSeats(parts, open);
      // One may have been unloaded while a hook of another was running: nobody would learn
      // of what is written to it.
      const isLoaded = ({ store }: Seat) =>
        this.#options.loaded(store.id) === store;
      if (seats.every(isLoaded) || attempt === ATTEMPTS) return seats;
    }
  }

  async #hold(
    seats: readonly Seat[],
    parts: readonly JointPart[],
  ): Promise<JointWritten[]> {
    const { clock, commitMs } = this.#options;
    // Before any is held: nobody would let go of it.
    for (const { store } of seats) {
      if (store.ended) throw store.ended;
      store.held.checkHold();
    }
    const holds = seats.map(({ store }) => store.hold());
    const granted = holds.map(({ granted }) => granted);
    try {
      // However many are before it: as long as it holds nothing, it keeps nobody waiting.
      await Promise.race(granted);
      const deadline = clock.monotonic() + commitMs;
      await this.#wait(granted, deadline);
      return await this.#tryAll(seats, { parts, deadline });
    } finally {
      for (const hold of holds) hold.release();
    }
  }

  async #tryAll(
    seats: readonly Seat[],
    { parts, deadline }: { parts: readonly JointPart[]; deadline: number },
  ): Promise<JointWritten[]> {
    const { clock } = this.#options;
    const rivalry = new Rivalry(this.#options);
    for (;;) {
      const beganMs = clock.monotonic();
      await this.#refresh(seats, deadline);
      if (findAll(seats, parts).some(({ recorded }) => recorded)) {
        await this.#reread(seats, deadline);
        return repeatAll(findAll(seats, parts));
      }
      const { written, refusal, commits } = this.#run(seats, parts);
      const result = isWorthChecking(commits)
        ? await this.#write(commits, deadline)
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
      const waitMs = rivalry.lost(this.#roundTime.ms);
      if (clock.monotonic() + waitMs >= deadline) throw lateError();
      if (rivalry.asks()) {
        const asked = commits.map(({ commit }) => commit);
        await this.#writers.use((writer) => writer.ask(asked, deadline));
      }
      await new Promise<void>((resolve) => clock.setTimer(waitMs, resolve));
    }
  }

  /** Reads what others wrote to the stores, until all of them can be committed to. */
  async #refresh(seats: readonly Seat[], deadline: number): Promise<void> {
    const { clock } = this.#options;
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
        const yielded = forking.map(({ store }) => store.held.yieldHold());
        await this.#wait(yielded, deadline);
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
  async #reread(seats: readonly Seat[], deadline: number): Promise<void> {
    const { clock } = this.#options;
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

  /** Runs all changes; where one is refused, what is to be remembered of that. */
  #run(
    seats: readonly Seat[],
    parts: readonly JointPart[],
  ): Run {
    const batches = runAll(seats, parts);
    const written: Settled[] = [];
    for (const part of parts) {
      const seat = seatOf(seats, part.id);
      const { outcomes, mutations } = batches.get(seat)!; // of every seat
      const outcome = outcomes[seat.parts.indexOf(part)]!; // of every part
      if ("written" in outcome) {
        written.push(outcome.written);
        continue;
      }
      const { error } = outcome;
      const { origin } = part.source;
      const refused = mutations.find((mutation) =>
        mutation.refused && mutation.origin === origin
      )?.refused;
      return this.#refuse(seats, parts, { error, refused });
    }
    const commits = toCommits(batches);
    const bytes = commits.reduce(
      (sum, { commit }) => sum + (commit.entryBytes?.byteLength ?? 0),
      0,
    );
    if (bytes <= TRANSACTION_BYTES) return { commits, written };
    const error = new LimitError(
      "commit a transaction",
      "transactionBytes",
      TRANSACTION_BYTES,
      bytes,
    );
    const refused = toRefusal(error, this.#options.recipeValueBytes);
    return this.#refuse(seats, parts, { error, refused });
  }

  /** Nothing but a refusal, remembered for the first change, by which a run that is repeated finds it. */
  #refuse(
    seats: readonly Seat[],
    [first]: readonly JointPart[],
    { error, refused }: { error: unknown; refused: Refusal | undefined },
  ): Run {
    const { origin, forgetsRefusal } = first!.source; // there is at least one
    if (!origin || !refused || forgetsRefusal) throw error;
    const record = { patch: [], origin, refused };
    const batches = new Map(seats.map((seat) => {
      const isFirst = seat.parts.includes(first!);
      return [seat, seat.store.held.recordHeld(isFirst ? [record] : [])];
    }));
    return { commits: toCommits(batches), written: [], refusal: { error } };
  }

  /** One atomic; every store takes what became of it before anybody else can. */
  async #write(
    commits: readonly SeatCommit[],
    deadline: number,
  ): Promise<{ readonly ok: boolean }> {
    const { clock } = this.#options;
    const all = commits.map(({ commit }) => commit);
    for (const { held, batch } of commits) held.beginHeld(batch);
    let result: HeldResult;
    let failure: HeadwaterError | undefined;
    try {
      result = await this.#writers.use(async (writer) =>
        // Those before it may have taken all the time that there was.
        clock.monotonic() < deadline
          ? await writer.commit(all, deadline)
          : { ok: false, isInDoubt: false }
      );
    } catch (error) {
      failure = unavailable(error, "unknown");
      result = { ok: false, isInDoubt: true };
    }
    for (const { held, commit } of commits) held.settleHeld(commit, result);
    if (failure) throw failure;
    return result;
  }

  async #wait(
    turns: readonly Promise<void>[],
    deadline: number,
  ): Promise<void> {
    try {
      await inTime(this.#options.clock, Promise.all(turns), deadline);
    } catch (error) {
      throw error instanceof HeadwaterError ? error : lateError(error);
    }
  }
}

async function toSeats(
  parts: readonly JointPart[],
  open: OpenStore,
): Promise<Seat[]> {
  const byStore = Map.groupBy(parts, ({ id }) => storeKey(id));
  const names = [...byStore.keys()].toSorted();
  const opened = names.map(async (name): Promise<Seat> => {
    const parts = byStore.get(name)!; // one of its keys
    return { store: await open(parts[0]!.id), parts }; // no group is empty
  });
  // All are waited for: what fails later than another must not be left alone.
  const settled = await Promise.allSettled(opened);
  return settled.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

function seatOf(seats: readonly Seat[], id: StoreId): Seat {
  const key = storeKey(id);
  return seats.find(({ store }) => storeKey(store.id) === key)!; // every part has one
}

/** What the stores remember of the changes. */
function findAll(
  seats: readonly Seat[],
  parts: readonly JointPart[],
): Found[] {
  return parts.map(({ id, source }) => {
    const { store } = seatOf(seats, id);
    return { id, store, recorded: store.held.find(source) };
  });
}

/** Runs the changes in their order, each on the working copy of its store. */
function runAll(
  seats: readonly Seat[],
  parts: readonly JointPart[],
): Map<Seat, Batch> {
  const batches = new Map<Seat, Batch>();
  const runs = new Map(
    seats.map((seat) => [seat, seat.store.held.runHeld(seat.parts)]),
  );
  const step = (seat: Seat) => {
    const { done, value } = runs.get(seat)!.next(); // of every seat
    if (done && value) batches.set(seat, value);
  };
  for (const seat of seats) step(seat);
  for (const { id } of parts) step(seatOf(seats, id));
  return batches;
}

function toCommits(batches: ReadonlyMap<Seat, Batch>): SeatCommit[] {
  const together = [...batches].flatMap(([{ store }, { mutations }]) => {
    const { id: { name }, epoch, version } = store;
    if (mutations.length === 0) return [];
    return [{ name, epoch, version: version + mutations.length }];
  });
  const others = together.length > 1 ? together : undefined;
  return [...batches].map(([{ store: { held } }, batch]) => ({
    held,
    batch,
    commit: held.prepareHeld(batch, others),
  }));
}

/** One store that is left as it is needs no KV, as with a single change that changes nothing. */
function isWorthChecking(commits: readonly SeatCommit[]): boolean {
  return commits.length > 1 ||
    commits.some(({ commit }) => !commit.isCheckOnly);
}

/** What changes gave that were decided before; those of no record changed nothing. */
function repeatAll(found: readonly Found[]): JointWritten[] {
  return found.map(({ id, store, recorded }) => {
    const { epoch = "", version = 0 } = store ?? {};
    if (!recorded) return { id, epoch, version, value: undefined };
    const known = repeat(recorded);
    if ("error" in known) throw known.error;
    return { id, epoch, ...known.written };
  });
}

function refuseTooMany(parts: readonly JointPart[]): void {
  const action = "commit a transaction";
  if (new Set(parts.map(({ id }) => id.namespace)).size > 1) {
    throw new TypeError(`Cannot ${action} over several namespaces`);
  }
  const stores = new Set(parts.map(({ id }) => storeKey(id))).size;
  if (stores > STORES_PER_TRANSACTION) {
    throw new LimitError(
      action,
      "storesPerTransaction",
      STORES_PER_TRANSACTION,
      stores,
    );
  }
  if (parts.length > CHANGES_PER_TRANSACTION) {
    throw new LimitError(
      action,
      "changesPerTransaction",
      CHANGES_PER_TRANSACTION,
      parts.length,
    );
  }
}

function unavailable(
  cause: unknown,
  outcome: "notApplied" | "unknown" = "notApplied",
): HeadwaterError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HeadwaterError(
    "unavailable",
    `Cannot commit a transaction: the KV failed: ${reason}`,
    { cause, outcome },
  );
}

function lateError(
  cause?: unknown,
  outcome: "notApplied" | "unknown" = "notApplied",
): HeadwaterError {
  return new HeadwaterError(
    "unavailable",
    "Cannot commit a transaction: its stores were busy for too long",
    { cause, outcome },
  );
}
