/**
 * The reason in a close frame.
 *
 * @module
 */

/** Longest reason that a close frame holds (RFC 6455, section 5.5). */
const REASON_BYTES = 123;

/** Cuts a reason that is too long between characters: `close` would throw, and the peer see no code at all. */
export function cutReason(reason: string): string {
  const { read } = new TextEncoder().encodeInto(
    reason,
    new Uint8Array(REASON_BYTES),
  );
  return reason.slice(0, read);
}
