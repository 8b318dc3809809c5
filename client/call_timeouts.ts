/**
 * Gives calls up whose answer takes too long. This module is browser compatible.
 *
 * @module
 */
import type { ClientClock, ClientTimer } from "./environment.ts";
import type { QueuedCall } from "./outbox_queue.ts";

/** What {@linkcode CallTimeouts} works with. */
export interface CallTimeoutOptions {
  /** Time. */
  readonly clock: ClientClock;
  /** How long a call may take. */
  readonly timeoutMs: number;
  /** One has taken longer. */
  expired(call: QueuedCall): void;
}

/** See the module's documentation. */
export class CallTimeouts {
  readonly #options: CallTimeoutOptions;
  // In order of creation: as all have the same time, the first is the next.
  readonly #calls = new Set<QueuedCall>();
  #timer: ClientTimer | undefined;

  constructor(options: CallTimeoutOptions) {
    this.#options = options;
  }

  /** A call waits from now on. */
  add(call: QueuedCall): void {
    this.#calls.add(call);
    this.#arm();
  }

  /** One does not any more. */
  delete(call: QueuedCall): void {
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const [first] = this.#calls;
    if (this.#timer || !first || this.#options.timeoutMs === Infinity) return;
    const leftMs = Math.max(0, this.#leftMs(first));
    this.#timer = this.#options.clock.setTimer(leftMs, () => {
      this.#timer = undefined;
      for (const call of this.#calls) {
        if (this.#leftMs(call) > 0) break;
        this.#options.expired(call);
      }
      this.#arm();
    });
  }

  #leftMs({ createdMs }: QueuedCall): number {
    const { clock, timeoutMs } = this.#options;
    return timeoutMs - (clock.monotonic() - createdMs);
  }
}
