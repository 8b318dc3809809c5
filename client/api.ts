/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What users see of a client. This module is browser compatible.
 *
 * @module
 */
import type { App } from "../protocol/contract.ts";
import type {
  ArgsAndOptions,
  ArgsInput,
  EventOf,
  IfOpen,
  MutatorInput,
  NameIn,
  ResultOf,
  StateOf,
  StoreName,
} from "../protocol/contract_lookup.ts";
import type { Json } from "../protocol/value.ts";
import type { TokenSource } from "./credentials.ts";
import type { ClientClock, WebSocketClass } from "./environment.ts";
import type { ClientStorage } from "./storage.ts";
import type { ClientWritten, WritePolicy } from "./write_request.ts";

import type { ListenerOptions } from "./state_listeners.ts";

export type { ClientWritten, ListenerOptions, WritePolicy };

/** Where a client stands, for people: `"closed"` means that it does not try any more. */
export type ClientStatus =
  | "idle"
  | "connecting"
  | "connected"
  | "reconnecting"
  | "closed";

/** Options of `createClient()`. */
export interface ClientOptions<A extends App = App> {
  /**
   * The contract of the application, made by `defineApp`. A client that needs its
   * types alone names them instead: `createClient<typeof app>(url)`.
   */
  app?: A | undefined;
  /**
   * What shows the server who is behind the client: its `authenticate` gets it. A
   * function is asked at each connection; where it fails, the connection is tried again.
   */
  token?: TokenSource | undefined;
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
  /**
   * Where writes that are not answered yet, and the last states, outlive the page: the
   * next client with the same storage shows them at once, offline too, and sends what
   * was not sent. Two clients at once, as of two tabs: one of them keeps, the other takes
   * over when that has gone, and keeps nothing until then.
   *
   * - What was sent and not answered is sent again under its number: it applies once.
   * - A mutator is run again, by its name. A recipe cannot be kept: its write is sent as
   *   the patch that it has made, and refused with `conflict` if others have changed the
   *   same meanwhile.
   * - Failures of such writes fire `error`. Calls are not kept.
   * - What is over `storage.maxBytes` is not kept, and a storage that fails is given up;
   *   either is told by `error`, once.
   *
   * Use one for each server and user: `handle.getState()` shows what was kept before the
   * server is asked.
   */
  storage?: ClientStorage | undefined;
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
  /**
   * Stops waiting for the answer. What was sent already may take effect all the same;
   * the server is told, and the function's own signal fires.
   */
  signal?: AbortSignal | undefined;
  /** The store that `optimistic` is about, where that is one function. */
  store?: string | undefined;
  /**
   * What the call will make of a store, as far as can be told: given the state, it
   * returns the next one, and leaves the old as it is. It is shown at once, on top of
   * what the server sends, until the version that contains the call's effect has come,
   * or the call has failed. For several stores: a function for each, by name. Stores
   * of which there is no state here are passed over.
   */
  optimistic?: Guess | Readonly<Record<string, Guess>> | undefined;
}

/** Makes the next state of a store; its author knows the state's shape. */
export type Guess = (state: never) => unknown;

/** How a write is made. */
export interface WriteOptions {
  /**
   * What happens if others have written meanwhile.
   *
   * - `"rebase"`: where they wrote to the same place, the write is made again on top.
   * - `"expectVersion"`: it is refused by `conflict`, with the present `{ version }` as
   *   the error's data, and this client has that version already.
   *
   * @default {"rebase"}
   */
  policy?: WritePolicy | undefined;
}

/** How a mutator is run. */
export interface MutateOptions extends WriteOptions {
  /** Full name of the store, where the mutator is for all of a kind, such as `"Room:*"`. */
  store?: string | undefined;
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
   * Resolves when there is a state; without a server it waits for ever, as
   * {@linkcode Client.ready} does. Rejects if the server cannot give one, if
   * the handle is unsubscribed or the client ends before. Nobody has to wait for it.
   */
  ready(): Promise<void>;
  /**
   * Resolves with the reason when nothing can come any more: the store was deleted or
   * may not be seen, the handle is unsubscribed or the client destroyed. What failed
   * for now alone, as a store that could not be read, is tried again instead.
   */
  ended(): Promise<Error>;
  /** The state; undefined before the first. */
  getState(): T | undefined;
  /** The state as the server has confirmed it. */
  getServerState(): T | undefined;
  /** True once there is a state; it stays, whatever happens to connection and store. */
  hasData(): boolean;
  /**
   * Changes the state by a recipe on a draft, where the store lets clients write. It
   * shows at once, is sent in order, now or when there is a connection again, and the
   * promise resolves when it is committed.
   *
   * - The recipe is synchronous. It runs again if others wrote to the same place.
   * - A write that is refused is taken back; the promise rejects, and the client fires
   *   `error`. Nobody has to wait for the promise.
   * - Writes have no time-out; `unackedCount` tells how many wait.
   *
   * @throws {HeadwaterError} `refused` if there is no state yet, `bad_value` for what
   * cannot be shared, `limit` if too many wait; then nothing is written.
   * @throws {TypeError} If the recipe is no function, or returns a promise.
   */
  update(
    recipe: (draft: T) => unknown,
    options?: WriteOptions,
  ): Promise<ClientWritten>;
  /** Replaces the whole state; see {@linkcode SubscriptionHandle.update}. */
  set(state: T, options?: WriteOptions): Promise<ClientWritten>;
  /**
   * Gives some of the state's properties other values, and removes those that are
   * undefined; see {@linkcode SubscriptionHandle.update}.
   */
  merge(partial: Partial<T>, options?: WriteOptions): Promise<ClientWritten>;
  /** Whether there is a change of this client's that can be taken back. */
  readonly canUndo: boolean;
  /** Whether one was taken back, and nothing written here since. */
  readonly canRedo: boolean;
  /**
   * Takes the last change back that this client has written to the store, by its
   * handles, mutators and batches, as a write of its own: what others wrote since
   * stays. Items of arrays are found again where they are now, by their `id` or their
   * value. Resolves when it is committed; at once, with undefined, where there is none.
   *
   * @throws {HeadwaterError} `conflict` if others have changed the same since.
   */
  undo(): Promise<ClientWritten | undefined>;
  /** Makes the change again that {@linkcode SubscriptionHandle.undo} took back last. */
  redo(): Promise<ClientWritten | undefined>;
  /**
   * Listens to changes of what `selector` makes of the state, with its value now and
   * before. See below.
   */
  listen<S>(
    id: string,
    listener: (selected: S, previous: S | undefined) => void,
    options: ListenerOptions<T, S> & { selector: (state: T) => S },
  ): () => void;
  /**
   * Listens to changes of the state's properties, all or those that are named: gets
   * those that have changed, with their values now and before (undefined where there
   * is or was none). Like `onChange` it is called once per message of the server, and
   * for this client's own writes. A listener with the same `id` on this handle is
   * replaced. Returns its undo.
   */
  listen(
    id: string,
    listener: (changed: Partial<T>, previous: Partial<T>) => void,
    options?: { properties?: readonly (keyof T & string)[] | undefined },
  ): () => void;
  /** Removes the listener with that id; returns whether there was one. */
  unlisten(id: string): boolean;
  /** Stops updates. The last state can still be read. */
  unsubscribe(): void;
}

/**
 * A client of one server, or of many that serve the same stores. Made by
 * `createClient()`. `A` is the contract of the application; without one, names are
 * free and types are the caller's.
 */
// Not App: code that knows of no contract is to take a client of any.
// deno-lint-ignore no-explicit-any
export interface Client<A extends App = any> extends Disposable {
  /** Where it stands. */
  readonly status: ClientStatus;
  /** Who it is to the server; undefined before the first welcome, then the same across reconnects. */
  readonly clientId: string | undefined;
  /**
   * Who the server says is behind it, as of its last welcome; null where it does not
   * ask, or has not welcomed it yet.
   */
  readonly user: Json;
  /** Calls and writes without an answer yet. */
  readonly unackedCount: number;
  /**
   * Connects. While it is connected to that URL already, or on its way, nothing happens.
   *
   * @throws {TypeError} If the URL is none that a socket can be opened to, if the
   * client is connected to another, or the runtime has no `WebSocket`.
   * @throws {HeadwaterError} `closed` if the client was destroyed.
   */
  connect(url: string | URL): void;
  /**
   * Shows the server another token, on the connection that there is and on each one
   * after it. Subscriptions and calls go on; what the user may not see any more fails
   * with `forbidden`.
   *
   * Resolves when the server has taken it, which it may do at the next connection only;
   * at once where there is none and none is tried. It must belong to the same user: the
   * server closes the connection of who becomes another one, and for that a client ends
   * and another begins.
   *
   * Rejects if the server refuses the token, which ends the client's connection for
   * good until the next {@linkcode Client.connect}, or with what the function throws.
   */
  setToken(token: TokenSource): Promise<void>;
  /**
   * Resolves while or as soon as the server has welcomed the client; rejects when it
   * stops trying. Where no server answers it waits for ever, as the client goes on
   * trying: the event `reconnecting` tells of each attempt.
   */
  ready(): Promise<void>;
  /**
   * Subscribes to a store, now or when it is connected.
   *
   * `onChange` gets each new state, the first included: once per message of the
   * server however many changes it brings, and never within this call.
   *
   * @throws {HeadwaterError} `bad_name` if the name cannot be a store's.
   * @throws {TypeError} If `onChange` is no function.
   */
  subscribe<T = unknown>(
    name: IfOpen<A, "stores", string>,
    onChange?: (state: T) => void,
  ): SubscriptionHandle<T>;
  /** Subscribes to a store of the contract, by its full name, such as `"Room:42"`. */
  subscribe<N extends StoreName<A>>(
    name: N,
    onChange?: (state: StateOf<A, N>) => void,
  ): SubscriptionHandle<StateOf<A, N>>;
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
    name: IfOpen<A, "functions", string>,
    args?: unknown,
    options?: CallOptions,
  ): Promise<R>;
  /**
   * Calls a function of the contract. What its schemas refuse, the server does: the
   * call rejects with `invalid`, and the path of what is wrong.
   */
  call<N extends NameIn<A, "functions">>(
    name: N,
    ...given: ArgsAndOptions<ArgsInput<A, N>, CallOptions>
  ): Promise<ResultOf<A, N>>;
  /**
   * Runs a mutator of the contract: here at once, on top of what is shown, and on the
   * server, which decides. Like a write by a recipe it is queued while offline.
   *
   * @throws {HeadwaterError} `function_missing` if the contract has no such mutator,
   * `invalid` if its schema refuses the arguments.
   * @throws {TypeError} If the mutator is for all of a kind, and no store is named.
   */
  mutate(
    name: IfOpen<A, "mutators", string>,
    args?: unknown,
    options?: MutateOptions,
  ): Promise<ClientWritten>;
  /** Runs a mutator of the contract, by its name there. */
  mutate<N extends NameIn<A, "mutators">>(
    name: N,
    ...given: ArgsAndOptions<MutatorInput<A, N>, MutateOptions>
  ): Promise<ClientWritten>;
  /**
   * Has all writes that `run` makes, to whichever stores, take effect together or not
   * at all: at most 100. Resolves when they are committed.
   *
   * @throws {TypeError} If `run` returns a promise; what it throws passes through. Then
   * nothing of it is written.
   */
  batch(run: () => void, options?: WriteOptions): Promise<void>;
  /** Listens to what the client says about itself. Returns its undo. */
  on<K extends keyof ClientEvents>(
    channel: K,
    listener: (data: ClientEvents[K]) => void,
  ): () => void;
  /** Listens to events of the server: at most once each, in order. Returns its undo. */
  on<T = unknown>(
    channel: IfOpen<A, "events", string>,
    listener: (data: T) => void,
  ): () => void;
  /** Listens to an event of the contract. */
  on<N extends NameIn<A, "events">>(
    channel: N,
    listener: (data: EventOf<A, N>) => void,
  ): () => void;
  /**
   * Ends it for good: the socket, every timer, every subscription, every pending call.
   * Writes that are not answered stay in the `storage`, if there is one.
   */
  destroy(): void;
  /** The same as {@linkcode Client.destroy}. */
  [Symbol.dispose](): void;
}
