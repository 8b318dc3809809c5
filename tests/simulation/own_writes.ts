/**
 * What one client has written and expects of its calls, and whether what it is
 * shown has that in it: at once, once, in order, and until it is answered.
 *
 * @module
 */
import type { SubscriptionHandle } from "../../client/mod.ts";
import type { Ledger } from "./application.ts";
import { Breach } from "./breach.ts";
import { MARKED, REFUSED } from "./changes.ts";
import { isBefore, type Moment } from "./moment.ts";
import type { Effect } from "./store_truth.ts";
import type { Truth } from "./truth.ts";

/** A write of a client to one store, or its guess at what a call does to it. */
export interface OwnWrite {
  readonly store: string;
  readonly tag: string;
  /** The observer at the time: what is written in it is in order. */
  readonly seenBy: object | undefined;
  readonly isGuess: boolean;
  /** Whether it cannot be taken back without bringing back what others wrote. */
  readonly isWhole: boolean;
  /** Whether it hides what was written before it. */
  readonly isHiding: boolean;
  /** Whether the server takes it only behind the writes before it. */
  readonly isOrdered: boolean;
  /** How often the connection had been lost. */
  readonly losses: number;
  /** All that was written together with it, itself among them. */
  batch: readonly OwnWrite[];
  /** Whether it may have been made, or sent, again. */
  isRemade: boolean;
  /** Whether it must be seen: not where it counts nothing, or something has taken it back. */
  isVisible: boolean;
  /** Whether it may be refused, which a state may contain as well as a write. */
  mayFail: boolean;
  /** It was not shown while nothing was heard of it: then it must have been refused. */
  missing: Error | undefined;
  /** Nothing was heard of it, and it is on what is shown. */
  isPending: boolean;
  /** Where it has taken effect, once it is acknowledged. */
  effect: Effect | undefined;
}

/** Ticks in which whoever waits for an answer that is there is told. */
const TOLD_TICKS = 10;

/** See the module's documentation. */
export class OwnWrites {
  readonly #who: string;
  readonly #truth: Truth;
  readonly #all: OwnWrite[] = [];
  #pending: OwnWrite[] = [];

  readonly #isBroken: boolean;

  /** Of the client `who`. */
  constructor(
    who: string,
    truth: Truth,
    isBroken: boolean,
  ) {
    this.#who = who;
    this.#isBroken = isBroken;
    this.#truth = truth;
  }

  /** Something is written. */
  begin(
    write: Omit<
      OwnWrite,
      "missing" | "isPending" | "effect" | "batch" | "isRemade"
    >,
  ): OwnWrite {
    const begun: OwnWrite = {
      ...write,
      mayFail: write.mayFail || write.tag.endsWith(REFUSED) ||
        write.tag.endsWith(MARKED),
      missing: undefined,
      batch: [],
      // Nobody tells whether it was.
      isRemade: write.isWhole,
      isPending: true,
      effect: undefined,
    };
    if (!write.isGuess) this.#all.push(begun);
    this.#pending.push(begun);
    return begun;
  }

  /** It was answered. */
  end(write: OwnWrite, effect?: Effect): void {
    write.isPending = false;
    write.effect = effect;
    this.#pending = this.#pending.filter((one) => one !== write);
    if (effect && write.missing) throw write.missing;
  }

  /** The store is followed no more; what is pending there is shown by nobody. */
  gone(store: string): void {
    for (const write of this.#pending) {
      if (write.store === store) write.isPending = false;
    }
    this.#pending = this.#pending.filter((one) => one.isPending);
  }

  /** The store's writes so far may be taken back, and made again. */
  undone(store: string): void {
    for (const write of this.#all) {
      if (write.store !== store) continue;
      write.isVisible = false;
      this.#truth.mayRepeat(write.tag);
    }
  }

  /** Tags that this client has written to a store. */
  tagsOf(store: string): Set<string> {
    return new Set(
      this.#all.filter((write) => write.store === store).map(({ tag }) => tag),
    );
  }

  /** Whether it has ever written something to a store that must not be taken back. */
  hasWhole(store: string): boolean {
    return this.#all.some((write) => write.store === store && write.isWhole);
  }

  /** Looks at what a handle shows, whose server's state is the one at `server`. */
  check(
    handle: SubscriptionHandle<Ledger>,
    { server, isExact, fail }: {
      server: Moment;
      /** Whether nothing may be missing, as it may where messages are lost. */
      isExact: boolean;
      fail: (error: unknown) => void;
    },
  ): void {
    const { name: store } = handle;
    const state = handle.getState()!; // there is a moment of it
    for (const [tag, times] of Object.entries(state.writes)) {
      // A refusal that comes twice may be taken for that of what was made again since.
      if (times === 1 || this.#isBroken) continue;
      throw new Breach(
        `${this.#who} shows "${tag}" ${times} times in ${store}`,
      );
    }
    const pending = this.#pending.filter((write) => write.store === store);
    if (pending.length === 0) return this.#checkBare(handle);
    if (isExact) this.#checkShown(state, pending, { store, server, fail });
  }

  /** Nothing is pending: what is shown is the server's state itself. */
  #checkBare(handle: SubscriptionHandle<Ledger>): void {
    // What is committed is shown by the client until the server can show it.
    if (handle.isStale) return;
    if (handle.getState() === handle.getServerState()) return;
    throw new Breach(
      `${this.#who} shows ${handle.name} with something that is over`,
    );
  }

  #checkShown(
    state: Ledger,
    pending: readonly OwnWrite[],
    { store, server, fail }: {
      store: string;
      server: Moment;
      fail: (error: unknown) => void;
    },
  ): void {
    const hiding = pending.findLastIndex(({ isHiding }) => isHiding);
    const tags = Object.keys(state.writes);
    let last = -1;
    for (const write of pending.slice(hiding + 1)) {
      const { tag, isVisible, isGuess } = write;
      if (!isVisible) continue;
      // What the server's state contains is where the server has put it.
      const effects = this.#truth.of(store).effects.get(tag) ?? [];
      if (effects.some((effect) => !isBefore(server, effect))) continue;
      const at = tags.indexOf(tag);
      if (at < 0) {
        const message =
          `${this.#who} does not show "${tag}" in ${store}, which has no answer`;
        const breach = new Breach(message);
        // Its answer may have come just now, and whoever made it not be told yet.
        void untilTold().then(() => {
          if (!write.isPending || !write.isVisible) return;
          if (write.mayFail) write.missing = breach;
          else fail(breach);
        });
        continue;
      }
      if (at < last && !isGuess) {
        throw new Breach(
          `${this.#who} shows "${tag}" out of order in ${store}`,
        );
      }
      last = at;
    }
  }

  /**
   * What was sent once, and taken, took effect before all that was written after it:
   * also what the server takes wherever it comes.
   */
  checkSending(): void {
    if (this.#isBroken) return;
    const last = new Map<string, OwnWrite>();
    for (const write of this.#all) {
      const { store, effect, tag, batch } = write;
      if (!effect || this.#truth.of(store).lives.length > 1) continue;
      const before = last.get(store);
      if (before?.effect && isBefore(effect, before.effect)) {
        throw new Breach(
          `"${tag}" of ${this.#who} has overtaken "${before.tag}" in ${store}`,
        );
      }
      const isSteady = !write.isRemade && !batch.some((one) => one.isRemade);
      if (isSteady) last.set(store, write);
    }
  }

  /** Those that were acknowledged took effect in the order in which they were made. */
  checkOrder(): void {
    const newest = new Map<object, OwnWrite>();
    for (const write of this.#all) {
      const { seenBy, store, effect, isOrdered, tag } = write;
      if (!seenBy || !effect) continue;
      const before = newest.get(seenBy);
      const isLate = before?.effect && isBefore(effect, before.effect);
      if (isLate && isOrdered) {
        throw new Breach(
          `"${tag}" of ${this.#who} is in ${store} before "${before.tag}"`,
        );
      }
      if (!isLate) newest.set(seenBy, write);
    }
  }
}

async function untilTold(): Promise<void> {
  for (let tick = 0; tick < TOLD_TICKS; tick++) await undefined;
}
