/**
 * The session that makes it safe to send requests again. This module is browser
 * compatible.
 *
 * @module
 */
import {
  type HelloFrame,
  PROTOCOL_VERSION,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import type { ClientClock } from "./environment.ts";

/** What a server has issued; requests are numbered in it. */
export interface IssuedSession {
  /** The proof of it. */
  readonly token: string;
  /** When it was issued, by the monotonic clock. */
  readonly startedMs: number;
  /** How long it is good for. */
  readonly lifeMs: number;
}

/** See the module's documentation. */
export class OutboxSession {
  readonly #clock: ClientClock;
  #asked: "fresh" | "resumption" | "renewal" = "fresh";
  /** The session, if there is one. */
  issued: IssuedSession | undefined;
  /** Whether the server has answered the last hello. */
  isReady = false;

  constructor(clock: ClientClock) {
    this.#clock = clock;
  }

  /** From 0 to 1 and beyond. */
  get age(): number {
    const { issued } = this;
    return issued
      ? (this.#clock.monotonic() - issued.startedMs) / issued.lifeMs
      : 0;
  }

  /** The first frame of a connection: it asks for the old session only if that is needed. */
  hello(hasNumbers: boolean): HelloFrame {
    const { issued } = this;
    this.#asked = hasNumbers ? "resumption" : "fresh";
    return {
      type: "hello",
      protocol: PROTOCOL_VERSION,
      ...(issued &&
        (hasNumbers ? { session: issued.token } : { identity: issued.token })),
    };
  }

  /** A hello on the live connection, for a fresh session or with the one that there is. */
  greetAgain(isFresh: boolean): HelloFrame {
    const hello = this.hello(!isFresh);
    this.isReady = false;
    // Should the session be over, its numbers go on all the same.
    this.#asked = "renewal";
    return hello;
  }

  /** The server has answered a hello; returns whether numbers go on, or begin anew in another session. */
  welcomed(frame: WelcomeFrame): "same" | "continued" | "anew" {
    this.isReady = true;
    const { issued } = this;
    // It goes on. Were calls numbered anew in it, as by a welcome that comes twice, they
    // would be given the answers of others.
    if (frame.session === issued?.token) return "same";
    if (issued && this.#asked === "resumption" && frame.resumed) {
      this.issued = { ...issued, token: frame.session };
      return "same";
    }
    this.issued = {
      token: frame.session,
      startedMs: this.#clock.monotonic(),
      lifeMs: frame.sessionMs,
    };
    // On a connection that goes on, an answer to a call that has timed out may
    // still come: its number must not be that of another call.
    return this.#asked === "renewal" ? "continued" : "anew";
  }
}
