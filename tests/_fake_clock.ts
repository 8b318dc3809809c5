/**
 * Time that stands still until a test moves it. Fits the clock of the server's
 * ports and the client's.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../server/ports.ts";

interface DueTimer {
  readonly dueMs: number;
  readonly run: () => void;
}

/** A virtual clock. */
export class FakeClock implements Clock {
  readonly #timers = new Set<DueTimer>();
  #startMs: number;
  #elapsedMs = 0;

  /** Begins at `startMs` since 1970. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs;
  }

  /** Timers that have neither run nor been called off. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#startMs + this.#elapsedMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  setTimer(ms: number, run: () => void): Timer {
    // A NaN would never be due and make the test pass for nothing.
    if (!(ms >= 0)) throw new RangeError(`Cannot set a timer of ${ms} ms`);
    const timer = { dueMs: this.#elapsedMs + ms, run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  defer(run: () => void): void {
    setImmediate(run);
  }

  /** Moves what the wall shows, as a user or NTP does; timers do not notice. */
  jump(ms: number): void {
    this.#startMs += ms;
  }

  /** Lets `ms` pass: runs what is due in order, each with all that follows from it. */
  async advance(ms: number): Promise<void> {
    const targetMs = this.#elapsedMs + ms;
    await settle();
    for (
      let next = this.#next(targetMs);
      next !== undefined;
      next = this.#next(targetMs)
    ) {
      this.#timers.delete(next);
      this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
      next.run();
      await settle();
    }
    this.#elapsedMs = targetMs;
  }

  #next(targetMs: number): DueTimer | undefined {
    let next: DueTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > targetMs) continue;
      if (next === undefined || timer.dueMs < next.dueMs) next = timer; // a Set keeps the order of equals
    }
    return next;
  }
}

/** Lets everything happen that needs no time: microtasks and what they start. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) {
    await new Promise<void>((resolve) => setImmediate(() => resolve()));
  }
}
