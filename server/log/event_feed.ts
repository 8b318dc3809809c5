/**
 * The feed by which a server hands its events to the others. Several events are
 * one slot, each slot one atomic; nothing else is written, and nothing is kept
 * longer than it takes the others to read it.
 *
 * @module
 */
import type { Clock, Kv, Random } from "../ports.ts";
import { FEED_MS } from "./commit.ts";
import { encodeFeedHead } from "./event_record.ts";
import { decodeSlot, encodeSlot } from "./feed_slot.ts";
import { newId } from "./ids.ts";
import { bellKey, feedKey, slotKey } from "./keys.ts";
import { inTime, pause } from "./patience.ts";

/** Bytes of the events of one slot: with its header it has to fit into one value. */
export const SLOT_EVENT_BYTES: number = 56 * 1024;
/** Events of one slot: their lengths stand in its header. */
export const SLOT_EVENTS = 1_000;
/** Who has not read a slot by then is late anyway. */
const SLOT_MS = 60 * 1000;
/** Well before its head expires, a feed that was silent makes place for another. */
const RENEW_MS = FEED_MS / 2;

/** What an event feed needs. */
export interface EventFeedOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  /** Id of this run of the server. */
  readonly sender: string;
  /** How long a slot is tried. */
  readonly commitMs: number;
  /** A feed begins: it is not one to be read here. */
  readonly onFeed: (feed: string) => void;
}

/** See the module's documentation. */
export class EventFeed {
  readonly #options: EventFeedOptions;
  #feed = "";
  #slot = 1;
  #attempt = 0;
  #writtenAtMs = -Infinity;

  /** A feed without slots. */
  constructor(options: EventFeedOptions) {
    this.#options = options;
  }

  /**
   * Writes events as one slot, at most once; one call at a time. Throws where it
   * cannot be told in time whether they were written.
   */
  async write(events: readonly Uint8Array[]): Promise<void> {
    const { clock, commitMs, sender } = this.#options;
    const deadline = clock.monotonic() + commitMs;
    this.#renew();
    const commitId = `${this.#feed}.${++this.#attempt}`;
    const bytes = encodeSlot(commitId, [], { sender, events });
    for (let retry = 0;; retry++) {
      try {
        if (await inTime(clock, this.#tryOnce(bytes), deadline)) break;
        const holder = await inTime(clock, this.#slotHolder(), deadline);
        // An earlier try took effect, and its answer was lost.
        if (holder === commitId) break;
        // So did the events that were given up before: these come behind them.
        if (holder !== undefined) this.#slot++;
      } catch (error) {
        if (clock.monotonic() >= deadline) throw error;
        await pause(this.#options, retry);
      }
    }
    this.#slot++;
  }

  /**
   * Begins another feed where this one's head may have expired: whoever then
   * forgot how far it has read would read what slots there still are once more.
   */
  #renew(): void {
    const { clock, random, onFeed } = this.#options;
    const now = clock.monotonic();
    if (now - this.#writtenAtMs >= RENEW_MS) {
      this.#feed = newId(random);
      this.#slot = 1;
      onFeed(this.#feed);
    }
    this.#writtenAtMs = now;
  }

  async #tryOnce(bytes: Uint8Array): Promise<boolean> {
    const slot = slotKey(this.#feed, this.#slot);
    const { ok } = await this.#options.kv.atomic()
      // Whether this took effect can be told by its slot even if commit() throws.
      .check({ key: slot, versionstamp: null })
      .set(slot, bytes, { expireIn: SLOT_MS })
      .set(feedKey(this.#feed), encodeFeedHead(this.#slot), {
        expireIn: FEED_MS,
      })
      .sum(bellKey(), 1n)
      .commit();
    return ok;
  }

  async #slotHolder(): Promise<string | undefined> {
    const { value, versionstamp } = await this.#options.kv.get(
      slotKey(this.#feed, this.#slot),
    );
    return versionstamp === null ? undefined : decodeSlot(value).commitId;
  }
}
