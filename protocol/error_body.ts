/**
 * Errors as they cross the wire. This module is browser compatible.
 *
 * @module
 */
import { type ErrorBody, type ErrorCode, HeadwaterError } from "./errors.ts";
import { cleanValue, type Json } from "./value.ts";

/** Characters of a message that are passed on. */
const MESSAGE_LENGTH = 4_096;

/**
 * The body that tells a peer about `error`, whatever was thrown; never a stack.
 * It can always be encoded and read again, as it also goes into the log: what
 * cannot be shared of it is left out.
 */
export function toErrorBody(error: unknown, fallback: ErrorCode): ErrorBody {
  // Half of an emoji, from a text that was cut, would make the whole frame or record unreadable.
  const message = messageOf(error).slice(0, MESSAGE_LENGTH).toWellFormed();
  if (!(error instanceof HeadwaterError)) return { code: fallback, message };
  const { code, path, outcome, id } = error;
  const data = dataOf(error);
  return {
    code,
    message,
    ...(path !== undefined && { path: path.toWellFormed() }),
    ...(data !== undefined && { data }),
    ...(outcome !== undefined && { outcome }),
    ...(id !== undefined && { id: id.toWellFormed() }),
  };
}

function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return "What was thrown cannot be shown";
  }
}

function dataOf({ data }: HeadwaterError): Json | undefined {
  try {
    return data === undefined ? undefined : cleanValue(data);
  } catch {
    // Its type is a promise that nobody has kept; the error itself matters more.
    return undefined;
  }
}
