/**
 * The server: wires the parts, and is what an application talks to.
 *
 * @module
 */
import type { App, StateRules, StoreContract } from "../protocol/contract.ts";
import type {
  ArgsAndOptions,
  ArgsOf,
  EventInput,
  IfOpen,
  NameIn,
  ResultInput,
  StateOf,
  StoreName,
} from "../protocol/contract_lookup.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Json } from "../protocol/value.ts";
import { Access } from "./access.ts";
import { Authentication, type ConnectionRequest } from "./authentication.ts";
import { CallScopes } from "./call_scope.ts";
import {
  checkAttachOptions,
  checkListenOptions,
  checkServerOptions,
} from "./checked_options.ts";
import { Connections } from "./connections.ts";
import { checkedEvent, checkedHandler, storeContract } from "./contract.ts";
import { Core, type CoreOptions } from "./core.ts";
import { EventQueue } from "./event_queue.ts";
import { type EmitOptions, Events } from "./events.ts";
import { Failures } from "./failures.ts";
import {
  type FunctionHandler,
  type FunctionOptions,
  Functions,
} from "./functions.ts";
import { createRoutes, type Health } from "./http/routes.ts";
import { newId } from "./log/ids.ts";
import { bellKey } from "./log/keys.ts";
import {
  Lifecycle,
  type ServerEvents,
  type ServerListener,
} from "./lifecycle.ts";
import { inTime } from "./log/patience.ts";
import { isKvUrl } from "./kv_location.ts";
import { whileLocked } from "./log/patient_kv.ts";
import { loggerOf } from "./logger.ts";
import type {
  AttachOptions,
  ListenOptions,
  RequestInfo,
  ServerOptions,
} from "./options.ts";
import type {
  Attachment,
  HostFetch,
  HttpServer,
  Listener,
  Ports,
} from "./ports.ts";
import type { Revocation } from "./revocations.ts";
import { Router, type RouterEnvironment } from "./router.ts";
import { StoreAccess } from "./stores/access.ts";
import {
  type ContractStoreOptions,
  Definitions,
  StoreDefinition,
  type StoreOptions,
} from "./stores/definition.ts";
import {
  type Transaction,
  type TransactionPart,
  Transactions,
} from "./transaction.ts";
import { Writes } from "./writes.ts";
import {
  DynamicStore,
  StaticStore,
  type StoreOf,
  type Written,
} from "./stores/handles.ts";

/** The one namespace until there are more. */
const NAMESPACE = "default";
/** How long `close()` waits for calls that run. */
const GRACE_MS = 2_000;
/** How long the health check waits for the KV. */
const HEALTH_MS = 2_000;

/**
 * A server of shared state. Made by {@linkcode createServer}. `A` is the contract
 * of the application; without one, names are free and types are the caller's.
 */
// Not App: code that knows of no contract is to take a server of any.
// deno-lint-ignore no-explicit-any
export class Server<A extends App = any> {
  readonly #options: ServerOptions;
  readonly #ports: Ports;
  readonly #limits: Limits;
  readonly #definitions = new Definitions();
  readonly #functions: Functions;
  readonly #scopes: CallScopes;
  readonly #access: StoreAccess;
  readonly #transactions: Transactions;
  readonly #rules: Access;
  readonly #connections: Connections;
  readonly #lifecycle: Lifecycle;
  readonly #failures: Failures;
  /** Id of this run of the server. */
  readonly #serverId: string;
  readonly #eventQueue: EventQueue;
  readonly #events: Events;
  readonly #logger = loggerOf("server");
  #core: Promise<Core> | undefined;
  #openCore: Core | undefined;
  #routes: HostFetch | undefined;
  #listening: Promise<Listener> | undefined;
  #listener: Listener | undefined;
  readonly #attachments = new Set<Promise<Attachment>>();
  #closed: Promise<void> | undefined;

  /**
   * Use {@linkcode createServer}, which supplies the ports of the runtime.
   *
   * @ignore
   */
  constructor(options: ServerOptions<A>, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.#limits = checkServerOptions(options);
    const { nameLength } = this.#limits;
    this.#functions = new Functions(nameLength);
    this.#scopes = new CallScopes(ports.createAmbient());
    this.#access = new StoreAccess({
      registry: async () => (await this.#open().catch(refuseStores)).stores,
      opened: () => this.#openCore?.stores,
      scopes: this.#scopes,
      namespace: NAMESPACE,
      nameLength,
    });
    this.#transactions = new Transactions({
      access: this.#access,
      definitions: this.#definitions,
    });
    this.#lifecycle = new Lifecycle({
      clock: ports.clock,
      scopes: this.#scopes,
      logger: this.#logger,
    });
    this.#failures = new Failures({
      random: ports.random,
      logger: this.#logger,
      lifecycle: this.#lifecycle,
      masks: options.maskErrors ?? false,
    });
    this.#serverId = newId(ports.random);
    this.#rules = this.#createAccess();
    this.#connections = this.#createConnections();
    this.#eventQueue = this.#createEventQueue();
    this.#events = new Events({
      limits: this.#limits,
      namespace: NAMESPACE,
      sender: this.#serverId,
      roster: this.#connections.roster,
      scopes: this.#scopes,
      queue: options.sync === false ? undefined : this.#eventQueue,
    });
  }

  /**
   * Defines a store, or with a name that ends in `:*` many of one kind, whose
   * handle takes the key first. A definition costs nothing until it is used.
   *
   * @throws {TypeError} if the name is taken, or the initial state is not an object.
   * @throws {HeadwaterError} `bad_name` if it cannot be a name, or `bad_value`.
   */
  createStore<T extends object>(
    name: IfOpen<A, "stores", `${string}:*`>,
    initial: T,
    options?: StoreOptions<NoInfer<T>>,
  ): DynamicStore<T>;
  /** Defines one store; see above for many of one kind. */
  createStore<T extends object>(
    name: IfOpen<A, "stores", string>,
    initial: T,
    options?: StoreOptions<NoInfer<T>>,
  ): StaticStore<T>;
  /** Defines a store of the contract, which has its initial state and its schema. */
  createStore<N extends NameIn<A, "stores">>(
    name: N,
    options?: ContractStoreOptions<StateOf<A, N>>,
  ): StoreOf<N, StateOf<A, N>>;
  createStore<T extends object>(
    name: string,
    given?: object,
    more: StoreOptions<never> = {},
  ): StaticStore<T> | DynamicStore<T> {
    const contract = storeContract(this.#options.app, name);
    // Where the contract has the initial state, options are all that is given.
    const options = contract ? { ...given, ...rulesOf(contract) } : more;
    const definition = new StoreDefinition(
      name,
      contract ? contract.initial : given,
      options as StoreOptions, // of T, which the definition does not know
      this.#limits.nameLength,
    );
    this.#definitions.add(definition);
    return definition.isDynamic
      ? new DynamicStore<T>(this.#access, definition)
      : new StaticStore<T>(this.#access, definition);
  }

  /**
   * The handle of a store by its full name, such as `"Room:general"`; undefined
   * where no definition covers the name.
   */
  store<T>(
    name: IfOpen<A, "stores", string>,
  ): StaticStore<T> | undefined;
  /** The handle of a store of the contract; undefined before it was created by `createStore`. */
  store<N extends StoreName<A>>(
    name: N,
  ): StaticStore<StateOf<A, N>> | undefined;
  store<T>(name: string): StaticStore<T> | undefined {
    const { name: fullName } = this.#access.idOf(name);
    const definition = this.#definitions.find(fullName);
    return definition && new StaticStore<T>(this.#access, definition, fullName);
  }

  /**
   * Changes several stores together: all of it takes effect in one commit, or none.
   * What the callback adds is committed when it has returned. Resolves, when that is
   * done, with the version and value of each change, in the order in which they were
   * added.
   *
   * - A recipe that throws refuses all, and its error is passed on; so does a callback.
   *   Recipes may run more than once, as in {@linkcode StaticStore.update}.
   * - A client that is connected gets all of it in one message, also one of another
   *   server: it never sees a half. Stores that it subscribes to at that very moment,
   *   or after it was disconnected, come one by one.
   * - Nobody else writes to the stores in between, on any server. What was asked for
   *   before comes before it.
   * - Within a function it takes effect once, however often the call is resent, and
   *   gives the first values, or the same error.
   * - What the callback awaits itself, such as an `update()` or another transaction,
   *   is committed apart, before.
   * - At most 9 stores, 1,000 changes, and 600 KiB of what they change.
   *
   * @example Move an item
   * ```ts
   * import assert from "node:assert/strict";
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const open = server.createStore("Open", { items: ["milk"] });
   * const lists = server.createStore("List:*", { items: [] as string[] });
   * await server.transaction((tx) => {
   *   tx(open).update((draft) => void draft.items.pop());
   *   tx(lists, "done").update((draft) => void draft.items.push("milk"));
   * });
   * assert.deepEqual(await lists.get("done"), { items: ["milk"] });
   * ```
   *
   * @throws {LimitError} if it is too much; then nothing is written.
   * @throws {HeadwaterError} `bad_value` for what cannot be shared, or `unavailable`
   * while the KV takes no writes, or others do not let it have its turn.
   * @throws {TypeError} if something else than a store of this server is changed.
   */
  async transaction(
    run: (tx: Transaction) => unknown,
  ): Promise<readonly Written<Json | undefined>[]>;
  /** The same for a list of changes. */
  async transaction<T extends readonly unknown[]>(
    parts: { readonly [I in keyof T]: TransactionPart<T[I]> },
  ): Promise<readonly Written<Json | undefined>[]>;
  async transaction(
    what:
      | ((tx: Transaction) => unknown)
      | readonly TransactionPart<unknown>[],
  ): Promise<readonly Written<Json | undefined>[]> {
    return typeof what === "function"
      ? await this.#transactions.run(what)
      : await this.#transactions.all(what);
  }

  /** Whether the store of that full name exists. */
  async hasStore(name: string): Promise<boolean> {
    return await this.#access.has(name);
  }

  /** Deletes the store of that full name; false where there is none. */
  async deleteStore(name: string): Promise<boolean> {
    return await this.#access.delete(name);
  }

  /** Full names of the stores that exist, sorted. */
  async listStores(): Promise<string[]> {
    return await (await this.#open()).stores.list(NAMESPACE);
  }

  /**
   * Answers calls of `name` by `handler`: what it returns is the result, what it
   * throws is the error. Its store writes apply once, however often the call is
   * resent; see {@linkcode FunctionHandler}.
   *
   * @throws {TypeError} if the function is handled already.
   * @throws {HeadwaterError} `bad_name` if it cannot be a name.
   */
  handle<Args, R>(
    name: IfOpen<A, "functions", string>,
    handler: FunctionHandler<Args, R>,
    options?: FunctionOptions,
  ): void;
  /**
   * Answers calls of a function of the contract: its schema has checked the
   * arguments before the handler gets them, and a result that does not fit is the
   * handler's failure.
   */
  handle<N extends NameIn<A, "functions">>(
    name: N,
    handler: FunctionHandler<ArgsOf<A, N>, ResultInput<A, N>>,
    options?: FunctionOptions,
  ): void;
  handle(
    name: string,
    handler: FunctionHandler<never, unknown>,
    options: FunctionOptions = {},
  ): void {
    // Arguments are JSON from outside: their type is what the handler expects, and
    // what a schema of the contract or the handler itself has to check.
    const run = handler as FunctionHandler<unknown, unknown>;
    const checked = checkedHandler(this.#options.app, name, run);
    this.#functions.define(name, checked, options);
  }

  /**
   * Sends an event to everybody who is connected, or to whom `to` says, on this
   * server and on the others over the same KV. It is not stored.
   *
   * - Each client gets it at most once: who is not connected at the moment, or does
   *   not keep up, misses it.
   * - What one server sends, each client gets in that order.
   * - Within a function it is not sent if the call is run again.
   * - With `sync: false` only clients of this server get it.
   * - To a client that is connected to this server it costs no write to the KV.
   *
   * @example To everybody, and to all but one
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * server.handle("wave", (text: string, { clientId }) => {
   *   server.emit("waved", { text }, { except: clientId });
   * });
   * server.emit("news", "The server is up");
   * ```
   *
   * @throws {HeadwaterError} `bad_name` or `bad_value` for what cannot be sent.
   * @throws {LimitError} if it is over the limit `eventBytes`.
   * @throws {TypeError} if the channel is one on which clients speak of themselves,
   * such as `"connected"`, or a target is undefined.
   */
  emit(
    channel: IfOpen<A, "events", string>,
    data?: unknown,
    to?: EmitOptions,
  ): void;
  /**
   * Sends an event of the contract, as its schema makes it.
   *
   * @throws {HeadwaterError} `invalid` if the schema refuses it.
   */
  emit<N extends NameIn<A, "events">>(
    channel: N,
    ...given: ArgsAndOptions<EventInput<A, N>, EmitOptions>
  ): void;
  emit(channel: string, data?: unknown, to: EmitOptions = {}): void {
    const checked = checkedEvent(this.#options.app, channel, data);
    this.#events.emit(channel, checked, to);
  }

  /**
   * Listens to what the server says about itself; see {@linkcode ServerEvents}.
   * Returns the undo.
   *
   * - Listeners run in a moment, in order, outside of the call that caused the event.
   * - One that throws stops nothing; `error` tells of it.
   * - Every event is told on one server: that of the connection, or the one that made
   *   or ended the store. It may be told of none if that server dies.
   *
   * @example Who is here
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const here = new Set<string>();
   * server.on("connection", (clientId) => void here.add(clientId));
   * const off = server.on("disconnect", (clientId) => void here.delete(clientId));
   * off();
   * ```
   *
   * @throws {TypeError} if there is no such event.
   */
  on<K extends keyof ServerEvents>(
    event: K,
    listener: ServerListener<K>,
  ): () => void {
    return this.#lifecycle.on(event, listener);
  }

  /**
   * Has all connections of a user, or of a client, asked anew who they are, on every
   * server over the same KV, within 5 seconds: `authenticate` runs again with what the
   * client has shown last.
   *
   * - Who is refused is closed with 4003; functions that run for it run to their end.
   * - For who is not, the rules of stores are applied anew: what may not be read any
   *   more is unsubscribed (`forbidden`), and views change.
   * - Without `authenticate` the connections are closed.
   *
   * @example Signed out everywhere
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * const sessions = new Map([["s3cret", { id: "ada" }]]);
   * await using server = createServer({
   *   kv: ":memory:",
   *   authenticate: (_request, { token = "" }) => sessions.get(token) ?? null,
   * });
   * sessions.delete("s3cret");
   * await server.revoke({ userId: "ada" });
   * ```
   *
   * @throws {TypeError} if it is neither a user nor a client.
   */
  async revoke(
    whom: { readonly userId: string | number } | { readonly clientId: string },
  ): Promise<void> {
    const revocation = toRevocation(whom);
    const { revocations } = await this.#open();
    // Whoever is asked again does not belong to the call that may have made it necessary.
    await this.#scopes.exit(() => revocations.revoke(revocation));
  }

  /**
   * Opens the KV, and listens. A remote KV that does not answer is tried for 5 seconds.
   *
   * @throws {TypeError} if the server listens already, or is closed; or if there is no
   * such option, or it is of another kind.
   * @throws {RangeError} if an option's value cannot be used.
   * @throws {Error} if the KV cannot be opened, or the port is in use; the message says
   * which.
   */
  async listen(options: ListenOptions = {}): Promise<void> {
    checkListenOptions(options);
    const { heartbeatMs = 30_000 } = options;
    if (this.#closed) {
      throw new TypeError("Cannot listen: the server is closed");
    }
    if (this.#listening) {
      const where = this.#listener
        ? `the server listens on port ${this.#listener.port} already`
        : "the server is about to listen";
      throw new TypeError(`Cannot listen twice: ${where}`);
    }
    this.#connections.heartbeatMs = heartbeatMs;
    this.#listening = this.#listen(options);
    try {
      this.#listener = await this.#listening;
    } catch (error) {
      // The port may be free later, or another one is tried.
      this.#listening = undefined;
      throw error;
    }
  }

  /**
   * Opens the KV, and takes the sockets that come to an HTTP server of the
   * application: one of `node:http` or `node:https`, on Node and on Deno, such as
   * those of Express, Fastify and Hono. Its requests stay its own.
   *
   * - It may be called before that server listens, and for several servers.
   * - Sockets to another path than `path` are for whoever else takes them.
   * - {@linkcode Server.close} ends the sockets, and leaves that server as it was: call
   *   it first, since `httpServer.close()` waits for them.
   * - Limits of HTTP itself, such as its time-outs, are those of that server.
   *
   * @example Beside an API
   * ```ts
   * import { createServer as createHttpServer } from "node:http";
   * import { createServer } from "@headwater/sync/server";
   *
   * const http = createHttpServer((_request, response) => response.end("Hello"));
   * await using server = createServer({ kv: ":memory:" });
   * await server.attach(http, { path: "/sync" });
   * // http.listen(3000): then clients connect to ws://localhost:3000/sync
   * ```
   *
   * @throws {TypeError} if the server is closed, that is no HTTP server, or there is no
   * such option, or it is of another kind.
   * @throws {RangeError} if an option's value cannot be used.
   * @throws {Error} if the KV cannot be opened.
   */
  async attach(
    httpServer: HttpServer,
    options: AttachOptions = {},
  ): Promise<void> {
    checkAttachOptions(httpServer, options);
    const { path, heartbeatMs = 30_000 } = options;
    if (this.#closed) {
      throw new TypeError("Cannot attach: the server is closed");
    }
    this.#connections.heartbeatMs = heartbeatMs;
    const attaching = this.#attach(httpServer, path);
    this.#attachments.add(attaching);
    // What could not be attached needs no end.
    attaching.catch(() => this.#attachments.delete(attaching));
    await attaching;
  }

  /** The port that the server listens on. */
  get port(): number {
    if (!this.#listener) {
      throw new TypeError("The server does not listen: it has no port");
    }
    return this.#listener.port;
  }

  /**
   * Answers a request, WebSocket upgrades included: for `Deno.serve`, Hono and the
   * like. On Node a request cannot become a socket (501): there, use
   * {@linkcode Server.attach}.
   */
  readonly fetch = (
    request: Request,
    info?: RequestInfo,
  ): Response | Promise<Response> => {
    this.#routes ??= this.#createRoutes(undefined);
    return this.#routes(request, addressOf(info));
  };

  /**
   * Whether the server can do its work, and how much it holds in memory:
   * `connections`, the `addresses` that these come from, their `subscriptions`,
   * those that are `slow`, the `slowBytes` that wait for them, `sessions` and `stores`.
   */
  async health(): Promise<Health> {
    const figures = {
      connections: this.#connections.size,
      addresses: this.#connections.addresses,
      subscriptions: this.#connections.subscriptions,
      slow: this.#connections.outboxes.lagging,
      slowBytes: this.#connections.outboxes.laggingBytes,
      sessions: this.#openCore?.sessions.size ?? 0,
      stores: this.#openCore?.stores.size ?? 0,
    };
    try {
      const { kv } = (await this.#open()).opened;
      const { clock } = this.#ports;
      await inTime(clock, kv.get(bellKey()), clock.monotonic() + HEALTH_MS);
      return { status: "ok", ...figures };
    } catch {
      return { status: "degraded", ...figures };
    }
  }

  /**
   * Lets running calls end, tells clients to come back later, flushes what is
   * queued and frees everything. A second call waits for the first.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Same as {@linkcode Server.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#openCore?.stores.beginClose();
    await this.#connections.close(GRACE_MS);
    // A listener that is still being opened would keep its port, and the process.
    const listener = await this.#listening?.catch(() => undefined);
    const attached = await Promise.allSettled(this.#attachments);
    await Promise.all([
      listener?.close(),
      ...attached.map((one) =>
        one.status === "fulfilled" ? one.value.close() : undefined
      ),
    ]);
    await this.#lifecycle.close(GRACE_MS);
    await this.#eventQueue.close();
    const core = await this.#core?.catch(() => undefined);
    await core?.close();
  }

  async #listen(options: ListenOptions): Promise<Listener> {
    const { port = 4400, host = "localhost", path, ...rest } = options;
    const { cert, key, transport } = rest;
    const routes = this.#routes = this.#createRoutes(path);
    await this.#open();
    return await this.#ports.listen(
      { port, host, cert, key, transport, limits: this.#limits },
      routes,
    );
  }

  async #attach(
    server: HttpServer,
    path: string | undefined,
  ): Promise<Attachment> {
    await this.#open();
    return await this.#ports.attach(
      { server, path, limits: this.#limits },
      this.#createRoutes(path),
    );
  }

  #open(): Promise<Core> {
    if (this.#closed && !this.#core) {
      // As it is where the KV had been opened: whoever writes is told that nothing was written.
      return Promise.reject(
        new HeadwaterError("closed", "The server is closed", {
          outcome: "notApplied",
        }),
      );
    }
    this.#core ??= this.#openKv().catch((error) => {
      // The KV may be there for the next one who asks.
      this.#core = undefined;
      throw error;
    });
    return this.#core;
  }

  async #openKv(): Promise<Core> {
    const { kv = ".headwater/state.db", sync = true } = this.#options;
    const { clock, random } = this.#ports;
    const waiting = { clock, random, limitMs: this.#limits.commitMs };
    const opened = typeof kv !== "string"
      ? this.#ports.lendKv(kv)
      // It has a patience of its own, and knows why there is no answer.
      : isKvUrl(kv)
      ? await this.#ports.openKv(kv)
      // Several isolates that start at once all set up the same file.
      : await whileLocked(waiting, () => this.#ports.openKv(kv));
    const core = await Core.open({
      opened,
      clock,
      random,
      limits: this.#limits,
      sync,
      definitions: this.#definitions,
      scopes: this.#scopes,
      logger: this.#logger,
      lifecycle: this.#lifecycle,
      serverId: this.#serverId,
      receiveEvents: (sent) => this.#events.receive(sent),
      access: this.#toRevocationListener(),
    });
    this.#openCore = core;
    return core;
  }

  #createEventQueue(): EventQueue {
    return new EventQueue({
      clock: this.#ports.clock,
      open: async () => (await this.#open()).eventFeed,
      limitBytes: this.#limits.eventQueueBytes,
      onLost: (error, count) => {
        this.#logger.warn(
          "{count} events did not reach other servers: {error}",
          { count, error },
        );
        this.#lifecycle.report(error);
      },
    });
  }

  #createAccess(): Access {
    const { authenticate } = this.#options;
    const failures = this.#failures;
    const scopes = this.#scopes;
    const { clock } = this.#ports;
    return new Access({
      definitions: this.#definitions,
      namespace: NAMESPACE,
      failures,
      limits: this.#limits,
      authentication: authenticate &&
        new Authentication({ authenticate, clock, failures, scopes }),
      find: (revocation) => this.#connections.find(revocation),
    });
  }

  #toRevocationListener(): NonNullable<CoreOptions["access"]> {
    const isAsked = this.#options.authenticate !== undefined;
    return {
      isNeeded: () => isAsked || this.#definitions.areForSome,
      revoked: (revocation) => this.#rules.revoked(revocation),
      lost: () => this.#rules.lost(),
      accessMs: isAsked ? this.#limits.accessMs : undefined,
    };
  }

  #createConnections(): Connections {
    const router = new Router({
      access: this.#rules,
      limits: this.#limits,
      serverId: this.#serverId,
      functions: this.#functions,
      writes: new Writes({
        definitions: this.#definitions,
        access: this.#access,
        mutators: this.#options.app?.mutators ?? {},
      }),
      open: () => this.#environment(),
      heartbeatMs: () => this.#connections.heartbeatMs,
    });
    return new Connections({
      clock: this.#ports.clock,
      limits: this.#limits,
      isLoopbackLimited:
        this.#options.limits?.connectionsPerAddress !== undefined,
      dispatch: (connection, frame) => router.dispatch(connection, frame),
      lifecycle: this.#lifecycle,
      failures: this.#failures,
      onEnded: ({ session }) => {
        if (session) this.#openCore?.sessions.release(session);
      },
    });
  }

  async #environment(): Promise<RouterEnvironment> {
    const { sessions, stores, answers, revocations } = await this.#open();
    return {
      revocations,
      clock: this.#ports.clock,
      scopes: this.#scopes,
      namespace: NAMESPACE,
      failures: this.#failures,
      sessions,
      stores,
      answers,
    };
  }

  #createRoutes(path: string | undefined): HostFetch {
    const { cors, pages, trustProxy } = this.#options;
    return createRoutes({
      path,
      cors,
      pages,
      trustProxy,
      health: () => this.health(),
      upgrade: (request, address) => {
        const info = { address, request: this.#toRequest(request, address) };
        return this.#ports.upgrade(
          request,
          (socket) => this.#connections.accept(socket, info),
        );
      },
      onError: (error) => {
        this.#logger.error("A request failed: {error}", { error });
        this.#lifecycle.report(error);
      },
    });
  }

  /** What is known of a request, where somebody will ask for it. */
  #toRequest(
    { url, headers: sent }: Request,
    address: string | undefined,
  ): ConnectionRequest | undefined {
    if (!this.#options.authenticate) return undefined;
    // Copied now: a request that was answered cannot be read any more.
    const headers = new Headers(sent);
    headers.delete("cookie");
    return { url, headers, address };
  }
}

/** What a contract says of the states of a store, without the first of them. */
function rulesOf({ schema, version, migrate }: StoreContract): StateRules {
  return { schema, version, ...(migrate && { migrate }) };
}

function toRevocation(
  whom: { readonly userId: string | number } | { readonly clientId: string },
): Revocation {
  const id: unknown = "userId" in whom ? whom.userId : whom.clientId;
  const isUser = "userId" in whom;
  if (typeof id !== "string" && !(isUser && typeof id === "number")) {
    throw new TypeError(
      "Cannot revoke: it takes the id of a user or of a client",
    );
  }
  return isUser ? { userId: String(id) } : { clientId: String(id) };
}

/** Who reads or writes a store is told what it means for that, whatever the KV said. */
function refuseStores(cause: unknown): never {
  // Deno's KV throws a TypeError where its file is locked: that is no word for users.
  if (cause instanceof HeadwaterError) throw cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new HeadwaterError("unavailable", `Cannot open the KV: ${reason}`, {
    cause,
    outcome: "notApplied",
  });
}

function addressOf(info: RequestInfo | undefined): string | undefined {
  const address = info?.remoteAddr;
  // Deno.NetAddr has it; a Unix socket's address does not.
  return address && "hostname" in address
    ? String(address.hostname)
    : undefined;
}
