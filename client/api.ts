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
  FullName,
  IfOpen,
  MutatorInput,
  MutatorStore,
  NameIn,
  PartOf,
  ResultOf,
  StateOf,
  StoreName,
} from "../protocol/contract_lookup.ts";
import type { Json } from "../protocol/json.ts";
import type { TokenSource } from "./credentials.ts";
import type { SubscriptionHandle } from "./handle_api.ts";
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "./write_options.ts";

/** Where a client stands, for people: `"closed"` means that it does not try any more. */
export type ClientStatus =
  | "idle"
  | "connecting"
  | "connected"
  | "reconnecting"
  | "closed";

/** The events that the client itself fires, and what their listeners get. */
export interface ClientEvents {
  /** {@linkcode Client.status} is another one; comes before what else tells of it. */
  status: ClientStatus;
  /** The server has welcomed the client, for the first time or again. */
  connected: { readonly clientId: string };
  /** A connection that was welcomed is gone. */
  disconnected: { readonly code: number; readonly reason: string };
  /**
   * The next attempt begins in `delayMs`. `cause` is why: the close code of the last
   * one, 1006 where there was none, and what was said about it, which may be nothing.
   */
  reconnecting: {
    readonly attempt: number;
    readonly delayMs: number;
    readonly cause: { readonly code: number; readonly reason: string };
  };
  /** Something failed that no promise of the user's tells, or a listener threw. */
  error: Error;
  /**
   * Name of a subscribed store that was deleted on the server. Its handles are over:
   * where it is made anew, another `subscribe()` follows that.
   */
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

/** Makes the next state of store `N` of contract `A`. */
export type GuessOf<A extends App, N> = (
  state: StateOf<A, N>,
) => StateOf<A, N>;

/**
 * {@linkcode CallOptions} where contract `A` says which stores there are: `S` is the one
 * that a single guess is about, `G` has the names of several.
 */
export type CallOptionsOf<A extends App, S, G> = [StoreName<A>] extends [never]
  ? CallOptions
  :
    & Pick<CallOptions, "signal">
    & (
      | { store: S; optimistic: GuessOf<A, S> }
      | {
        store?: undefined;
        optimistic?:
          | { readonly [N in keyof G]: GuessOf<A, N> }
          | undefined;
      }
    );

/** What mutator `N` of contract `A` is given: for all of a kind, which store is said, too. */
export type MutateArgs<A extends App, N extends keyof PartOf<A, "mutators">> =
  MutatorStore<A, N> extends infer P extends string
    ? P extends `${string}:*` ? [
        args: MutatorInput<A, N>,
        options: WriteOptions & { store: FullName<P> },
      ]
    : ArgsAndOptions<
      MutatorInput<A, N>,
      WriteOptions & { store?: P | undefined }
    >
    : never;

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
   * with `forbidden`, and is to be subscribed to again once the user may.
   *
   * Resolves when the server has taken it, which it may do at the next connection only;
   * at once where there is none and none is tried. It must belong to the same user: the
   * server closes the connection of who becomes another one, and for that a client ends
   * and another begins.
   *
   * Rejects if the server refuses the token, which ends the client's connection until
   * the next `setToken()`, which connects again, or {@linkcode Client.connect}; or with
   * what the function throws. A function is asked once more where what it gave is refused.
   *
   * @example Show a newer token, on the connection that there is
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({
   *   kv: ":memory:",
   *   authenticate: (_, { token }) => token === "spring" || token === "summer" ? { id: "ada" } : null,
   * });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`, { token: "spring" });
   * await client.ready();
   *
   * await client.setToken("summer");
   * await assert.rejects(client.setToken("winter"), /refuses this user/);
   * assert.equal(client.status, "closed");
   * await client.setToken("summer"); // connects again
   * assert.equal(client.status, "connected");
   *
   * client.destroy();
   * await server.close();
   * ```
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
   * A handle is over when the store is deleted, or its user may not see it any more:
   * it takes another `subscribe()` when there is something to see again.
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
   * - `timeout` ("RPC timeout", with what is missing where there is no connection) or `disconnected` ("Disconnected"): it is not sent
   *   any more, and `outcome` says if it ever was;
   * - `unknown`, if it was sent and the server cannot tell any more what became of it;
   * - `limit` or `bad_value`: it was not sent.
   *
   * A call that fails with its connection or by its time-out is not reported as
   * an unhandled rejection where nobody looks.
   */
  call<R = unknown, S extends StoreName<A> = StoreName<A>, G = unknown>(
    name: IfOpen<A, "functions", string>,
    args?: unknown,
    options?: CallOptionsOf<A, S, G>,
  ): Promise<R>;
  /** Calls a function of the contract with options: see {@linkcode CallOptions}. */
  // Above the next one, which would have the compiler forget what a guess is given.
  call<N extends NameIn<A, "functions">, S extends StoreName<A>, G>(
    name: N,
    args: ArgsInput<A, N>,
    options: CallOptionsOf<A, S, G>,
  ): Promise<ResultOf<A, N>>;
  /**
   * Calls a function of the contract. What its schemas refuse, the server does: the
   * call rejects with `invalid`, and the path of what is wrong.
   */
  call<N extends NameIn<A, "functions">>(
    name: N,
    ...given: ArgsAndOptions<ArgsInput<A, N>, Pick<CallOptions, "signal">>
  ): Promise<ResultOf<A, N>>;
  /**
   * Runs a mutator of the contract: here at once, on top of what is shown, and on the
   * server, which decides. Like a write by a recipe it is queued while offline.
   *
   * @throws {HeadwaterError} `function_missing` if the contract has no such mutator,
   * `invalid` if its schema refuses the arguments.
   * @throws {TypeError} If the mutator is for all of a kind, and no store is named.
   *
   * @example Show at once what the server decides
   * ```ts
   * import { createClient, defineApp } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const app = defineApp({
   *   stores: { "Room:*": { initial: { lines: [] as string[] } } },
   *   mutators: {
   *     say: {
   *       store: "Room:*",
   *       run: (room, line: string) => void room.lines.push(line),
   *     },
   *   },
   * });
   * const server = createServer({ kv: ":memory:", app });
   * server.createStore("Room:*", { write: true });
   * await server.listen({ port: 0 });
   *
   * const client = createClient(`ws://localhost:${server.port}`, { app });
   * await client.mutate("say", "Hello", { store: "Room:1" });
   * assert.deepEqual(await server.store("Room:1")?.get(), { lines: ["Hello"] });
   *
   * client.destroy();
   * await server.close();
   * ```
   */
  mutate(
    name: IfOpen<A, "mutators", string>,
    args?: unknown,
    options?: MutateOptions,
  ): Promise<ClientWritten>;
  /** Runs a mutator of the contract, by its name there. */
  mutate<N extends NameIn<A, "mutators">>(
    name: N,
    ...given: MutateArgs<A, N>
  ): Promise<ClientWritten>;
  /**
   * Has all writes that `run` makes, to whichever stores, take effect together or not
   * at all: at most 100. Resolves when they are committed.
   *
   * @throws {TypeError} If `run` returns a promise; what it throws passes through. Then
   * nothing of it is written.
   *
   * @example Move one from here to there, or not at all
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({ kv: ":memory:" });
   * server.createStore("Here", { n: 1 }, { write: true });
   * server.createStore("There", { n: 0 }, { write: true });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`);
   * const here = client.subscribe<{ n: number }>("Here");
   * const there = client.subscribe<{ n: number }>("There");
   * await Promise.all([here.ready(), there.ready()]);
   *
   * await client.batch(() => {
   *   here.update((draft) => void draft.n--);
   *   there.update((draft) => void draft.n++);
   * });
   * assert.deepEqual([here.getState(), there.getState()], [{ n: 0 }, { n: 1 }]);
   *
   * client.destroy();
   * await server.close();
   * ```
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
