/**
 * Which events a client has had. This module is browser compatible.
 *
 * @module
 */
import type { EventOrder } from "../protocol/frames.ts";

/** Senders that are remembered; of more than that, those that were silent longest are forgotten. */
const MAX_SENDERS = 1_000;

/**
 * Passes each event once, and those of one sender in order. On a connection to
 * another server, that may still come which was had on the one before.
 */
export class EventFilter {
  /** The greatest number of each sender, the last that was heard at the end. */
  readonly #had = new Map<string, number>();

  /** Whether the event with this place is to be told. */
  pass(order: EventOrder | undefined): boolean {
    // Of a server that does not say so.
    if (!order) return true;
    const { sender, number } = order;
    if (number <= (this.#had.get(sender) ?? 0)) return false;
    this.#had.delete(sender);
    this.#had.set(sender, number);
    if (this.#had.size > MAX_SENDERS) {
      const [oldest = sender] = this.#had.keys();
      this.#had.delete(oldest);
    }
    return true;
  }
}
