/**
 * Looks over a client's shoulder: each state that the server has sent must be one
 * that the store really had, and never an older one than before; what the client
 * shows on top of that must be its own.
 *
 * @module
 */
import type { Client, SubscriptionHandle } from "../../client/mod.ts";
import type { Ledger } from "./application.ts";
import { Breach } from "./breach.ts";
import { isBefore, type Moment } from "./moment.ts";
import type { OwnWrites } from "./own_writes.ts";
import type { Truth } from "./truth.ts";

/** One handle of a client, and what it has shown. */
export class Observer {
  readonly handle: SubscriptionHandle<Ledger>;
  readonly store: string;
  readonly #who: string;
  readonly #truth: Truth;
  readonly #own: OwnWrites;
  readonly #isBroken: boolean;
  readonly #comesTogether: () => boolean;
  readonly #isRestored: () => boolean;
  readonly #checkAccess: (madeMs: number) => void;
  #shown: Moment | undefined;
  /** State of the server whose moment that is. */
  #located: Ledger | undefined;
  readonly #fail: (error: unknown) => void;
  readonly #losses: () => number;
  readonly #neighbour: (store: string) => Observer | undefined;
  /** How often the client had lost its connection when all changes came last. */
  #followedAt: number | undefined;
  #isRefused = false;
  #isOver = false;
  /** States that it was shown. */
  count = 0;

  /** Subscribes `client` to `store`. */
  constructor(
    client: Client,
    {
      who,
      store,
      truth,
      own,
      losses,
      neighbour,
      isBroken,
      comesTogether,
      isRestored,
      checkAccess,
      fail,
    }: {
      who: string;
      /** How often the client has lost its connection. */
      losses: () => number;
      /** How the client sees another store. */
      neighbour: (store: string) => Observer | undefined;
      /** What the client has written. */
      own: OwnWrites;
      /** Whether messages are lost and repeated on the way. */
      isBroken: boolean;
      /** Whether transactions come in one message. */
      comesTogether: () => boolean;
      /** Whether the KV was set back. */
      isRestored: () => boolean;
      /** Refuses that it is shown what was made at that time. */
      checkAccess: (madeMs: number) => void;
      store: string;
      truth: Truth;
      fail: (error: unknown) => void;
    },
  ) {
    this.#who = who;
    this.store = store;
    this.#truth = truth;
    this.#own = own;
    this.#losses = losses;
    this.#neighbour = neighbour;
    this.#fail = fail;
    this.#isBroken = isBroken;
    this.#comesTogether = comesTogether;
    this.#isRestored = isRestored;
    this.#checkAccess = checkAccess;
    this.handle = client.subscribe<Ledger>(store, () => {
      try {
        this.#show();
      } catch (error) {
        // Thrown on, it would only reach the client's "error" event.
        fail(error);
      }
    });
    // Told to who looked before: what was written keeps a store followed.
    this.#isRefused = this.handle.isStale && this.handle.hasData();
    // Whoever waits is told; here nobody waits.
    this.handle.ready().catch(() => {});
  }

  /** Where the handle is; undefined while it has no state. */
  get shown(): Moment | undefined {
    // Where the client's own writes hide what others do, nobody is told of that.
    if (this.handle.getServerState() !== this.#located) this.#locate();
    return this.#shown;
  }

  /** The server has said that it cannot serve the store at the moment. */
  refused(): void {
    this.#isRefused = true;
    this.#followedAt = undefined;
  }

  /** Whether every change has reached it since it was shown something last. */
  get isFollowing(): boolean {
    return this.#followedAt === this.#losses() && !this.handle.isStale;
  }

  #follows(): void {
    this.#followedAt = this.handle.isStale ? undefined : this.#losses();
  }

  /** The store was deleted. */
  deleted(): void {
    this.#isOver = true;
  }

  /** Whether the handle shows `moment`, or a later one, as far as it must. */
  shows(moment: Moment): boolean {
    // It tells by `isStale` that it does not follow.
    if (this.#isRefused && this.handle.isStale) return true;
    const { shown } = this;
    if (shown === undefined) return true;
    // Where the KV was set back, an epoch may have had the same state in both pasts.
    const isSame = shown.epoch === moment.epoch;
    return isSame ? shown.version >= moment.version : !isBefore(shown, moment);
  }

  #show(): void {
    this.count++;
    const before = this.#shown;
    const server = this.#locate();
    if (before?.epoch !== server.epoch || before.version !== server.version) {
      this.#checkAccess(this.#truth.of(this.store).madeMs(server));
    }
    if (before) this.#checkTogether(before, server);
    // What was pending is not made any more, one by one.
    if (this.#isOver) return;
    this.#own.check(this.handle, {
      server,
      isExact: !this.#isBroken && !this.#isRestored(),
      fail: this.#fail,
    });
  }

  /** What takes effect together comes together to who follows all of it. */
  #checkTogether(before: Moment, now: Moment): void {
    if (!this.#comesTogether() || before.epoch !== now.epoch) return;
    const isFollowed = this.isFollowing;
    this.#follows();
    if (!isFollowed) return;
    const truth = this.#truth.of(this.store);
    // A server that has missed what is not in the log any more reads stores one by one.
    if (!truth.reachesBack(now.epoch, before.version)) return;
    for (const tag of truth.tagsOf(now.epoch, before.version, now.version)) {
      for (
        const { store, effect } of this.#truth.togetherWith(this.store, tag)
      ) {
        const other = this.#neighbour(store);
        if (!other?.isFollowing || other.shows(effect)) continue;
        // The life that it follows is over: of the next one it knows nothing yet.
        if (other.shown?.epoch !== effect.epoch) continue;
        throw new Breach(
          `${this.#who} shows "${tag}" in ${this.store}, and not yet in ${store}`,
        );
      }
    }
  }

  /** Finds the moment of what the server has sent last. */
  #locate(): Moment {
    const { version } = this.handle;
    const state = this.handle.getServerState();
    const moments = this.#truth.of(this.store).momentsOf(version ?? -1, state);
    if (moments.length === 0) {
      throw new Breach(
        `${this.#who} shows ${this.store} at ${version} as it never was: ${
          JSON.stringify(state).slice(0, 300)
        }`,
      );
    }
    const before = this.#shown;
    // The earliest that fits: a later one is still open then.
    const next = moments.find((moment) =>
      !before || !isBefore(moment, before) ||
      // A proxy that repeats messages may bring back a life that is over.
      (this.#isBroken && moment.epoch !== before.epoch)
    );
    if (!next) {
      throw new Breach(
        `${this.#who} shows ${this.store} at ${version}, after ${before?.version}`,
      );
    }
    this.#shown = next;
    this.#located = state;
    return next;
  }
}
