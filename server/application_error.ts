/**
 * What code of the application throws. Some codes of errors are words between server and
 * client: a client that was told `rebase` by a mutator would send the same write for ever.
 *
 * @module
 */
import { type ErrorCode, HeadwaterError } from "../protocol/errors.ts";

/** Codes that an application's errors cannot have; as {@linkcode HeadwaterError} says. */
const RESERVED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "aborted",
  "bad_frame",
  "disconnected",
  "function_missing",
  "rebase",
  "timeout",
]);

/** The error that stands for what an application threw: one with a reserved code is any error. */
export function toApplicationError(error: unknown): unknown {
  const isReserved = error instanceof HeadwaterError &&
    RESERVED.has(error.code);
  return isReserved ? new Error(error.message, { cause: error }) : error;
}

/** Runs code of the application. */
export function runApplication<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw toApplicationError(error);
  }
}
