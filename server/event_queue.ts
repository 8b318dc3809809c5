/**
 * Events that wait for the KV. While a slot is being written others gather, and
 * the next slot takes them.
 *
 * @module
 */
import { LimitError } from "../protocol/errors.ts";
import {
  type EventFeed,
  SLOT_EVENT_BYTES,
  SLOT_EVENTS,
} from "./log/event_feed.ts";
import type { Clock } from "./ports.ts";

/** What a small event costs beside its bytes. */
const EVENT_COST_BYTES = 64;

/** What a queue of events needs. */
export interface EventQueueOptions {
  readonly clock: Clock;
  /** Where they are written, once the KV is open. */
  readonly open: () => Promise<Pick<EventFeed, "write">>;
  /** Bytes that may wait. */
  readonly limitBytes: number;
  /** Called with why, when so many events will not reach other servers. */
  readonly onLost: (error: unknown, count: number) => void;
}

/** See the module's documentation. */
export class EventQueue {
  readonly #options: EventQueueOptions;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  /** Events that found no room since the queue was last empty. */
  #refused = 0;
  /** What would have waited with the last of them. */
  #refusedBytes = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  /** An empty queue. */
  constructor(options: EventQueueOptions) {
    this.#options = options;
  }

  /** Adds an event, or loses it where too many wait. */
  push(event: Uint8Array): void {
    if (this.#isClosed) return;
    const { limitBytes } = this.#options;
    const bytes = this.#bytes + event.byteLength + EVENT_COST_BYTES;
    if (bytes > limitBytes) {
      this.#refused++;
      this.#refusedBytes = bytes;
      return;
    }
    this.#bytes = bytes;
    this.#waiting.push(event);
    this.#running ??= this.#begin();
  }

  /** Writes what waits, unless the KV fails, and takes nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  async #begin(): Promise<void> {
    const { clock, open } = this.#options;
    // Begun at once: when the server closes before the next tick, it is too late.
    const opening = open().catch(() => {});
    // Deferred, so that all events of the current tick ride in one slot.
    await new Promise<void>((resolve) => clock.defer(resolve));
    await opening;
    await this.#run();
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const events = this.#take();
      try {
        const feed = await this.#options.open();
        await feed.write(events);
      } catch (error) {
        // What waits behind them would hold up the end for as long again, each time.
        const rest = this.#isClosed ? this.#waiting.splice(0).length : 0;
        this.#options.onLost(error, events.length + rest);
      }
    }
    this.#running = undefined;
    this.#bytes = 0;
    if (this.#refused === 0) return;
    const { limitBytes, onLost } = this.#options;
    const error = new LimitError(
      "queue an event for other servers",
      "eventQueueBytes",
      limitBytes,
      this.#refusedBytes,
    );
    onLost(error, this.#refused);
    this.#refused = 0;
  }

  /** The next events, as many as fit into a slot. */
  #take(): Uint8Array[] {
    let bytes = 0;
    let count = 0;
    for (const { byteLength } of this.#waiting) {
      if (count === SLOT_EVENTS) break;
      if (count > 0 && bytes + byteLength > SLOT_EVENT_BYTES) break;
      bytes += byteLength;
      count++;
    }
    this.#bytes -= bytes + count * EVENT_COST_BYTES;
    return this.#waiting.splice(0, count);
  }
}
