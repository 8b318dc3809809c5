/**
 * How long a storage is waited for. This module is browser compatible.
 *
 * @module
 */
import { Deferred } from "../deferred.ts";
import type { ClientClock } from "../environment.ts";

/** A storage that takes longer is as good as none: nothing is sent in the meantime. */
const PATIENCE_MS = 10_000;

/** See the module's documentation. */
export class Patience {
  readonly #clock: ClientClock;

  constructor(clock: ClientClock) {
    this.#clock = clock;
  }

  /** What the promise gives; rejects if it takes too long. */
  async await<T>(promise: Promise<T>): Promise<T> {
    if (await this.isInTime(promise, PATIENCE_MS)) return await promise;
    throw new Error(`The storage has not answered within ${PATIENCE_MS} ms`);
  }

  /** Whether it is fulfilled in time; rejects if it is rejected. */
  async isInTime(promise: Promise<unknown>, ms: number): Promise<boolean> {
    const late = new Deferred<boolean>();
    const timer = this.#clock.setTimer(ms, () => late.resolve(false));
    try {
      return await Promise.race([promise.then(() => true), late.promise]);
    } finally {
      timer.cancel();
    }
  }
}
