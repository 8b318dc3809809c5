/**
 * What a client asks of the server, and what it says of that while it waits. This
 * module is browser compatible.
 *
 * @module
 */
import type { Json } from "../protocol/json.ts";
import type { Deferred } from "./deferred.ts";

/** Longer than any server's limit for names; such a frame could end the connection. */
export const LONGEST_NAME = 4096;

/** Requests that may wait for their answer at once, unless an option says otherwise. */
export const MOST_PENDING = 10_000;

/** What a request says of itself when it is sent. */
export interface Sending {
  /** Its number within the session. */
  readonly id: number;
  /** Lowest number whose answer is still awaited. */
  readonly oldest: number;
  /** Milliseconds from the session's welcome to the request. */
  readonly elapsedMs: number;
  /** Present where it may have reached a server before. */
  readonly resent?: true;
}

/** What the server answers: a call, or writes. */
export interface Request {
  /** What it is about: the function, or the store. */
  readonly name: string;
  /** Completes "Cannot …". */
  readonly action: string;
  /** Whether it is given up when its answer takes too long; if not, it waits for any time. */
  readonly timesOut: boolean;
  /** Its frame, made anew whenever it is sent; throws where it cannot be sent any more. */
  encode(sending: Sending): Uint8Array<ArrayBuffer>;
  /** Whether it is to outlive this client. */
  readonly isLasting?: boolean;
  /** Whether it, and what comes behind it, is better sent a little later. */
  readonly isHeld?: boolean;
  /** Whether it is better sent a little later, and what comes behind it need not wait for that. */
  readonly isBlocked?: boolean;
  /** Whether it was made on top of one of these, so that it can only come behind them. */
  isBehind?(others: readonly Request[]): boolean;
  /** It is on its way, as it was last encoded. */
  sent?(): void;
  /**
   * The server cannot take it as it is: returns whether it is to be sent again, with
   * what it has become, under the same number. Absent where that never happens.
   */
  rebase?(): boolean;
}

/** A request on its way. */
export interface PendingRequest {
  /** Its number within the session; undefined until it is sent. */
  readonly number: number | undefined;
  /** The answer to it. */
  readonly answer: Deferred<Json | undefined>;
}

/** A request as it lies in the outbox. */
export interface QueuedRequest extends PendingRequest {
  /** What is asked for. */
  readonly request: Request;
  /** When it was made, by the monotonic clock. */
  readonly createdMs: number;
}

/** Keeps what a later client is to send if this one cannot. */
export interface Journal {
  /** Whether it keeps anything at present. */
  readonly isOn: boolean;
  /** Whether a request that lasts may be sent: it is kept with its number, or will not be kept. */
  isSafe(request: PendingRequest): boolean;
  /**
   * Gives numbers to it and to what may be sent behind it, up to `most` in all, and
   * keeps them with these.
   */
  number(request: PendingRequest, most: number): void;
  /** Whether a later client may send it. */
  isKept(request: PendingRequest): boolean;
  /** What there is to be kept has changed. */
  keep(): void;
  /** Nothing that was numbered awaits an answer. */
  quiet(): void;
}
