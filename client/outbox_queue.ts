/**
 * Requests without an answer: in which order, on the way or not. This module is
 * browser compatible.
 *
 * @module
 */
import type { QueuedRequest } from "./request.ts";

/** A request in the queue. */
export interface QueuedCall extends QueuedRequest {
  /** Takes its listeners off. */
  readonly release: () => void;
  /** Its number within the session; undefined until it is sent. */
  number: number | undefined;
  /** It may have reached a server: one that is kept has its number before. */
  wasSent: boolean;
  /** It was sent on a connection that was lost. */
  isResent: boolean;
  /** Its bytes on the current connection; 0 where it was not sent on that. */
  bytes: number;
}

/** See the module's documentation. */
export class OutboxQueue {
  /** Every one, in order of creation. */
  calls: Set<QueuedCall> = new Set();
  /** Those to be sent on this connection: again first, then for the first time. */
  due: Set<QueuedCall> = new Set();
  /** Those with a number, in order of it. */
  readonly sent: Map<number, QueuedCall> = new Map();
  /** The next number in the session. */
  nextNumber = 1;
  /** Bytes that were sent on this connection and not answered. */
  bytesInFlight = 0;
  /** Writes among them. */
  writesInFlight = 0;

  /** Gives one its number in the session. */
  number(call: QueuedCall): void {
    call.number ??= this.nextNumber++;
    this.sent.set(call.number, call);
  }

  /** One is on its way, in so many bytes. */
  left(call: QueuedCall, bytes: number): void {
    this.due.delete(call);
    this.number(call);
    call.wasSent = true;
    call.bytes = bytes;
    this.bytesInFlight += bytes;
    if (isWrite(call)) this.writesInFlight++;
  }

  /** One is not on its way any more. */
  landed(call: QueuedCall): void {
    if (call.bytes === 0) return;
    this.bytesInFlight -= call.bytes;
    if (isWrite(call)) this.writesInFlight--;
    call.bytes = 0;
  }

  /** One is over. */
  remove(call: QueuedCall): void {
    call.release();
    this.calls.delete(call);
    this.due.delete(call);
    if (call.number !== undefined) this.sent.delete(call.number);
    this.landed(call);
  }

  /** One is to be sent again, in order of numbers, as later ones build on it. */
  again(call: QueuedCall): void {
    this.landed(call);
    this.due.add(call);
    // Behind those that have a number come those that have none.
    const last = Infinity;
    this.due = new Set(
      [...this.due].sort((a, b) => (a.number ?? last) - (b.number ?? last)),
    );
  }

  /** The connection is gone: what has no answer is to be sent again on the next. */
  disconnected(): void {
    this.bytesInFlight = this.writesInFlight = 0;
    for (const call of this.sent.values()) {
      call.bytes = 0;
      call.isResent = call.wasSent;
    }
    this.due = new Set([...this.sent.values(), ...this.due]);
  }
}

/** Whether it is made on a base, and so can be asked to be made again. */
export function isWrite({ request }: QueuedCall): boolean {
  return request.rebase !== undefined;
}
