/**
 * Learns what other servers committed.
 *
 * `kv.watch` coalesces, can be late, and never fires for another process on a
 * local file, so it is a doorbell and never the message: what was committed
 * stands in the feeds, one for each lane of each server, numbered without holes.
 * A slow poll covers a watch that died. Where a feed has a gap, the heads of all
 * loaded stores are checked instead; events, which have a feed of their own, are
 * missed there.
 *
 * @module
 */
import type { Clock, Kv, KvEntry, KvKey, Timer } from "../ports.ts";
import { FEED_MS } from "./commit.ts";
import { decodeFeedHead } from "./event_record.ts";
import {
  decodeSlot,
  type FeedEvents,
  type FeedItem,
  type FeedSlot,
} from "./feed_slot.ts";
import {
  bellKey,
  feedPrefix,
  lastNumber,
  lastString,
  slotKey,
} from "./keys.ts";

/** The watch does not fire across processes on a local file, so the poll is quicker there. */
const POLL_LOCAL_MS = 200;
const POLL_REMOTE_MS = 2_000;
/** The poll of a local file while other processes write to it, and for how long after. */
const POLL_BUSY_MS = 4;
const BUSY_MS = 2_000;
/** Reads are at least so far apart; a busy peer rings at every commit. */
const GAP_MS = 2;
/** A watch that failed is begun again after so long. */
const REWATCH_MS = 1_000;

type FeedHead = ReturnType<typeof decodeFeedHead>;

/** What a feed reader needs. */
export interface FeedReaderOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly isLocal: boolean;
  /** Feeds of this server's own; more may be added. */
  readonly own: ReadonlySet<string>;
  /** Takes one store's part of a slot. */
  readonly receive: (item: FeedItem) => Promise<void>;
  /** Takes events of another server. */
  readonly receiveEvents: (sent: FeedEvents) => void;
  /** Checks the heads of everything that is loaded. */
  readonly checkAll: () => Promise<void>;
  /** Another key to be watched, and what to do when it may have changed. */
  readonly bell?: { readonly key: KvKey; readonly ring: () => void };
  readonly onError: (error: unknown) => void;
}

/** See the module's documentation. */
export class FeedReader {
  readonly #options: FeedReaderOptions;
  /** Last slot that was read of each feed. */
  readonly #cursors = new Map<string, number>();
  #watch: ReadableStreamDefaultReader<KvEntry[]> | undefined;
  #watching: Promise<void> | undefined;
  #rewatch: Timer | undefined;
  #endWait: () => void = () => {};
  #poll: Timer | undefined;
  #gap: Timer | undefined;
  #reading: Promise<void> | undefined;
  #isRung = false;
  #readAtMs = -Infinity;
  /** When a slot of another server was last read. */
  #foundAtMs = -Infinity;
  /** Something was or may have been missed; until all heads are checked. */
  #hasMissed = false;
  /** Start of the last read that went through. */
  #completeAtMs = 0;
  #isClosed = false;

  /** A reader that has not begun. */
  constructor(options: FeedReaderOptions) {
    this.#options = options;
  }

  /** Takes the cursors; must be awaited before any store is loaded. */
  async start(): Promise<void> {
    const { clock } = this.#options;
    this.#completeAtMs = clock.monotonic();
    for (const [feed, { slot }] of await this.#heads()) {
      this.#cursors.set(feed, slot);
    }
    this.#watching = this.#runWatch();
    this.#schedulePoll();
  }

  /** Stops; resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#poll?.cancel();
    this.#gap?.cancel();
    this.#rewatch?.cancel();
    this.#endWait();
    await this.#watch?.cancel().catch(() => {});
    await this.#watching;
    await this.#reading;
  }

  /** Reads soon what is new. */
  ring(): void {
    if (this.#isClosed) return;
    if (this.#reading || this.#gap) {
      this.#isRung = true;
      return;
    }
    const { clock } = this.#options;
    const waitMs = this.#readAtMs + GAP_MS - clock.monotonic();
    if (waitMs > 0) {
      this.#gap = clock.setTimer(waitMs, () => {
        this.#gap = undefined;
        this.#startReading();
      });
    } else {
      this.#startReading();
    }
  }

  #startReading(): void {
    this.#isRung = false;
    this.#reading = this.#read()
      .catch((error) => {
        if (!this.#isClosed) this.#options.onError(error);
      })
      .finally(() => {
        this.#reading = undefined;
        this.#readAtMs = this.#options.clock.monotonic();
        if (this.#isRung) this.ring();
      });
  }

  async #read(): Promise<void> {
    const { clock, own, checkAll } = this.#options;
    const startedAtMs = clock.monotonic();
    const heads = await this.#heads();
    // An isolate that was suspended sees nothing missing, but slots have expired meanwhile.
    const wasAway = startedAtMs - this.#completeAtMs >= FEED_MS / 2;
    if (wasAway) this.#hasMissed = true;
    for (const [feed, head] of heads) {
      const { slot, hasEvents } = head;
      if (own.has(feed)) continue;
      const cursor = this.#cursors.get(feed) ?? 0;
      if (slot <= cursor) continue;
      if (hasEvents) {
        // What was missed for so long is over; the rest would not be in order.
        if (!wasAway) await this.#readSlots(feed, cursor, head);
      } else if (
        !this.#hasMissed && !await this.#readSlots(feed, cursor, head)
      ) {
        this.#hasMissed = true;
      }
      this.#cursors.set(feed, slot);
    }
    for (const feed of this.#cursors.keys()) {
      if (!heads.has(feed)) this.#cursors.delete(feed);
    }
    // Forgotten only when it has succeeded: the cursors are past what was missed.
    if (this.#hasMissed) await checkAll();
    this.#hasMissed = false;
    this.#completeAtMs = startedAtMs;
  }

  /** Reads the slots above `cursor`; false where one is missing or cannot be read. */
  async #readSlots(
    feed: string,
    cursor: number,
    { slot, hasEvents }: FeedHead,
  ): Promise<boolean> {
    let expected = cursor + 1;
    const range = this.#options.kv.list({
      start: slotKey(feed, expected),
      end: slotKey(feed, slot + 1),
    });
    for await (const entry of range) {
      const number = lastNumber(entry.key);
      if (number !== expected && !hasEvents) return false;
      expected = number + 1;
      // A read that fails behind it must not lead to its events once more.
      this.#cursors.set(feed, number);
      this.#foundAtMs = this.#options.clock.monotonic();
      const read = slotOf(entry);
      if (!read && !hasEvents) return false;
      for (const item of read?.items ?? []) await this.#deliver(item);
      if (read?.sent) this.#options.receiveEvents(read.sent);
    }
    return expected === slot + 1;
  }

  async #deliver(item: FeedItem): Promise<void> {
    try {
      await this.#options.receive(item);
    } catch (error) {
      // One store that cannot be read must not keep the others from moving on.
      this.#hasMissed = true;
      this.#options.onError(error);
    }
  }

  async #heads(): Promise<Map<string, FeedHead>> {
    const heads = new Map<string, FeedHead>();
    for await (const entry of this.#options.kv.list({ prefix: feedPrefix() })) {
      heads.set(lastString(entry.key), decodeFeedHead(entry.value));
    }
    return heads;
  }

  #schedulePoll(): void {
    const { clock, isLocal } = this.#options;
    const isBusy = clock.monotonic() - this.#foundAtMs < BUSY_MS;
    this.#poll = clock.setTimer(
      !isLocal ? POLL_REMOTE_MS : isBusy ? POLL_BUSY_MS : POLL_LOCAL_MS,
      () => {
        this.ring();
        this.#schedulePoll();
      },
    );
  }

  async #runWatch(): Promise<void> {
    const { kv, clock, bell, onError } = this.#options;
    const keys = bell ? [bellKey(), bell.key] : [bellKey()];
    let heard: string | null | undefined;
    while (!this.#isClosed) {
      try {
        this.#watch = kv.watch(keys).getReader();
        for (;;) {
          const { done, value } = await this.#watch.read();
          if (done) break;
          this.ring();
          const stamp = value[1]?.versionstamp;
          if (stamp !== heard) bell?.ring();
          heard = stamp;
        }
      } catch (error) {
        if (!this.#isClosed) onError(error);
      }
      if (this.#isClosed) return;
      await new Promise<void>((resolve) => {
        this.#rewatch = clock.setTimer(REWATCH_MS, resolve);
        this.#endWait = resolve;
      });
    }
  }
}

function slotOf({ value }: KvEntry): FeedSlot | undefined {
  try {
    return decodeSlot(value);
  } catch {
    return undefined;
  }
}
