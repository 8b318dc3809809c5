/**
 * What the server runs for the application, be it a function's handler, a hook or a
 * listener, and what becomes of what that begins and does not wait for: one forgotten
 * `await` must not end the process, as a rejection that nobody handles would.
 *
 * @module
 */

/** Told of what has failed without anybody waiting for it. */
export type OnUnheeded = (error: unknown, errand: Errand) => void;

/** One run of code of the application. */
export class Errand {
  /** What runs, in the middle of a sentence. */
  readonly what: string;
  /** For which client, if for any. */
  readonly clientId: string | undefined;
  #isOver = false;
  /** What has failed while it ran, and may yet be waited for. */
  #failed: (() => void)[] = [];

  /** A run that is about to begin. */
  constructor(what: string, clientId?: string) {
    this.what = what;
    this.clientId = clientId;
  }

  /** The code has returned, or thrown: what it has not heeded by now it never will. */
  end(): void {
    this.#isOver = true;
    for (const tell of this.#failed.splice(0)) tell();
  }

  /** Calls `tell` when it is over. */
  whenOver(tell: () => void): void {
    if (this.#isOver) tell();
    else this.#failed.push(tell);
  }
}

/** How a promise is looked after. */
export interface Heeding {
  readonly errand: Errand;
  /** Runs something after those who are just about to wait. */
  readonly defer: (run: () => void) => void;
  readonly onUnheeded: OnUnheeded;
}

/** A promise of an errand, and all that is derived from it: it knows whether anybody waits. */
export class HeededPromise<T> extends Promise<T> {
  #heeding: Heeding | undefined;
  #isHeeded = false;

  /** The same promise, looked after. */
  static of<T>(promise: Promise<T>, heeding: Heeding): HeededPromise<T> {
    const heeded = new HeededPromise<T>((resolve, reject) => {
      promise.then(resolve, reject);
    });
    heeded.#watch(heeding);
    return heeded;
  }

  /** @inheritdoc */
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#isHeeded = true;
    const next = super.then(onFulfilled, onRejected);
    // Whoever only goes on where it succeeds has not heeded that it may fail.
    if (this.#heeding && next instanceof HeededPromise) {
      next.#watch(this.#heeding);
    }
    return next;
  }

  #watch(heeding: Heeding): void {
    this.#heeding = heeding;
    const { errand, defer, onUnheeded } = heeding;
    super.then(undefined, (error) => {
      const tell = () => {
        if (!this.#isHeeded) onUnheeded(error, errand);
      };
      errand.whenOver(() => defer(tell));
    });
  }
}
