/**
 * How long to wait before the next attempt. This module is browser compatible.
 *
 * @module
 */
import { CLOSE } from "../protocol/frames.ts";
import { HeadwaterError } from "../protocol/errors.ts";

/** What {@linkcode retryDelayMs} works with. */
export interface BackoffOptions {
  /** The first delay. */
  readonly delayMs: number;
  /** The longest delay. */
  readonly maxMs: number;
  /** Jitter, from 0 up to but not 1. */
  readonly random: () => number;
}

/** Why a connection ended. */
export interface CloseCause {
  /** Close code; 1006 where there was none. */
  readonly code: number;
  /** What the peer or the client said about it; may be empty. */
  readonly reason: string;
}

/** Steps that are skipped where the server has said that it cannot bear more. */
const BUSY_STEPS = 3;

/**
 * Milliseconds to wait before attempt number `attempt` (from 1), after a
 * connection that ended with `code`.
 *
 * - It doubles from `delayMs` to `maxMs`; of that, the upper half is left to chance.
 * - A server that goes away ends all its connections at one moment: their first
 *   attempts are spread over the whole time from 0 to twice `delayMs`.
 * - After an eviction, or where the server is full, it starts some steps higher.
 */
export function retryDelayMs(
  attempt: number,
  code: number,
  options: BackoffOptions,
): number {
  const { delayMs, maxMs, random } = options;
  if (code === CLOSE.goingAway && attempt === 1) return random() * 2 * delayMs;
  const step = attempt - 1 + (isBusy(code) ? BUSY_STEPS : 0);
  const longest = Math.min(maxMs, delayMs * 2 ** step);
  return longest / 2 + random() * longest / 2;
}

function isBusy(code: number): boolean {
  return code === CLOSE.tooSlow || code === CLOSE.full ||
    code === CLOSE.flooding;
}

/** What a transport or a proxy says that measures messages by itself: sent again, it would be said again. */
const MESSAGE_TOO_BIG = 1009;
const TOO_BIG = "Cannot go on: a message is larger than the server takes";

const FINAL: ReadonlyMap<number, string> = new Map([
  [
    CLOSE.badFrame,
    "Cannot go on: the server cannot read what this client sends",
  ],
  [
    CLOSE.badVersion,
    "Cannot connect: the server does not speak this client's protocol version",
  ],
  [CLOSE.refused, "Cannot connect: the server refuses this user"],
  [CLOSE.tooBig, TOO_BIG],
  [MESSAGE_TOO_BIG, TOO_BIG],
]);

/**
 * The error to stop with, if it is no use to connect again after `cause`. Its `data` has
 * the close code and the reason, for whoever shows it in words of their own.
 */
export function finalError(cause: CloseCause): HeadwaterError | undefined {
  const { code, reason } = cause;
  const message = FINAL.get(code);
  if (message === undefined) return undefined;
  const details = reason === "" ? `${code}` : `${code}: ${reason}`;
  return new HeadwaterError("closed", `${message} (${details})`, {
    data: { code, reason },
  });
}
