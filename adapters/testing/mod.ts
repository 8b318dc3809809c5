/**
 * A test kit for applications: the real server and client in one process, on
 * virtual time, over a simulated network and KV, all of it decided by a seed.
 *
 * @example A call that is made in a tunnel takes effect once
 * ```ts
 * import { createSimulation } from "@headwater/sync/testing";
 * import assert from "node:assert/strict";
 *
 * await using simulation = createSimulation({ seed: 1 });
 * await simulation.startServer((server) => {
 *   const todos = server.createStore("Todos", { items: [] as string[] });
 *   server.handle("todos.add", async ({ text }: { text: string }) => {
 *     await todos.update((draft) => void draft.items.push(text));
 *   });
 * }, { heartbeatMs: 2_000 });
 * const alice = simulation.createClient();
 * const todos = alice.client.subscribe("Todos");
 * await simulation.until(todos.ready());
 *
 * for (const link of alice.links) link.cutSilently();
 * await simulation.until(alice.client.call("todos.add", { text: "Ship it" }));
 * assert.deepEqual(todos.getState(), { items: ["Ship it"] });
 * ```
 *
 * @module
 */
export { createSimulation } from "./simulation.ts";
export { SeededRandom } from "./seeded_random.ts";
export { VirtualClock } from "./virtual_clock.ts";

export type { Simulation, SimulationOptions } from "./simulation.ts";
export type {
  SimulatedServer,
  SimulatedServerOptions,
} from "./simulated_server.ts";
export type {
  SimulatedClient,
  SimulatedClientOptions,
} from "./simulated_client.ts";
export type { HostClock } from "./virtual_clock.ts";
export type { SimulatedNetwork } from "./simulated_network.ts";
export type {
  Link,
  LinkDirection,
  NetworkCounts,
  NetworkFaults,
} from "./link.ts";
export type {
  KvBackup,
  KvDatabase,
  KvDelay,
  KvFaults,
  KvOperationKind,
  KvOperationMoment,
  KvWatchMode,
} from "./simulated_kv.ts";

// What the names above show, so that a test needs no other import for its types.
export type { Clock, Random, Timer } from "../../server/ports.ts";
export type {
  AccessContext,
  AccessRule,
  AttachOptions,
  Authenticate,
  Authenticated,
  CallContext,
  ConnectionInfo,
  ConnectionRequest,
  ContractStoreOptions,
  CreateHook,
  CreateOptions,
  Credentials,
  DynamicStore,
  EmitOptions,
  FunctionHandler,
  FunctionOptions,
  Health,
  History,
  HistoryEntry,
  HistoryPage,
  HistoryRange,
  HttpListener,
  HttpServer,
  IdleHook,
  InterceptContext,
  JsonPatchOperation,
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
  Limits,
  ListenOptions,
  Moment,
  Page,
  Recipe,
  RequestInfo,
  SelfDestruct,
  Server,
  ServerEvents,
  ServerListener,
  ServerOptions,
  StaticStore,
  StoreHandle,
  StoreOf,
  StoreOptions,
  TerminateHook,
  Transaction,
  TransactionChange,
  TransactionPart,
  TransactionStore,
  UpdateOptions,
  ViewContext,
  Writer,
  Written,
} from "../../server/mod.ts";
export type {
  AnyMutator,
  App,
  ArgsAndOptions,
  ArgsInput,
  ArgsOf,
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
  ErrorCode,
  EventInput,
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
  ResultInput,
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
