/**
 * How the run of a call learns that nobody waits for it any more.
 *
 * @module
 */
import type { HeadwaterError } from "../protocol/errors.ts";

/** Stops one run. The signal is made when a handler asks for it: most do not. */
export class CallAbort {
  #controller: AbortController | undefined;
  #reason: HeadwaterError | undefined;

  /** Why the run is to stop; undefined while somebody waits. */
  get reason(): HeadwaterError | undefined {
    return this.#reason;
  }

  /** Fires when the run is to stop. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Asks the run to stop. */
  abort(reason: HeadwaterError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}
