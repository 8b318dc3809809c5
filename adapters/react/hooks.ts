/**
 * The hooks with the types of a contract. This module is browser compatible.
 *
 * @module
 */
import type {
  App,
  ArgsAndOptions,
  ArgsInput,
  CallOptions,
  Client,
  ClientEvents,
  ClientStatus,
  ClientWritten,
  EventOf,
  IfOpen,
  MutateArgs,
  NameIn,
  ResultOf,
  StateOf,
  StoreName,
} from "../../client/mod.ts";
import { HeadwaterProvider, type HeadwaterProviderProps } from "./provider.ts";
import type { ReactNode } from "./react.ts";
import type { StoreView } from "./store_view.ts";
import { type CallView, useCall, type UseCallOptions } from "./use_call.ts";
import { useClient, useEvent, useStatus } from "./use_status.ts";
import { useStore, useStoreData } from "./use_store.ts";
import {
  type Mutate,
  type Update,
  useMutation,
  useUpdate,
} from "./use_write.ts";

/** `useStore` for a contract; see {@linkcode useStore}. */
export interface UseStore<A extends App> {
  /** A store, where the contract leaves names free. */
  <T = unknown>(name: IfOpen<A, "stores", string>): StoreView<T>;
  /** A part of a store, where the contract leaves names free. */
  <T, S>(
    name: IfOpen<A, "stores", string>,
    selector: (state: T) => S,
    equals?: (a: S, b: S) => boolean,
  ): StoreView<S>;
  /** A store of the contract. */
  <N extends StoreName<A>>(name: N): StoreView<StateOf<A, N>>;
  /** A part of a store of the contract. */
  <N extends StoreName<A>, S>(
    name: N,
    selector: (state: StateOf<A, N>) => S,
    equals?: (a: S, b: S) => boolean,
  ): StoreView<S>;
}

/** `useStoreData` for a contract; see {@linkcode useStoreData}. */
export interface UseStoreData<A extends App> {
  /** A store, where the contract leaves names free. */
  <T = unknown>(name: IfOpen<A, "stores", string>): T;
  /** A part of a store, where the contract leaves names free. */
  <T, S>(
    name: IfOpen<A, "stores", string>,
    selector: (state: T) => S,
    equals?: (a: S, b: S) => boolean,
  ): S;
  /** A store of the contract. */
  <N extends StoreName<A>>(name: N): StateOf<A, N>;
  /** A part of a store of the contract. */
  <N extends StoreName<A>, S>(
    name: N,
    selector: (state: StateOf<A, N>) => S,
    equals?: (a: S, b: S) => boolean,
  ): S;
}

/** `useUpdate` for a contract; see {@linkcode useUpdate}. */
export interface UseUpdate<A extends App> {
  /** A store, where the contract leaves names free. */
  <T = unknown>(name: IfOpen<A, "stores", string>): Update<T>;
  /** A store of the contract. */
  <N extends StoreName<A>>(name: N): Update<StateOf<A, N>>;
}

/** `useMutation` for a contract; see {@linkcode useMutation}. */
export interface UseMutation<A extends App> {
  /** A mutator, where the contract leaves names free. */
  (name: IfOpen<A, "mutators", string>): Mutate;
  /** A mutator of the contract. */
  <N extends NameIn<A, "mutators">>(
    name: N,
  ): (...given: MutateArgs<A, N>) => Promise<ClientWritten>;
}

/** Options of `useCall` for a contract; see {@linkcode UseCallOptions}. */
export interface ContractCallOptions<A extends App, Args> {
  /** Makes the next state of each store out of the present one and the arguments. */
  readonly optimistic?:
    | (StoreName<A> extends never
      ? Readonly<Record<string, (state: never, args: Args) => unknown>>
      : {
        readonly [S in StoreName<A>]?: (
          state: StateOf<A, S>,
          args: Args,
        ) => StateOf<A, S>;
      })
    | undefined;
}

/** `useCall` for a contract; see {@linkcode useCall}. */
export interface UseCall<A extends App> {
  /** A function, where the contract leaves names free. */
  <R = unknown>(
    name: IfOpen<A, "functions", string>,
    options?: UseCallOptions,
  ): CallView<[args?: unknown, options?: CallOptions], R>;
  /** A function of the contract. */
  <N extends NameIn<A, "functions">>(
    name: N,
    options?: ContractCallOptions<A, ArgsInput<A, N>>,
  ): CallView<ArgsAndOptions<ArgsInput<A, N>, CallOptions>, ResultOf<A, N>>;
}

/** `useEvent` for a contract; see {@linkcode useEvent}. */
export interface UseEvent<A extends App> {
  /** An event of the client itself. */
  <K extends keyof ClientEvents>(
    channel: K,
    listener: (data: ClientEvents[K]) => void,
  ): void;
  /** An event, where the contract leaves names free. */
  <T = unknown>(
    channel: IfOpen<A, "events", string>,
    listener: (data: T) => void,
  ): void;
  /** An event of the contract. */
  <N extends NameIn<A, "events">>(
    channel: N,
    listener: (data: EventOf<A, N>) => void,
  ): void;
}

/** What {@linkcode createHooks} gives. */
export interface Hooks<A extends App> {
  /** See {@linkcode HeadwaterProvider}. */
  readonly HeadwaterProvider: (props: HeadwaterProviderProps<A>) => ReactNode;
  /** See {@linkcode useClient}. */
  readonly useClient: () => Client<A>;
  /** See {@linkcode useStore}. */
  readonly useStore: UseStore<A>;
  /** See {@linkcode useStoreData}. */
  readonly useStoreData: UseStoreData<A>;
  /** See {@linkcode useUpdate}. */
  readonly useUpdate: UseUpdate<A>;
  /** See {@linkcode useMutation}. */
  readonly useMutation: UseMutation<A>;
  /** See {@linkcode useCall}. */
  readonly useCall: UseCall<A>;
  /** See {@linkcode useEvent}. */
  readonly useEvent: UseEvent<A>;
  /** See {@linkcode useStatus}. */
  readonly useStatus: () => ClientStatus;
}

/**
 * Gives the provider and the hooks the types of a contract; they are the same at run
 * time. Names, arguments and states that the contract does not have do not compile.
 *
 * @example Hooks of an application
 * ```tsx
 * import { defineApp } from "@headwater/sync/client";
 * import { createHooks } from "@headwater/sync/react";
 *
 * const app = defineApp({ stores: { Counter: { initial: { count: 0 } } } });
 * const { HeadwaterProvider, useStore } = createHooks<typeof app>();
 *
 * function Count() {
 *   const { data } = useStore("Counter", (counter) => counter.count); // a number
 *   return <p>{data ?? "…"}</p>;
 * }
 *
 * export function Page() {
 *   return (
 *     <HeadwaterProvider url="ws://localhost:4400">
 *       <Count />
 *     </HeadwaterProvider>
 *   );
 * }
 * ```
 */
export function createHooks<A extends App>(): Hooks<A> {
  const hooks = {
    HeadwaterProvider,
    useClient,
    useStore,
    useStoreData,
    useUpdate,
    useMutation,
    useCall,
    useEvent,
    useStatus,
  };
  // The contract is the caller's claim about the server: nothing here depends on it.
  return hooks as unknown as Hooks<A>;
}
