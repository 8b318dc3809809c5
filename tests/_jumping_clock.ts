/**
 * Time that jumps to the next timer as soon as nothing else happens.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../server/ports.ts";

interface Due {
  readonly dueMs: number;
  readonly run: () => void;
}

/** See the module's documentation. */
export class JumpingClock implements Clock {
  readonly #due: Due[] = [];
  #nowMs = 0;
  #isRunning = false;

  now(): number {
    return Date.UTC(2026, 0, 1) + this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  setTimer(ms: number, run: () => void): Timer {
    const due = { dueMs: this.#nowMs + ms, run };
    const index = this.#due.findLastIndex(({ dueMs }) => dueMs <= due.dueMs);
    this.#due.splice(index + 1, 0, due);
    if (!this.#isRunning) setImmediate(() => this.#next());
    this.#isRunning = true;
    return {
      cancel: () => {
        const at = this.#due.indexOf(due);
        if (at >= 0) this.#due.splice(at, 1);
      },
    };
  }

  defer(run: () => void): void {
    this.setTimer(0, run);
  }

  #next(): void {
    const due = this.#due.shift();
    this.#isRunning = due !== undefined;
    if (!due) return;
    this.#nowMs = Math.max(this.#nowMs, due.dueMs);
    due.run();
    setImmediate(() => this.#next());
  }
}
