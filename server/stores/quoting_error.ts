/**
 * Errors that quote what a store holds: whole for whoever runs the server, and
 * nothing of that for its clients, who may not be allowed to see it.
 *
 * @module
 */
import {
  type ErrorCode,
  HeadwaterError,
  type HeadwaterErrorOptions,
} from "../../protocol/errors.ts";

/** An error whose message, path and data are not for clients. */
export class QuotingError extends HeadwaterError {
  /** What a client is told in place of the message. */
  readonly shown: string;

  /** Quotes in `message`, and not in `shown`. */
  constructor(
    code: ErrorCode,
    message: string,
    { shown, ...options }: HeadwaterErrorOptions & { readonly shown: string },
  ) {
    super(code, message, { outcome: "notApplied", ...options });
    this.shown = shown;
  }
}

/** The error `cause` with its message, but for what clients are told. */
export function quote(cause: unknown, shown: string): QuotingError {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (!(cause instanceof HeadwaterError)) {
    return new QuotingError("refused", message, { shown, cause });
  }
  const { code, path, data } = cause;
  return new QuotingError(code, message, { shown, cause, path, data });
}

/** The error that quotes, where that is what this is, or says again. */
export function quotingErrorIn(error: unknown): QuotingError | undefined {
  if (error instanceof QuotingError) return error;
  if (!(error instanceof HeadwaterError)) return undefined;
  const inner = quotingErrorIn(error.cause);
  // One that an application has thrown because of it says what that wants to say.
  const isSame = inner?.message === error.message ||
    inner?.shown === error.message;
  return isSame ? inner : undefined;
}
