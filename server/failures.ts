/**
 * Failures that a client is told of: what it learns, and where the rest goes.
 *
 * @module
 */
import { toErrorBody } from "../protocol/error_body.ts";
import {
  type ErrorBody,
  type ErrorCode,
  HeadwaterError,
} from "../protocol/errors.ts";
import { toApplicationError } from "./application_error.ts";
import type { Errand } from "./errand.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { newId } from "./log/ids.ts";
import type { Logger } from "./logger.ts";
import type { Random } from "./ports.ts";
import { quotingErrorIn } from "./stores/quoting_error.ts";

/** What failed, and for whom. */
export interface FailureOptions {
  /** Code of what is no {@linkcode HeadwaterError}. */
  readonly code: ErrorCode;
  /** What failed, at the beginning of a sentence. */
  readonly what: string;
  readonly clientId: string | undefined;
  /** Nobody waits for it: it is to be found in the log, and no more. */
  readonly isMoot?: boolean;
  /** Whether its message is replaced in any case, unless it is meant for clients. */
  readonly isHidden?: boolean;
}

/** See the module's documentation. */
export class Failures {
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #lifecycle: Lifecycle;
  readonly #masks: boolean;

  /** Failures whose messages are replaced, unless they are meant for clients, if it `masks`. */
  constructor(
    { random, logger, lifecycle, masks }: {
      random: Random;
      logger: Logger;
      lifecycle: Lifecycle;
      masks: boolean;
    },
  ) {
    this.#random = random;
    this.#logger = logger;
    this.#lifecycle = lifecycle;
    this.#masks = masks;
  }

  /** What the client is told of a refusal that is meant for it; else what `tell()` gives. */
  explain(error: unknown, options: FailureOptions): ErrorBody {
    const isMeant = !isPlainError(error) && !quotingErrorIn(error);
    return isMeant
      ? toErrorBody(error, options.code)
      : this.tell(error, options);
  }

  /** What an errand has begun, and not waited for, has failed: there is nobody else to tell. */
  unheeded(cause: unknown, { what, clientId }: Errand): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `What ${what} began and did not wait for failed: ${reason}`;
    const error = new Error(message, { cause });
    this.#logger.error("{error}", { error, clientId });
    // Else a listener of "error" that fails so would be told of that for ever.
    if (what !== 'a listener of "error"') {
      this.#lifecycle.report(error, clientId);
    }
  }

  /** Logs it whole, and gives what the client is told: never a stack. */
  tell(thrown: unknown, options: FailureOptions): ErrorBody {
    const { code, what, clientId, isMoot = false, isHidden = false } = options;
    // Where nobody waits, it is the reason that the application was given itself.
    const error = isMoot ? thrown : toApplicationError(thrown);
    const id = newId(this.#random);
    const level = isMoot ? "debug" : "warn";
    this.#logger[level]("{what} failed, id {id}: {error}", {
      what,
      id,
      clientId,
      error,
    });
    const quoting = quotingErrorIn(error);
    const isPlain = isPlainError(error);
    if ((isPlain || quoting) && !isMoot) {
      this.#lifecycle.report(quoting ?? error, clientId);
    }
    const body = toErrorBody(error, code);
    const isMasked = isPlain && (this.#masks || isHidden);
    if (!quoting && !isMasked) return { ...body, id };
    const { outcome } = body;
    const message = quoting?.shown ?? `${what} failed`;
    return { code: body.code, message, id, ...(outcome && { outcome }) };
  }
}

/** Whether its message was not written for a client. */
function isPlainError(error: unknown): boolean {
  if (!(error instanceof HeadwaterError)) return true;
  const { code, cause } = error;
  // What a recipe threw, in the error that its write is refused with.
  return code === "refused" && cause !== undefined &&
    !(cause instanceof HeadwaterError);
}
