/**
 * Why a transaction was not committed, where that is not its own fault.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";

/** The KV failed. */
export function unavailable(
  cause: unknown,
  outcome: "notApplied" | "unknown" = "notApplied",
): HeadwaterError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HeadwaterError(
    "unavailable",
    `Cannot commit a transaction: the KV failed: ${reason}`,
    { cause, outcome },
  );
}

/** Its stores were not to be had in time. */
export function lateError(
  cause?: unknown,
  outcome: "notApplied" | "unknown" = "notApplied",
): HeadwaterError {
  return new HeadwaterError(
    "unavailable",
    "Cannot commit a transaction: its stores were busy for too long",
    { cause, outcome },
  );
}
