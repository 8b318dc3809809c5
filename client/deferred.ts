/**
 * A promise that is settled from outside. This module is browser compatible.
 *
 * @module
 */

/** A promise and the means to settle it (`Promise.withResolvers` is not in Node 20). */
export class Deferred<T> {
  /** The promise. */
  readonly promise: Promise<T>;
  /** Fulfils it. */
  resolve!: (value: T) => void; // assigned by the executor, which runs at once
  #reject!: (error: unknown) => void; // the same

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Rejects it; who does not handle that is told by the runtime. */
  reject(error: unknown): void {
    this.#reject(error);
  }

  /**
   * Rejects it, and it is no matter if nobody looks. Otherwise a client that
   * goes down with its connection would take a whole Node process with it.
   */
  rejectQuietly(error: unknown): void {
    this.promise.catch(() => {});
    this.#reject(error);
  }
}

/** A promise that is rejected, and that nobody has to handle. */
export function rejectedQuietly<T>(error: Error): Promise<T> {
  const deferred = new Deferred<T>();
  deferred.rejectQuietly(error);
  return deferred.promise;
}
