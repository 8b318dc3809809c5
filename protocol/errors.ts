/**
 * Every error that crosses the wire or the public API, and its wire body.
 * This module is browser compatible.
 *
 * @module
 */
import type { Json } from "./json.ts";
import { FIXED_LIMITS } from "./limits.ts";

/** What an error is about, for programs. */
export type ErrorCode =
  /** Bytes or a frame that the protocol does not allow. */
  | "bad_frame"
  /** A value that cannot be shared; `path` says where. */
  | "bad_value"
  /** A patch that cannot be applied. */
  | "bad_patch"
  /** A name that is not well-formed, empty or too long. */
  | "bad_name"
  /** A limit refuses; the message says which, its value and what was sent. */
  | "limit"
  /** No store of that name is defined. */
  | "store_missing"
  /** The store exists, but what the KV holds of it is corrupt, or of a version that is not known. */
  | "store_unreadable"
  /** The store was deleted while the request was on its way. */
  | "store_deleted"
  /** No function of that name is defined. */
  | "function_missing"
  /** A recipe threw: the write was refused. */
  | "refused"
  /** The function's handler threw. */
  | "function_failed"
  /** Who asks may not: the connection's user is not allowed to. */
  | "forbidden"
  /** Others wrote meanwhile, and the writer had asked for none of that; `data` has the `version`. */
  | "conflict"
  /** A client's write does not fit what others wrote meanwhile: it is made again on top of that. */
  | "rebase"
  /** A value is not as its schema says; `path` says where. */
  | "invalid"
  /** It was stopped, since nobody waits for it any more. */
  | "aborted"
  /** The KV cannot be read or written at the moment. */
  | "unavailable"
  /** It may or may not have taken effect, and can no longer be told. */
  | "unknown"
  /** No answer within the time-out. */
  | "timeout"
  /** The connection or client has ended. */
  | "disconnected"
  /** The server or store is closed. */
  | "closed";

/** What became of something that failed. */
export type Outcome = "notSent" | "notApplied" | "unknown";

/** An error as it crosses the wire. */
export interface ErrorBody {
  /** What it is about, for programs. */
  readonly code: ErrorCode;
  /** What it is about, for people. */
  readonly message: string;
  /** JSON Pointer to the offending part of a value. */
  readonly path?: string;
  /** Anything that the thrower adds for programs. */
  readonly data?: Json;
  /** Present where it matters whether the request took effect. */
  readonly outcome?: Outcome;
  /** Under which the server has logged the failure. */
  readonly id?: string;
}

/** What a {@linkcode HeadwaterError} may carry beside code and message. */
export interface HeadwaterErrorOptions extends ErrorOptions {
  /** JSON Pointer to the offending part of a value. */
  path?: string | undefined;
  /** Anything that helps a program; crosses the wire. */
  data?: Json | undefined;
  /** What became of the request. */
  outcome?: Outcome | undefined;
  /** Under which the server has logged the failure. */
  id?: string | undefined;
}

/**
 * Any failure that Headwater reports. Functions, recipes, mutators and rules may throw it,
 * too: its caller gets the code, the message, `path` and `data`.
 *
 * - For an application's own: `refused`, `forbidden`, `invalid`, `limit`, `conflict`,
 *   `bad_value` and `unavailable`.
 * - `aborted`, `bad_frame`, `disconnected`, `function_missing`, `rebase` and `timeout` are
 *   words between server and client. Thrown by an application on the server they become
 *   an ordinary failure: `function_failed` for a function, else `refused`.
 *
 * @example Tell failures apart
 * ```ts
 * import { HeadwaterError } from "@headwater/sync";
 * import assert from "node:assert/strict";
 *
 * const error = new HeadwaterError("limit", "Cannot add: 3 of 3 seats are taken", {
 *   data: { seats: 3 },
 * });
 * assert.equal(error.code, "limit");
 * ```
 */
export class HeadwaterError extends Error {
  /** Name of the class. */
  override readonly name: string = "HeadwaterError";
  /** What it is about, for programs. */
  readonly code: ErrorCode;
  /** JSON Pointer to the offending part of a value, where there is one. */
  readonly path: string | undefined;
  /** What the thrower added for programs. */
  readonly data: Json | undefined;
  /** What became of the request, where it matters. */
  readonly outcome: Outcome | undefined;
  /** Under which the server has logged the failure, where it has. */
  readonly id: string | undefined;

  /** Makes an error from its code, a message for people, and details. */
  constructor(
    code: ErrorCode,
    message: string,
    options: HeadwaterErrorOptions = {},
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.path = options.path;
    this.data = options.data;
    this.outcome = options.outcome;
    this.id = options.id;
  }

  /** Remakes an error from its wire body. */
  static fromBody(body: ErrorBody): HeadwaterError {
    return new HeadwaterError(body.code, body.message, body);
  }
}

/** A limit refused something. */
export class LimitError extends HeadwaterError {
  /** Name of the class. */
  override readonly name = "LimitError";
  /** Name of the limit. */
  readonly limit: string;
  /** Its value. */
  readonly allowed: number;
  /** What was sent. */
  readonly actual: number;

  /** Makes the error; `action` completes "Cannot …". */
  constructor(action: string, limit: string, allowed: number, actual: number) {
    // Else whoever reads it looks for an option that there is not.
    const fixed = FIXED_LIMITS.has(limit) ? ", which cannot be changed" : "";
    super(
      "limit",
      `Cannot ${action}: ${actual} is over the limit ${limit} of ${allowed}${fixed}`,
      {
        data: { limit, allowed, actual },
        outcome: "notApplied",
      },
    );
    this.limit = limit;
    this.allowed = allowed;
    this.actual = actual;
  }
}

/** Marks a place that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new TypeError(`Cannot happen: ${JSON.stringify(value)}`);
}
