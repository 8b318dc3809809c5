/**
 * Keeps what a reload must not lose: unsent and unanswered writes, and the last
 * states. This module is browser compatible.
 *
 * @module
 */
import { Deferred } from "../deferred.ts";
import type { ClientTimer } from "../environment.ts";
import type { PendingRequest, QueuedRequest } from "../request.ts";
import type { ClientStorage } from "../storage.ts";
import type { StateKeeper, WritingOwner } from "../writing_port.ts";
import type { Author } from "./author.ts";
import {
  type KeptRecords,
  type KeptSession,
  readRecords,
  SESSION_KEY,
  sessionText,
} from "./kept_records.ts";
import { Ledger, type LedgerSource } from "./ledger.ts";
import {
  mayBeSentLater,
  othersRecords,
  storageFails,
  unreadable,
} from "./keeper_errors.ts";
import { LastingRequests } from "./lasting_requests.ts";
import { Patience } from "./patience.ts";
import type { Writes } from "./writes.ts";

/** What a {@linkcode Keeper} works on. */
export interface KeeperOptions {
  /** Makes the writes again that were kept. */
  readonly writes: Pick<Writes, "remake" | "resume">;
  /** The client. */
  readonly owner: WritingOwner;
  /** Whose writes they are. */
  readonly author: Author;
}

/** Name of the lock that the one who writes to the storage has. */
const LOCK = "queue";

/**
 * So long the first hello waits for the lock: after a reload the page before may have
 * it for a moment still, and who comes later has to change its session.
 */
const LOCK_GRACE_MS = 250;

/** What others change is kept after so long, so that a burst is kept once. */
const STATES_MS = 250;

/** Numbers of one client in a session; the next one begins behind them, whatever this one has used. */
const NUMBERS_PER_LIFE = 2 ** 32;

/**
 * - `opening`: it is not known yet what there is to go on with.
 * - `waiting`: another client has the lock.
 * - `on`: this one has, and keeps what there is.
 * - `withdrawing`: the storage fails, and what it has is being deleted.
 * - `off`: it has failed, or the client has ended.
 */
type Phase = "opening" | "waiting" | "on" | "withdrawing" | "off";

/** See the module's documentation. */
export class Keeper implements StateKeeper {
  readonly #storage: ClientStorage;
  readonly #owner: WritingOwner;
  readonly #author: Author;
  readonly #writes: KeeperOptions["writes"];
  readonly #requests: LastingRequests;
  readonly #patience: Patience;
  readonly #ledger: Ledger;
  /** Ends the waiting for the lock. */
  readonly #ending = new AbortController();
  readonly #settled = new Deferred<void>();
  /** Milliseconds since 1970 at the beginning of the monotonic clock; one for all, so that differences stay. */
  readonly #epochMs: number;
  #phase: Phase = "opening";
  #quiet: Deferred<void> | undefined;
  #lives = 0;
  /** The session of the numbers that are kept. */
  #keptSession: string | undefined;
  #isSaving = false;
  #isDue = false;
  #areStatesDue = false;
  /** What an earlier client has left, until a server has said who is there. */
  #presumed: KeptRecords | undefined;
  /** It has ended, and has kept what there was. */
  #hasLeft = false;
  #statesTimer: ClientTimer | undefined;

  /** Begins at once. */
  constructor(
    storage: ClientStorage,
    { writes, owner, author }: KeeperOptions,
  ) {
    const { clock } = owner;
    this.#storage = storage;
    this.#owner = owner;
    this.#writes = writes;
    this.#author = author;
    this.#requests = new LastingRequests(owner.outbox);
    this.#patience = new Patience(clock);
    this.#ledger = new Ledger(storage.maxBytes);
    this.#epochMs = clock.now() - clock.monotonic();
    this.#open().catch((error) => this.#giveUp(error))
      .finally(() => this.#settled.resolve());
  }

  /** Resolves when it is known what there is to go on with, or that there is nothing. */
  settled(): Promise<void> {
    return this.#settled.promise;
  }

  get isOn(): boolean {
    return this.#phase === "on" || this.#phase === "withdrawing";
  }

  isSafe(request: PendingRequest): boolean {
    if (this.#ledger.isLoose(request)) return true;
    const session = this.#owner.outbox.session?.token;
    return this.#keptSession === session &&
      this.#ledger.numberOf(request) === request.number;
  }

  number(request: PendingRequest, most: number): void {
    this.#requests.number(request, most);
    this.keep();
  }

  isKept(request: PendingRequest): boolean {
    return (this.isOn || this.#hasLeft) && !this.#ledger.isLoose(request);
  }

  keep(): void {
    if (this.#phase !== "on") return;
    this.#isDue = true;
    if (this.#isSaving) return;
    this.#isSaving = true;
    // What one tick does is kept together.
    queueMicrotask(() => this.#saveAll());
  }

  /** The server has said who is there; `isOther`: not the user whose all of this was. */
  welcomed(isOther: boolean): void {
    const presumed = this.#presumed;
    this.#presumed = undefined;
    if (!isOther) return;
    if (presumed) {
      this.#owner.unshow(presumed.states);
      // The one who has the lock keeps it on; it is dropped when it is this one's turn.
      if (this.#phase === "on") this.#tellOfForeign(presumed);
    }
    this.#ledger.disown(this.#owner.subscriptions());
    this.keep();
  }

  quiet(): void {
    this.#quiet?.resolve();
  }

  /** States have changed. */
  keepStates(): void {
    if (this.#phase !== "on" || this.#statesTimer) return;
    this.#statesTimer = this.#owner.clock.setTimer(STATES_MS, () => {
      this.#statesTimer = undefined;
      this.#areStatesDue = true;
      this.keep();
    });
  }

  /** A store's state must not be kept any more. */
  forget(name: string): void {
    this.#ledger.end(name);
    this.keep();
  }

  /** Keeps what there is, for the last time. */
  close(): void {
    this.#statesTimer?.cancel();
    this.#areStatesDue = true;
    const entry = this.#phase === "on"
      ? this.#ledger.next(this.#source())
      : undefined;
    this.#phase = "off";
    this.#hasLeft = entry !== undefined;
    const saved = entry && entry.changes.size > 0
      ? this.#storage.save(entry.changes)
      : Promise.resolve();
    // There is nobody left to tell of a failure; what is kept is as it was before.
    saved.catch(() => {}).then(() => this.#ending.abort());
    this.#quiet?.resolve();
  }

  async #open(): Promise<void> {
    const { signal } = this.#ending;
    const locked = this.#storage.lock(LOCK, signal).then((release) => {
      if (signal.aborted) return release();
      signal.addEventListener("abort", release);
    });
    const isOwner = await this.#patience.isInTime(locked, LOCK_GRACE_MS);
    if (this.#phase === "off") return;
    if (!isOwner) {
      const records = await this.#patience.await(this.#storage.load());
      this.#phase = "waiting";
      const kept = readRecords(records);
      if (!this.#author.isOther(kept.user)) this.#show(kept);
      this.#settled.resolve();
      await locked;
    }
    await this.#takeOver();
  }

  /** Goes on with what is kept: nobody else writes to it from now on. */
  async #takeOver(): Promise<void> {
    const records = new Map(await this.#patience.await(this.#storage.load()));
    let kept = readRecords(records);
    const isForeign = this.#author.isOther(kept.user);
    if (isForeign) {
      this.#tellOfForeign(kept);
      kept = { ...readRecords(new Map()), unreadable: [...records.keys()] };
    }
    const isInSession = kept.requests.some(([, { number }]) => number);
    let session = kept.session;
    if (session && isInSession) {
      // Before any of its numbers is used: the calls of this life must not be given the
      // answers of those that another life has made.
      session = { ...session, lives: session.lives + 1 };
      const text = sessionText(session);
      records.set(SESSION_KEY, text);
      await this.#patience.await(
        this.#storage.save(new Map([[SESSION_KEY, text]])),
      );
    }
    while (isInSession && this.#owner.outbox.hasNumbers) {
      this.#quiet = new Deferred();
      await this.#quiet.promise;
    }
    if (this.#isOver) return;
    // Somebody else has come meanwhile.
    if (this.#author.isOther(kept.user)) return this.#takeOver();
    const isLate = this.#phase === "waiting" || this.#owner.hasGreeted;
    if (isInSession && isLate && !this.#owner.redial()) return;
    this.#show(kept);
    this.#phase = "on";
    this.#ledger.begin(records, kept, this.#restore(kept, session));
    for (const key of kept.unreadable) this.#ledger.drop(key);
    if (kept.unreadable.length > 0 && !isForeign) {
      this.#owner.fail(unreadable(kept));
    }
    this.#areStatesDue = true;
    this.keep();
    this.#owner.changed([]);
  }

  /** Shows states of an earlier client: the user is that one's, until a server says who it is. */
  #show(kept: KeptRecords): void {
    if (this.#owner.user === undefined) this.#presumed = kept;
    this.#author.presume(kept.user);
    this.#owner.show(kept.states);
  }

  #tellOfForeign({ requests, states }: KeptRecords): void {
    if (requests.length + states.size === 0) return;
    this.#owner.fail(othersRecords(requests.length, states.size));
  }

  #restore(
    { requests, states }: KeptRecords,
    session: KeptSession | undefined,
  ): Map<string, QueuedRequest> {
    const restored = requests.map(([key, kept]) => ({
      key,
      ...kept,
      createdMs: kept.createdAtMs - this.#epochMs,
      request: this.#writes.remake(kept, states),
    }));
    const queued = this.#requests.restore({
      requests: restored,
      ...(session && {
        session: {
          token: session.token,
          startedMs: session.startedAtMs - this.#epochMs,
          lifeMs: session.lifeMs,
          nextNumber: session.lives * NUMBERS_PER_LIFE + 1,
        },
      }),
    });
    this.#lives = session?.lives ?? 0;
    const remade = restored.map(({ request }) => request);
    this.#writes.resume(remade, queued, states);
    return new Map(restored.map(({ key }, at) => [key, queued[at]!])); // one for each
  }

  async #saveAll(): Promise<void> {
    try {
      while (this.#isDue && this.#phase === "on") {
        this.#isDue = false;
        const { outbox } = this.#owner;
        const session = outbox.session?.token;
        const entry = this.#ledger.next(this.#source());
        this.#areStatesDue = false;
        if (entry.changes.size > 0) {
          await this.#patience.await(this.#storage.save(entry.changes));
        }
        this.#ledger.saved(entry);
        this.#keptSession = session;
        for (const error of entry.errors) this.#owner.fail(error);
        this.#owner.flush();
      }
    } catch (error) {
      await this.#giveUp(error);
    } finally {
      this.#isSaving = false;
    }
  }

  #source(): LedgerSource {
    const { outbox, clock } = this.#owner;
    const { session } = outbox;
    return {
      user: this.#owner.user,
      session: session && {
        token: session.token,
        startedAtMs: session.startedMs + this.#epochMs,
        lifeMs: session.lifeMs,
        lives: this.#lives,
      },
      requests: this.#requests.all(),
      stores: this.#areStatesDue ? this.#owner.subscriptions() : [],
      nowMs: clock.now(),
      toWallMs: (ms) => ms + this.#epochMs,
    };
  }

  /** The storage fails: the client goes on without. */
  async #giveUp(error: unknown): Promise<void> {
    if (this.#isOver) return;
    if (this.isOn) await this.#withdraw();
    if (this.#isOver) return;
    this.#phase = "off";
    this.#statesTimer?.cancel();
    this.#owner.fail(
      storageFails(error),
    );
    this.#owner.flush();
  }

  /**
   * Takes back what a later client would send, as it is sent by this one. Where that
   * fails, too, this one must not: without the number that it is sent with, it would
   * take effect twice.
   */
  async #withdraw(): Promise<void> {
    this.#phase = "withdrawing";
    const changes = this.#ledger.withdrawal();
    try {
      await this.#patience.await(this.#storage.save(changes));
    } catch (cause) {
      for (const request of this.#ledger.unnumbered()) {
        this.#requests.reject(request, mayBeSentLater(cause));
      }
    }
  }

  get #isOver(): boolean {
    return this.#phase === "off";
  }
}
