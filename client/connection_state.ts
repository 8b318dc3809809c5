/**
 * The states of a client's connection. This module is browser compatible.
 *
 * @module
 */
import type { ClientStatus } from "./api.ts";
import type { Connection } from "./connection.ts";
import type { ClientTimer } from "./environment.ts";

/** Where a client stands; each state holds what it needs and nothing else. */
export type ConnectionState =
  /** `connect()` was not called yet. */
  | { readonly name: "idle" }
  /** The socket is not open yet. `attempt` counts the failures that led here. */
  | {
    readonly name: "connecting";
    readonly attempt: number;
    readonly connection: Connection;
  }
  /** Hello is said. */
  | {
    readonly name: "welcoming";
    readonly attempt: number;
    readonly connection: Connection;
  }
  /** Welcomed. */
  | {
    readonly name: "open";
    readonly attempt: number;
    readonly connection: Connection;
    readonly sinceMs: number;
  }
  /** Until the next attempt. */
  | {
    readonly name: "waiting";
    readonly attempt: number;
    readonly retry: ClientTimer;
  }
  /** Until the next `connect()`; for good if destroyed. */
  | {
    readonly name: "closed";
    readonly error: Error;
    readonly isDestroyed: boolean;
  };

/** How long a connection must have lived to count as a success. */
const STABLE_MS = 5_000;

/** The status that users see. */
export function toStatus(state: ConnectionState): ClientStatus {
  switch (state.name) {
    case "connecting":
    case "welcoming":
      return state.attempt === 0 ? "connecting" : "reconnecting";
    case "open":
      return "connected";
    case "waiting":
      return "reconnecting";
    case "idle":
    case "closed":
      return state.name;
  }
}

/**
 * The transitions. Each returns whether it took place; one that is refused
 * changes nothing.
 */
export class ConnectionMachine {
  #state: ConnectionState = { name: "idle" };

  /** Where it stands. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The connection, if there is one, be it open or not. */
  get connection(): Connection | undefined {
    return "connection" in this.#state ? this.#state.connection : undefined;
  }

  /** The connection, if the server has welcomed it. */
  get openConnection(): Connection | undefined {
    return this.#state.name === "open" ? this.#state.connection : undefined;
  }

  /**
   * Number of the attempt that would follow a loss at `nowMs`. It begins anew
   * only after a connection that has lived for some time: a server that crashes
   * at each welcome would be hammered otherwise.
   */
  nextAttempt(nowMs: number): number {
    const state = this.#state;
    if (state.name === "open" && nowMs - state.sinceMs >= STABLE_MS) return 1;
    return "attempt" in state ? state.attempt + 1 : 1;
  }

  /** From rest to the first or next attempt. */
  connecting(connection: Connection): boolean {
    const state = this.#state;
    if ("connection" in state) return false;
    if (state.name === "closed" && state.isDestroyed) return false;
    if (state.name === "waiting") state.retry.cancel();
    const attempt = state.name === "waiting" ? state.attempt : 0;
    this.#state = { name: "connecting", attempt, connection };
    return true;
  }

  /** The socket is open. */
  welcoming(): boolean {
    if (this.#state.name !== "connecting") return false;
    this.#state = { ...this.#state, name: "welcoming" };
    return true;
  }

  /** The server has answered the hello. */
  open(sinceMs: number): boolean {
    if (this.#state.name !== "welcoming") return false;
    this.#state = { ...this.#state, name: "open", sinceMs };
    return true;
  }

  /** The connection is lost; `retry` will begin the next attempt. */
  waiting(attempt: number, retry: ClientTimer): boolean {
    if (!("connection" in this.#state)) return false;
    this.#state = { name: "waiting", attempt, retry };
    return true;
  }

  /** No further attempts. */
  closed(error: Error, isDestroyed: boolean): boolean {
    const state = this.#state;
    if (state.name === "closed" && (state.isDestroyed || !isDestroyed)) {
      return false;
    }
    if (state.name === "waiting") state.retry.cancel();
    this.#state = { name: "closed", error, isDestroyed };
    return true;
  }
}
