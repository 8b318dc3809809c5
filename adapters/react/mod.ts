/**
 * Headwater in React 19: a provider, and hooks for stores, writes, functions, events
 * and the client's status. Needs the package `react`. This module is browser
 * compatible.
 *
 * @module
 */
"use client"; // where components are told apart, these are none of a server's

export { createHooks } from "./hooks.ts";
export type {
  ContractCallOptions,
  Hooks,
  UseCall,
  UseEvent,
  UseMutation,
  UseStore,
  UseStoreData,
  UseUpdate,
} from "./hooks.ts";
export { HeadwaterProvider } from "./provider.ts";
export type { HeadwaterProviderProps, StatesOf } from "./provider.ts";
export type { StoreView } from "./store_view.ts";
export { useCall } from "./use_call.ts";
export type { CallView, UseCallOptions } from "./use_call.ts";
export { useClient, useEvent, useStatus } from "./use_status.ts";
export { useStore, useStoreData } from "./use_store.ts";
export { useMutation, useUpdate } from "./use_write.ts";
export type { Mutate, Update } from "./use_write.ts";

// What the names above show, so that a component needs no other import for its types.
export type {
  AnyMutator,
  App,
  ArgsAndOptions,
  ArgsInput,
  CallOptions,
  CallOptionsOf,
  Client,
  ClientClock,
  ClientEvents,
  ClientLimits,
  ClientOptions,
  ClientStatus,
  ClientStorage,
  ClientTimer,
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
  WebSocketClass,
  WebSocketLike,
  WriteOptions,
  WritePolicy,
} from "../../client/mod.ts";
