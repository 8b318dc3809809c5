/**
 * After a commit whose outcome is not known the store may be behind what the KV
 * holds, or fall behind later, when the commit lands after all. Nobody else tells
 * it: its own feed is not read. So it commits once more, without a change: before
 * that it reads the head, and after it the lost commit can never land.
 *
 * @module
 */
import type { Clock, Timer } from "../ports.ts";

/** Time between the tries to settle it. */
const SETTLE_MS = 500;

/** See the module's documentation. */
export class Doubt {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  #timer: Timer | undefined;
  #isDue = false;

  /** No doubt yet; `onDue` asks for the commit that settles it. */
  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** Whether the commit that settles it is to be made now. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** A commit's outcome is not known, or that of settling it. */
  begin(): void {
    this.end();
    this.#timer = this.#clock.setTimer(SETTLE_MS, () => {
      this.#isDue = true;
      this.#onDue();
    });
  }

  /** A later commit took effect, or there is nothing to settle any more. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#isDue = false;
  }
}
