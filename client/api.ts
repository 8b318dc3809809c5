/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What users see of a client. This module is browser compatible.
 *
 * @module
 */
import type { ClientClock, WebSocketClass } from "./environment.ts";

/** Where a client stands, for people: `"closed"` means that it does not try any more. */
export type ClientStatus =
  | "idle"
  | "connecting"
  | "connected"
  | "reconnecting"
  | "closed";

/** Options of `createClient()`. */
export interface ClientOptions {
  /**
   * Whether to connect again after a loss.
   *
   * @default {true}
   */
  reconnect?: boolean | undefined;
  /**
   * Milliseconds before the first attempt to connect again; doubled with each further one.
   *
   * @default {1000}
   */
  reconnectDelayMs?: number | undefined;
  /**
   * The longest that the delay grows.
   *
   * @default {10000}
   */
  reconnectMaxMs?: number | undefined;
  /**
   * Milliseconds that a call may take, from `call()` to its answer; `Infinity` for any time.
   *
   * @default {10000}
   */
  rpcTimeoutMs?: number | undefined;
  /** The class of the socket, where the runtime has none: that of the package `ws` on Node 20. */
  WebSocket?: WebSocketClass | undefined;
  /** Time; the runtime's by default. */
  clock?: ClientClock | undefined;
  /** Jitter, from 0 up to but not 1; `Math.random` by default. */
  random?: (() => number) | undefined;
  /**
   * Calls `wake` when it is worth trying at once, and returns its undo. By
   * default that is when a browser is online again or its page visible again.
   */
  onWake?: ((wake: () => void) => () => void) | undefined;
  /** Takes what a listener throws where nobody listens to "error"; the runtime's `reportError`. */
  reportError?: ((error: unknown) => void) | undefined;
}

/** The events that the client itself fires, and what their listeners get. */
export interface ClientEvents {
  /** The server has welcomed the client, for the first time or again. */
  connected: { readonly clientId: string };
  /** A connection that was welcomed is gone. */
  disconnected: { readonly code: number; readonly reason: string };
  /** The next attempt begins in `delayMs`. */
  reconnecting: { readonly attempt: number; readonly delayMs: number };
  /** Something failed that no promise of the user's tells, or a listener threw. */
  error: Error;
  /** Name of a subscribed store that was deleted on the server. */
  storeDeleted: string;
}

/** Options of {@linkcode Client.call}. */
export interface CallOptions {
  /** Stops waiting for the answer. What was sent already may take effect all the same. */
  signal?: AbortSignal | undefined;
}

/**
 * One of any number of handles on a store; all of them on one client share one
 * replica and one subscription on the wire.
 *
 * The state is frozen deeply, and what two versions have in common is shared:
 * an object that is the same by `===` has not changed.
 */
export interface SubscriptionHandle<T> {
  /** Full name of the store. */
  readonly name: string;
  /**
   * Version of the state; undefined before the first. It counts mutations, and
   * begins again at a store that was deleted and made anew.
   */
  readonly version: number | undefined;
  /** When the state was last known to be the server's, in milliseconds since 1970. */
  readonly lastSyncedAt: number | undefined;
  /** False only while every change reaches this handle as it is made. */
  readonly isStale: boolean;
  /**
   * Resolves when there is a state. Rejects if the server cannot give one, if
   * the handle is unsubscribed or the client ends before. Nobody has to wait for it.
   */
  ready(): Promise<void>;
  /** The state; undefined before the first. */
  getState(): T | undefined;
  /** The state as the server has confirmed it. */
  getServerState(): T | undefined;
  /** True once there is a state; it stays, whatever happens to connection and store. */
  hasData(): boolean;
  /** Stops updates. The last state can still be read. */
  unsubscribe(): void;
}

/** A client of one server, or of many that serve the same stores. Made by `createClient()`. */
export interface Client extends Disposable {
  /** Where it stands. */
  readonly status: ClientStatus;
  /** Who it is to the server; undefined before the first welcome, then the same across reconnects. */
  readonly clientId: string | undefined;
  /** Calls without an answer yet. */
  readonly unackedCount: number;
  /**
   * Connects. While it is connected to that URL already, or on its way, nothing happens.
   *
   * @throws {TypeError} If the URL is none that a socket can be opened to, if the
   * client is connected to another, or the runtime has no `WebSocket`.
   * @throws {HeadwaterError} `closed` if the client was destroyed.
   */
  connect(url: string | URL): void;
  /** Resolves while or as soon as the server has welcomed the client; rejects when it stops trying. */
  ready(): Promise<void>;
  /**
   * Subscribes to a store, now or when it is connected.
   *
   * `onChange` gets each new state, the first included: once per message of the
   * server however many changes it brings, and never within this call.
   *
   * @throws {HeadwaterError} `bad_name` if the name cannot be a store's.
   */
  subscribe<T = unknown>(
    name: string,
    onChange?: (state: T) => void,
  ): SubscriptionHandle<T>;
  /**
   * Calls a function on the server. When the promise resolves, the caller's own
   * subscriptions show what the function changed.
   *
   * - Made offline it is sent later; after a loss it is sent again, and takes effect once.
   * - Calls leave in order, but the server may run them side by side.
   *
   * Rejects with a {@linkcode HeadwaterError} that has
   * - the message of the function's error, if it threw;
   * - `timeout` ("RPC timeout") or `disconnected` ("Disconnected"): it is not sent
   *   any more, and `outcome` says if it ever was;
   * - `unknown`, if it was sent and the server cannot tell any more what became of it;
   * - `limit` or `bad_value`: it was not sent.
   *
   * A call that fails with its connection or by its time-out is not reported as
   * an unhandled rejection where nobody looks.
   */
  call<R = unknown>(
    name: string,
    args?: unknown,
    options?: CallOptions,
  ): Promise<R>;
  /** Listens to what the client says about itself. Returns its undo. */
  on<K extends keyof ClientEvents>(
    channel: K,
    listener: (data: ClientEvents[K]) => void,
  ): () => void;
  /** Listens to events of the server: at most once each, in order. Returns its undo. */
  on<T = unknown>(channel: string, listener: (data: T) => void): () => void;
  /** Ends it for good: the socket, every timer, every subscription, every pending call. */
  destroy(): void;
  /** The same as {@linkcode Client.destroy}. */
  [Symbol.dispose](): void;
}
