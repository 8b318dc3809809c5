/**
 * The client: subscribes to stores, calls functions, listens to events. This
 * module is browser compatible; on Node before 22 give it the `WebSocket` of the
 * package `ws`.
 *
 * @module
 */
export { createClient } from "./create_client.ts";
export type {
  CallOptions,
  CallOptionsOf,
  Client,
  ClientEvents,
  ClientStatus,
  Guess,
  GuessOf,
  MutateArgs,
} from "./api.ts";
export type { ClientLimits, ClientOptions } from "./client_options.ts";
export type { SubscriptionHandle } from "./handle_api.ts";
export type { ListenerOptions } from "./state_listeners.ts";
export type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
  WritePolicy,
} from "./write_options.ts";
export type { TokenSource } from "./credentials.ts";
export type { ClientStorage } from "./storage.ts";
export type {
  ClientClock,
  ClientTimer,
  WebSocketClass,
  WebSocketLike,
} from "./environment.ts";
export { defineApp } from "../protocol/contract.ts";
export type {
  AnyMutator,
  App,
  FittingStores,
  FunctionContract,
  MutatorContext,
  MutatorContract,
  MutatorsOf,
  StateIn,
  StateInput,
  StateRules,
  StoreContract,
} from "../protocol/contract.ts";
export type {
  ArgsAndOptions,
  ArgsInput,
  ArgsOf,
  Covering,
  EventInput,
  EventOf,
  FullName,
  IfOpen,
  MutatorInput,
  MutatorStore,
  NameIn,
  Narrowest,
  PartOf,
  PatternOf,
  PresenceOf,
  ResultInput,
  ResultOf,
  StateOf,
  StoreName,
} from "../protocol/contract_lookup.ts";
export type {
  InputOf,
  OutputOf,
  Schema,
  SchemaIssue,
  SchemaResult,
} from "../protocol/schema.ts";
export { HeadwaterError, LimitError } from "../protocol/errors.ts";
export type {
  ErrorBody,
  ErrorCode,
  HeadwaterErrorOptions,
  Outcome,
} from "../protocol/errors.ts";
export type { Json } from "../protocol/value.ts";
