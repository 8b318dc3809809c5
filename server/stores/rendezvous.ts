/**
 * Where the stores of a transaction wait for each other. A server learns of it store
 * by store: in its own commit, from a feed, or by reading the log of one of them. The
 * entry in each log names the others, so the subscribers of the first to arrive are
 * shown nothing before the last has.
 *
 * @module
 */
import { type StoreId, storeKey } from "../log/keys.ts";
import type { TogetherRef } from "../log/log_entry.ts";
import type { Clock, Timer } from "../ports.ts";
import type { Fanout } from "./fanout.ts";
import { flushTogether } from "./joint_delivery.ts";

/** What a feed says of the other stores is there by then; later they are read. */
const LOOK_MS = 2;
/** Time between two looks at a store that cannot be read. */
const LOOK_AGAIN_MS = 100;

/** A loaded store, as a rendezvous sees it. */
export interface MeetingStore {
  readonly epoch: string;
  readonly version: number;
  readonly ended: unknown;
  /** Reads what was committed to it. */
  check(): Promise<void>;
}

/** What a rendezvous needs. */
export interface RendezvousOptions {
  readonly clock: Clock;
  /** How long subscribers are kept waiting for a store that cannot be read. */
  readonly limitMs: number;
  /** The store, if it is loaded. */
  readonly find: (id: StoreId) => MeetingStore | undefined;
}

/** One transaction of which not all stores have arrived, or not all may be shown. */
interface Meeting {
  readonly namespace: string;
  readonly together: readonly TogetherRef[];
  /** Of those that have arrived. */
  readonly fanouts: Set<Fanout>;
  readonly sinceMs: number;
  look: Timer | undefined;
  isGivenUp: boolean;
}

/** See the module's documentation. */
export class Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #meetings = new Map<string, Meeting>();
  #window: Timer | undefined;
  #isClosed = false;

  /** Nobody waits yet. */
  constructor(options: RendezvousOptions) {
    this.#options = options;
  }

  /** A store has come to what a transaction made of it; its subscribers are not shown that yet. */
  arrive(
    { namespace }: StoreId,
    fanout: Fanout,
    together: readonly TogetherRef[],
  ): void {
    if (this.#isClosed) return;
    const key = together.map(({ name, epoch, version }) =>
      storeKey({ namespace, name: `${name}\u0000${epoch}\u0000${version}` })
    ).join();
    let meeting = this.#meetings.get(key);
    if (!meeting) {
      const sinceMs = this.#options.clock.monotonic();
      meeting = {
        namespace,
        together,
        fanouts: new Set(),
        sinceMs,
        look: undefined,
        isGivenUp: false,
      };
      this.#meetings.set(key, meeting);
      this.#lookLater(meeting, LOOK_MS);
    }
    meeting.fanouts.add(fanout);
    fanout.hold();
  }

  /** A store has moved, or is not there any more: shows what need not wait any longer. */
  moved(): void {
    if (this.#meetings.size === 0) return;
    const free = this.#free();
    if (free.length === 0) return;
    const fanouts = new Set(free.flatMap(([, { fanouts }]) => [...fanouts]));
    const waitMs = Math.max(...[...fanouts].map(({ waitMs }) => waitMs));
    if (waitMs > 0) {
      // To many subscribers: what else comes within that time goes in the same frames.
      this.#window ??= this.#options.clock.setTimer(waitMs, () => {
        this.#window = undefined;
        this.moved();
      });
      return;
    }
    for (const [key, { look }] of free) {
      look?.cancel();
      this.#meetings.delete(key);
    }
    flushTogether(fanouts);
  }

  /**
   * A store was loaded, and what it was led to by these transactions is about to be
   * shown: lets those stores catch up that are in memory already.
   */
  async join(
    { namespace }: StoreId,
    transactions: Iterable<readonly TogetherRef[]>,
  ): Promise<void> {
    for (const together of transactions) {
      for (const store of this.#missing({ namespace, together })) {
        // The feed would have told it, too, but later than this one's subscribers are answered.
        // One that cannot be read says so to its own subscribers.
        await store.check().catch(() => {});
      }
    }
  }

  /** Nobody waits any longer. */
  close(): void {
    this.#isClosed = true;
    this.#window?.cancel();
    for (const { look, fanouts } of this.#meetings.values()) {
      look?.cancel();
      for (const fanout of fanouts) fanout.release();
    }
    this.#meetings.clear();
  }

  /** Meetings that are over, and of whose stores none waits in another one. */
  #free(): [string, Meeting][] {
    const meetings = [...this.#meetings];
    const waiting = new Set<Fanout>();
    const wait = ({ fanouts }: Meeting) => {
      for (const fanout of fanouts) waiting.add(fanout);
    };
    let open = meetings.filter(([, meeting]) => {
      if (this.#missing(meeting).length === 0) return true;
      wait(meeting);
      return false;
    });
    for (let count = -1; count !== open.length;) {
      count = open.length;
      open = open.filter(([, meeting]) => {
        if (![...meeting.fanouts].some((fanout) => waiting.has(fanout))) {
          return true;
        }
        wait(meeting);
        return false;
      });
    }
    return open;
  }

  #missing(
    { namespace, together, isGivenUp }:
      & Pick<Meeting, "namespace" | "together">
      & Partial<Meeting>,
  ): MeetingStore[] {
    if (isGivenUp) return [];
    return together.flatMap(({ name, epoch, version }) => {
      const store = this.#options.find({ namespace, name });
      const isThere = !store || store.ended !== undefined ||
        store.epoch !== epoch || store.version >= version;
      return isThere ? [] : [store];
    });
  }

  #lookLater(meeting: Meeting, ms: number): void {
    meeting.look = this.#options.clock.setTimer(ms, () => this.#look(meeting));
  }

  #look(meeting: Meeting): void {
    const { clock, limitMs } = this.#options;
    meeting.look = undefined;
    const checks = this.#missing(meeting).map((store) => store.check());
    Promise.allSettled(checks).then(() => {
      if (this.#isClosed) return;
      // Whoever follows the others must not go without because one cannot be read.
      if (clock.monotonic() - meeting.sinceMs >= limitMs) {
        meeting.isGivenUp = true;
      }
      this.moved();
      const isOver = ![...this.#meetings.values()].includes(meeting);
      if (!isOver && !meeting.isGivenUp) {
        this.#lookLater(meeting, LOOK_AGAIN_MS);
      }
    });
  }
}
