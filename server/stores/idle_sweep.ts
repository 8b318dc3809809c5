/**
 * Unloads stores that nobody has used for a while.
 *
 * @module
 */
import type { Clock, Timer } from "../ports.ts";
import type { Store } from "./store.ts";

/** What a sweep needs. */
export interface IdleSweepOptions {
  readonly clock: Clock;
  /** How long a store without subscribers stays loaded. */
  readonly idleMs: number;
  readonly stores: ReadonlyMap<string, Store>;
  readonly unload: (store: Store) => void;
}

/** See the module's documentation. */
export class IdleSweep {
  readonly #options: IdleSweepOptions;
  readonly #since = new Map<string, { ms: number; version: number }>();
  #timer: Timer | undefined;
  #isClosed = false;

  /** A sweep that begins with {@linkcode IdleSweep.start}. */
  constructor(options: IdleSweepOptions) {
    this.#options = options;
  }

  /** Sweeps from now on, for as long as there is a store. */
  start(): void {
    if (!this.#isClosed) this.#timer ??= this.#schedule();
  }

  /** Forgets a store that is not loaded any more. */
  forget(key: string): void {
    this.#since.delete(key);
  }

  /** Sweeps no more. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #schedule(): Timer {
    const { clock, idleMs, stores, unload } = this.#options;
    return clock.setTimer(idleMs / 2, () => {
      const now = clock.monotonic();
      for (const [key, store] of stores) {
        const since = this.#since.get(key);
        if (!store.isIdle || since?.version !== store.version) {
          this.#since.set(key, { ms: now, version: store.version });
        } else if (now - since.ms >= idleMs) {
          unload(store);
        }
      }
      this.#timer = stores.size > 0 ? this.#schedule() : undefined;
    });
  }
}
