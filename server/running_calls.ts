/**
 * The calls of one connection that run, and how they are stopped.
 *
 * @module
 */
import { decodeUp } from "../protocol/codec.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import { CallAbort } from "./call_abort.ts";

/** A longer message is not looked into before its turn. */
const CANCEL_BYTES = 1024;
/** Calls that may be cancelled before their turn; further ones are in theirs. */
const MAX_CANCELLED = 10_000;

/** See the module's documentation. */
export class RunningCalls {
  readonly #running = new Map<number, CallAbort>();
  /** Calls that still wait in the inbox, and were cancelled. */
  readonly #cancelled = new Set<number>();

  /** A call is about to run. */
  begin(id: number): CallAbort {
    const abort = new CallAbort();
    this.#running.set(id, abort);
    if (this.#cancelled.delete(id)) abort.abort(cancelledError());
    return abort;
  }

  /** The same call has run. */
  end(id: number, abort: CallAbort): void {
    if (this.#running.get(id) === abort) this.#running.delete(id);
  }

  /** The client does not wait for a call any more. */
  cancel(id: number): void {
    this.#running.get(id)?.abort(cancelledError());
  }

  /**
   * Takes a short message of nothing but cancelled calls ahead of what `waits` in
   * the inbox: that may wait for just these calls to end.
   */
  cancelAhead(data: Uint8Array, limits: Limits, waits: boolean): boolean {
    if (this.#running.size === 0 || data.byteLength > CANCEL_BYTES) {
      return false;
    }
    const ids: number[] = [];
    try {
      for (const frame of decodeUp(data, limits)) {
        if (frame.type !== "cancel") return false;
        ids.push(frame.id);
      }
    } catch {
      // Said in its turn.
      return false;
    }
    if (this.#cancelled.size + ids.length > MAX_CANCELLED) return false;
    for (const id of ids) {
      if (this.#running.has(id)) this.cancel(id);
      else if (waits) this.#cancelled.add(id);
    }
    return true;
  }

  /** Nothing waits any more: what was cancelled and not met has been answered before. */
  caughtUp(): void {
    this.#cancelled.clear();
  }

  /** The connection has ended. */
  stop(): void {
    const message = "The client's connection has ended";
    for (const abort of this.#running.values()) {
      abort.abort(new HeadwaterError("aborted", message));
    }
    this.#cancelled.clear();
  }
}

function cancelledError(): HeadwaterError {
  const message = "The client does not wait for the answer any more";
  return new HeadwaterError("aborted", message);
}
