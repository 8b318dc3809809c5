/**
 * The requests of the outbox that are to outlive the client. This module is browser
 * compatible.
 *
 * @module
 */
import type { Json } from "../../protocol/json.ts";
import { Deferred } from "../deferred.ts";
import type { Outbox } from "../outbox.ts";
import type { QueuedCall } from "../outbox_queue.ts";
import type { IssuedSession } from "../outbox_session.ts";
import type { PendingRequest, QueuedRequest, Request } from "../request.ts";

/** What an earlier client has left. */
export interface LeftBehind {
  /** Its requests, in order; those that may have been sent have a number. */
  readonly requests: readonly {
    readonly request: Request;
    readonly number?: number | undefined;
    readonly createdMs: number;
  }[];
  /** Its session, and the first number that it cannot have used there. */
  readonly session?: IssuedSession & { readonly nextNumber: number };
}

/** See the module's documentation. */
export class LastingRequests {
  readonly #outbox: Outbox;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** All of them, in order. */
  *all(): Generator<QueuedRequest> {
    for (const call of this.#outbox.queue.calls) {
      if (call.request.isLasting) yield call;
    }
  }

  /**
   * Puts what an earlier client has left in front. Where some of it may have been
   * sent, nothing in the outbox may have a number, and what follows must be a new
   * connection: it goes on with the session.
   */
  restore({ requests, session }: LeftBehind): QueuedRequest[] {
    const { queue } = this.#outbox;
    const restored = requests.map(({ request, number, createdMs }) => ({
      request,
      createdMs,
      answer: new Deferred<Json | undefined>(),
      release: () => {},
      number,
      wasSent: number !== undefined,
      isResent: number !== undefined,
      bytes: 0,
    }));
    queue.calls = new Set([...restored, ...queue.calls]);
    queue.due = new Set([...restored, ...queue.due]);
    for (const call of restored) {
      if (call.number !== undefined) queue.sent.set(call.number, call);
    }
    const isItsOwn = session &&
      (this.#outbox.hasNumbers || !this.#outbox.session);
    if (isItsOwn) queue.nextNumber = session.nextNumber;
    this.#outbox.resume(isItsOwn ? session : undefined);
    return restored;
  }

  /** Gives numbers to `first` and to what may be sent behind it, `most` in all. */
  number(first: PendingRequest, most: number): void {
    const { queue } = this.#outbox;
    let isBehind = false;
    for (const call of queue.due) {
      isBehind ||= call === first;
      if (!isBehind || call.number !== undefined) continue;
      // Numbers are used in order: behind another request they have to wait.
      if (!call.request.isLasting || most-- === 0) break;
      queue.number(call);
    }
  }

  /** Rejects one that can neither be sent nor be given up. */
  reject(request: PendingRequest, error: Error): void {
    const isIt = (call: QueuedCall) => call === request;
    const call = [...this.#outbox.queue.calls].find(isIt);
    if (call) this.#outbox.reject(call, error);
  }
}
