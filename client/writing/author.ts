/**
 * Who writes: what is queued as one user is not sent as another. This module is
 * browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { principalOf } from "../../protocol/principal.ts";
import type { Json } from "../../protocol/value.ts";

/** See the module's documentation. */
export class Author {
  #user: Json | undefined;

  /** Nobody is known where `user` is undefined: what is written is whoever's comes first. */
  constructor(user: Json | undefined) {
    this.#user = user;
  }

  /** The last that is known. */
  get user(): Json | undefined {
    return this.#user;
  }

  /** Whether `user` is another one than this. */
  isOther(user: Json | undefined): boolean {
    if (user === undefined || this.#user === undefined) return false;
    return principalOf(user) !== principalOf(this.#user);
  }

  /** It is this one, until the server says who it is. */
  presume(user: Json | undefined): void {
    this.#user ??= user;
  }

  /** The server says who it is. */
  become(user: Json): void {
    this.#user = user;
  }
}

/** The error of a write that was made as another user; `what` completes "Cannot write". */
export function foreignWrite(
  what: string,
  outcome: "notSent" | "unknown",
): HeadwaterError {
  return new HeadwaterError(
    "forbidden",
    `Cannot write${what}: it was made as another user`,
    { outcome },
  );
}
