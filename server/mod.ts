/**
 * The server half of Headwater: shared state that the server owns and everyone
 * sees. When run, it is a server with a start page.
 *
 * @example A store, a function, and a port
 * ```ts
 * import { createServer } from "@headwater/sync/server";
 *
 * const server = createServer({ kv: ":memory:" });
 * const counter = server.createStore("Counter", { count: 0 });
 * server.handle("counter.add", async ({ by }: { by: number }) => {
 *   const { value } = await counter.update((draft) => draft.count += by);
 *   return value;
 * });
 * await server.listen({ port: 0 });
 * await server.close();
 * ```
 *
 * @module
 */
import { runCli } from "../adapters/cli.ts";
import { denoPorts } from "../adapters/deno_ports.ts";
import type { App } from "../protocol/contract.ts";
import type { ServerOptions } from "./options.ts";
import { Server } from "./server.ts";

/**
 * Creates a server. Nothing is opened before it listens, answers a request or a
 * store is used.
 *
 * @example
 * ```ts
 * import { createServer } from "@headwater/sync/server";
 *
 * await using server = createServer({ kv: ":memory:" });
 * const todos = server.createStore("Todos", { items: [] as string[] });
 * await todos.update((draft) => void draft.items.push("Write it down"));
 * ```
 *
 * @throws {TypeError} if there is no such option or limit, or it is of another kind.
 * @throws {RangeError} if a limit is out of its range, or `kv` neither a path,
 * `":memory:"` nor an http(s) URL.
 */
export function createServer<A extends App = App>(
  options: ServerOptions<A> = {},
): Server<A> {
  return new Server(options, denoPorts());
}

export { Server } from "./server.ts";
export { DynamicStore } from "./stores/dynamic_store.ts";
export { StaticStore } from "./stores/static_store.ts";
export { StoreHandle } from "./stores/store_handle.ts";
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
export { DEFAULT_LIMITS } from "../protocol/limits.ts";

export type {
  Authenticate,
  Authenticated,
  ConnectionRequest,
  Credentials,
} from "./authentication.ts";
export type { EmitOptions } from "./event_audience.ts";
export type { Page } from "./http/routes.ts";
export type { Health } from "./http/routes.ts";
export type { CallContext } from "./call_context.ts";
export type { FunctionHandler, FunctionOptions } from "./functions.ts";
export type { ServerEvents, ServerListener } from "./lifecycle.ts";
export type {
  AttachOptions,
  ListenOptions,
  RequestInfo,
  ServerOptions,
} from "./options.ts";
export type {
  AccessRule,
  ContractStoreOptions,
  CreateHook,
  IdleHook,
  SelfDestruct,
  StoreOptions,
  TerminateHook,
} from "./stores/store_options.ts";
export type { CreateOptions, StoreOf } from "./stores/dynamic_store.ts";
export type { Written } from "./stores/change.ts";
export type { UpdateOptions } from "./stores/store_handle.ts";
export type {
  Transaction,
  TransactionChange,
  TransactionPart,
  TransactionStore,
} from "./transaction.ts";
export type { InterceptContext, Interceptor } from "./stores/intercept.ts";
export type { ViewContext } from "./stores/views.ts";
export type { AccessContext, Writer } from "./stores/writer.ts";
export type {
  HistoryEntry,
  HistoryPage,
  HistoryRange,
  Moment,
} from "./stores/history.ts";
export type { History } from "./log/compaction.ts";
export type {
  ConnectionInfo,
  HttpListener,
  HttpServer,
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
} from "./ports.ts";
export type {
  ErrorBody,
  ErrorCode,
  HeadwaterErrorOptions,
  Outcome,
} from "../protocol/errors.ts";
export type { Limits } from "../protocol/limits.ts";
export type { JsonPatchOperation } from "../protocol/json_patch.ts";
export type { Recipe } from "../protocol/draft.ts";
export type { Json } from "../protocol/value.ts";

if (import.meta.main) await runCli(createServer);
