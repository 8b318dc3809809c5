/**
 * When a call or a write of a client was made.
 *
 * @module
 */
import type { Clock } from "./ports.ts";

/** A client's clock may run ahead by so much. */
const AHEAD_MS = 5_000;

/**
 * The time of a call in milliseconds since 1970, the same whenever it is run again:
 * counted by the client's clock from its session's issue, by the server's.
 */
export function timeOfCall(
  { issuedAtMs }: { readonly issuedAtMs: number },
  elapsedMs: number,
  clock: Clock,
): number {
  return Math.min(issuedAtMs + elapsedMs, Math.floor(clock.now()) + AHEAD_MS);
}
