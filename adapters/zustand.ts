/**
 * Stores in Zustand 5: one Zustand store that mirrors many, or one for each. Needs no
 * package itself; yours is the Zustand store. This module is browser compatible.
 *
 * @module
 */
import type {
  App,
  Client,
  ClientStatus,
  ClientWritten,
  IfOpen,
  StateOf,
  StoreName,
  SubscriptionHandle,
  WriteOptions,
} from "../client/mod.ts";
import { watchStatus } from "./status_watch.ts";

// What the names below show, so that a module needs no other import for its types.
export type {
  AnyMutator,
  App,
  ArgsAndOptions,
  ArgsInput,
  CallOptions,
  CallOptionsOf,
  Client,
  ClientEvents,
  ClientStatus,
  ClientWritten,
  Covering,
  EventOf,
  FullName,
  FunctionContract,
  Guess,
  GuessOf,
  IfOpen,
  InputOf,
  Json,
  ListenerOptions,
  MutateArgs,
  MutateOptions,
  MutatorContext,
  MutatorInput,
  MutatorStore,
  NameIn,
  Narrowest,
  OutputOf,
  PartOf,
  PatternOf,
  ResultOf,
  Schema,
  SchemaIssue,
  SchemaResult,
  StateIn,
  StateOf,
  StateRules,
  StoreContract,
  StoreName,
  SubscriptionHandle,
  TokenSource,
  WriteOptions,
  WritePolicy,
} from "../client/mod.ts";

/** What {@linkcode bindZustand} keeps in a Zustand store. */
export interface Mirror<States> {
  /** Where the client stands. */
  readonly status: ClientStatus;
  /** The states of the stores by full name; of those that are here already. */
  readonly stores: States;
}

/** The states of the stores `N` of a contract, as far as they are here. */
export type MirroredStates<A extends App, N extends StoreName<A>> = {
  readonly [K in N]?: StateOf<A, K>;
};

/** The part of a Zustand store that {@linkcode bindZustand} uses. */
export interface MirrorStore<States> {
  /** What it holds. */
  getState(): Mirror<States>;
  /** Changes some of it. */
  setState(change: Partial<Mirror<States>>): void;
}

/** Options of {@linkcode bindZustand}. */
export interface BindOptions<N extends string> {
  /** Full names of the stores to mirror. */
  readonly stores: readonly N[];
}

/**
 * Mirrors a client's status, and the states of some of its stores, in one Zustand store
 * of the shape `{ status, stores: { [name]: state } }`. Bind again for further stores.
 *
 * Writes go through the client, not through `setState`: what shows is the server's, with
 * what waits here on top. Returns the undo; what the Zustand store holds then stays.
 *
 * @example Two stores in one
 * ```ts
 * import { createClient } from "@headwater/sync/client";
 * import { createServer } from "@headwater/sync/server";
 * import { bindZustand, type Mirror } from "@headwater/sync/zustand";
 * import assert from "node:assert/strict";
 * import { createStore } from "zustand/vanilla"; // or `create` of "zustand", in React
 *
 * const server = createServer({ kv: ":memory:" });
 * server.createStore("Todos", { items: ["Ship it"] });
 * server.createStore("Config", { theme: "dark" });
 * await server.listen({ port: 0 });
 *
 * interface States {
 *   readonly Todos?: { items: string[] };
 *   readonly Config?: { theme: string };
 * }
 * const useStore = createStore<Mirror<States>>(() => ({ status: "idle", stores: {} }));
 * const client = createClient(`ws://localhost:${server.port}`);
 * const off = bindZustand(useStore, client, { stores: ["Todos", "Config"] });
 *
 * const { promise: both, resolve } = Promise.withResolvers<void>();
 * useStore.subscribe(({ stores }) => {
 *   if (stores.Todos && stores.Config) resolve();
 * });
 * await both;
 * assert.deepEqual(useStore.getState(), {
 *   status: "connected",
 *   stores: { Todos: { items: ["Ship it"] }, Config: { theme: "dark" } },
 * });
 *
 * off();
 * client.destroy();
 * await server.close();
 * ```
 *
 * @throws {HeadwaterError} `bad_name` if a name cannot be a store's.
 */
export function bindZustand<States extends object, A extends App = App>(
  useStore: MirrorStore<States>,
  client: Client<A>,
  options: BindOptions<IfOpen<A, "stores", keyof States & string>>,
): () => void;
/** Mirrors stores of a contract. */
export function bindZustand<A extends App, N extends StoreName<A>>(
  useStore: MirrorStore<MirroredStates<A, N>>,
  client: Client<A>,
  options: BindOptions<N>,
): () => void;
export function bindZustand(
  useStore: MirrorStore<object>,
  client: Client,
  { stores }: BindOptions<string>,
): () => void {
  const show = (name: string, state: unknown) => {
    const { stores } = useStore.getState();
    useStore.setState({ stores: { ...stores, [name]: state } });
  };
  const showStatus = () => {
    const { status } = client;
    if (status !== useStore.getState().status) useStore.setState({ status });
  };
  const handles: SubscriptionHandle<unknown>[] = [];
  const unwatch = watchStatus(client, showStatus);
  const off = () => {
    unwatch();
    for (const handle of handles) handle.unsubscribe();
  };
  try {
    for (const name of stores) {
      handles.push(client.subscribe(name, (state) => show(name, state)));
    }
  } catch (error) {
    off();
    throw error;
  }
  showStatus();
  return off;
}

/** What a Zustand store made with {@linkcode headwater} holds. */
export interface StoreSlice<T> {
  /** The state; undefined before the first. */
  readonly data: T | undefined;
  /** Why there is none, or no other will come; see `SubscriptionHandle.ended`. */
  readonly error: Error | undefined;
  /** Writes by a recipe; see `SubscriptionHandle.update`. */
  readonly update: (
    recipe: (draft: T) => unknown,
    options?: WriteOptions,
  ) => Promise<ClientWritten>;
  /** Stops it. */
  readonly unsubscribe: () => void;
}

/** Makes the state of a Zustand store; for `create` of Zustand, or within a middleware. */
export type SliceCreator<T> = (
  set: (change: (slice: StoreSlice<T>) => StoreSlice<T>) => void,
) => StoreSlice<T>;

/**
 * Makes a Zustand store of one store: `create(headwater(client, "Todos"))`.
 *
 * @example One store, with its writes
 * ```ts
 * import { createClient } from "@headwater/sync/client";
 * import { createServer } from "@headwater/sync/server";
 * import { headwater } from "@headwater/sync/zustand";
 * import assert from "node:assert/strict";
 * import { createStore } from "zustand/vanilla"; // or `create` of "zustand", in React
 *
 * const server = createServer({ kv: ":memory:" });
 * server.createStore("Todos", { items: [] as string[] }, { write: true });
 * await server.listen({ port: 0 });
 *
 * const client = createClient(`ws://localhost:${server.port}`);
 * const useTodos = createStore(headwater<{ items: string[] }>(client, "Todos"));
 * const { promise: here, resolve } = Promise.withResolvers<void>();
 * useTodos.subscribe(({ data }) => data && resolve());
 * await here;
 *
 * const { update, unsubscribe } = useTodos.getState();
 * await update((draft) => void draft.items.push("Ship it")); // shows at once
 * assert.deepEqual(useTodos.getState().data, { items: ["Ship it"] });
 *
 * unsubscribe();
 * client.destroy();
 * await server.close();
 * ```
 *
 * @throws {HeadwaterError} `bad_name` if the name cannot be a store's.
 */
export function headwater<T = unknown, A extends App = App>(
  client: Client<A>,
  name: IfOpen<A, "stores", string>,
): SliceCreator<T>;
/** Makes a Zustand store of one store of a contract. */
export function headwater<A extends App, N extends StoreName<A>>(
  client: Client<A>,
  name: N,
): SliceCreator<StateOf<A, N>>;
export function headwater<T>(client: Client, name: string): SliceCreator<T> {
  return (change) => {
    const set = (news: Partial<StoreSlice<T>>) =>
      change((slice) => ({ ...slice, ...news }));
    const handle = client.subscribe<T>(
      name,
      (data) => set({ data, error: undefined }),
    );
    const failed = (error: Error) => set({ error });
    let isOn = true;
    void handle.ended().then((error) => {
      if (isOn) failed(error);
    });
    handle.ready().catch((error) => {
      if (isOn) failed(error);
    });
    return {
      data: handle.getState(),
      error: undefined,
      update(recipe, options) {
        const written = handle.update(recipe, options);
        // Not a moment later: the cursor of an input with this text would jump.
        const data = handle.getState();
        if (data !== undefined) set({ data });
        return written;
      },
      unsubscribe() {
        isOn = false;
        handle.unsubscribe();
      },
    };
  };
}
