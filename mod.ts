/**
 * Headwater: shared state that the server owns and everyone sees. The names of
 * both halves; `./server` and `./client` have each alone.
 *
 * @module
 */
export {
  createServer,
  DEFAULT_LIMITS,
  DynamicStore,
  Server,
  StaticStore,
  StoreHandle,
} from "./server/mod.ts";
export { createClient, HeadwaterError, LimitError } from "./client/mod.ts";

export type {
  CallContext,
  CreateHook,
  FunctionHandler,
  FunctionOptions,
  Health,
  History,
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
  Limits,
  ListenOptions,
  Page,
  Recipe,
  RequestInfo,
  ServerOptions,
  StoreOptions,
  TerminateHook,
  Written,
} from "./server/mod.ts";
export type {
  CallOptions,
  Client,
  ClientClock,
  ClientEvents,
  ClientOptions,
  ClientStatus,
  ClientTimer,
  ErrorBody,
  ErrorCode,
  HeadwaterErrorOptions,
  Json,
  Outcome,
  SubscriptionHandle,
  WebSocketClass,
  WebSocketLike,
} from "./client/mod.ts";
