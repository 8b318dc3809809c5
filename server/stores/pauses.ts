/**
 * Waiting that whoever closes can cut short.
 *
 * @module
 */
import type { Clock } from "../ports.ts";

/** See the module's documentation. */
export class Pauses {
  readonly #clock: Clock;
  readonly #wakes = new Set<() => void>();
  #isClosed = false;

  /** Nobody waits yet. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `ms`, or when it is closed. */
  async wait(ms: number): Promise<void> {
    if (this.#isClosed) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#wakes.delete(wake);
        timer.cancel();
        resolve();
      };
      const timer = this.#clock.setTimer(ms, wake);
      this.#wakes.add(wake);
    });
  }

  /** Nobody waits any longer. */
  close(): void {
    this.#isClosed = true;
    for (const wake of [...this.#wakes]) wake();
  }
}
