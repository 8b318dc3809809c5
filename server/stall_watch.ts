/**
 * Tells a peer that is slow from one that has stalled.
 *
 * @module
 */
import type { Clock } from "./ports.ts";

/**
 * Who was heard within so many `stallMs` has not gone: a system that is full tells
 * that it was read from when a third of its buffer is free, on a slow link after
 * minutes.
 */
const ALIVE = 2;
/** So many `stallMs` without a byte taken are too long for anybody. */
const PATIENCE = 10;

/** What is known of a peer since it began to lag. */
export class StallWatch {
  readonly #clock: Clock;
  readonly #stallMs: number;
  #takenBytes = -Infinity;
  #takenAtMs = 0;

  /** Begins now. */
  constructor(clock: Clock, stallMs: number) {
    this.#clock = clock;
    this.#stallMs = stallMs;
  }

  /**
   * Whether the peer has stalled, of which so many bytes were taken in all, and
   * which was last heard at `heardAtMs`. Counted by what was taken, not by what
   * waits: that stays the same where as much is added.
   */
  hasStalled(takenBytes: number, heardAtMs: number): boolean {
    const now = this.#clock.monotonic();
    if (takenBytes > this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#takenAtMs = now;
    }
    const isAlive = now - heardAtMs < this.#stallMs * ALIVE;
    return now - this.#takenAtMs >= this.#stallMs * (isAlive ? PATIENCE : 1);
  }
}
