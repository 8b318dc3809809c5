/**
 * How long a store may live: what `ttlMs` can be.
 *
 * @module
 */
import { shown } from "../../protocol/shown.ts";

/** The longest that a store may be given, but for ever: 100 years. */
export const TTL_MAX_MS = 100 * 365 * 24 * 60 * 60 * 1000;

/**
 * Checks a `ttlMs`; `action` begins the message. The head of a store says when it ends: one
 * that cannot be read again would take the store with it.
 *
 * @throws {TypeError} if it is no number.
 * @throws {RangeError} if it is neither a whole number from 0 to {@linkcode TTL_MAX_MS}
 * nor `Infinity`.
 */
export function checkTtl(action: string, ttlMs: unknown): void {
  if (ttlMs === undefined || ttlMs === Infinity) return;
  const rule =
    `ttlMs must be a whole number from 0 to ${TTL_MAX_MS} (100 years), or Infinity`;
  if (typeof ttlMs !== "number") {
    throw new TypeError(`${action}: ${rule}, not ${shown(ttlMs)}`);
  }
  if (Number.isInteger(ttlMs) && ttlMs >= 0 && ttlMs <= TTL_MAX_MS) return;
  throw new RangeError(`${action}: ${rule}, not ${ttlMs}`);
}
