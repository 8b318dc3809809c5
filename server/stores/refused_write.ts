/**
 * Writes that were refused: what is recorded of that, and what it is told as when they are sent again.
 *
 * @module
 */
import { toErrorBody } from "../../protocol/error_body.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Recorded } from "../log/numbers.ts";
import type { Refusal } from "../log/refusal.ts";
import type { Settled } from "./change.ts";
import { quotingErrorIn } from "./quoting_error.ts";
import { sizeOf } from "./size.ts";

/** The record of a refusal. */
export function toRefusal(error: unknown, maxBytes: number): Refusal {
  const { code, message, path, data } = toErrorBody(error, "refused");
  // It is said again to a client, where nobody knows any more what it quotes.
  const quoting = quotingErrorIn(error);
  if (quoting) return { code, message: quoting.shown };
  return {
    code,
    message,
    ...(path !== undefined && { path }),
    // It is kept as long as what recipes return.
    ...(data !== undefined && sizeOf(data) <= maxBytes && { data }),
  };
}

/** The error that a refusal stands for. */
export function toError(
  refused: Refusal,
  // What was thrown the first time is not known any more, but that something was.
  cause: unknown = new Error(refused.message),
): HeadwaterError {
  const { code, message, path, data } = refused;
  const outcome = code === "unknown" ? "unknown" : "notApplied";
  return new HeadwaterError(code, message, { path, data, outcome, cause });
}

/** What a write that was seen before gives: the first time's value, or its refusal. */
export function repeat(
  { version, isPast, value, refused }: Recorded,
): { written: Settled } | { error: unknown } {
  return refused
    ? { error: toError(refused) }
    : { written: { version, value, ...(isPast && { isPast }) } };
}
