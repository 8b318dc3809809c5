/**
 * The server, as an application talks to it.
 *
 * @module
 */
import type { App } from "../protocol/contract.ts";
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
import type { Json } from "../protocol/value.ts";
import { toConnectionRequest } from "./authentication.ts";
import { checkAttachOptions, checkListenOptions } from "./checked_options.ts";
import {
  checkedEvent,
  checkedHandler,
  rulesOf,
  storeContract,
} from "./contract.ts";
import type { EmitOptions } from "./event_audience.ts";
import type { FunctionHandler, FunctionOptions } from "./functions.ts";
import { createRoutes, type Health } from "./http/routes.ts";
import type { ServerEvents, ServerListener } from "./lifecycle.ts";
import { bellKey } from "./log/keys.ts";
import { inTime } from "./log/patience.ts";
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
import { toRevocation } from "./revocations.ts";
import { NAMESPACE, ServerParts } from "./server_parts.ts";
import type { Written } from "./stores/change.ts";
import { StoreDefinition } from "./stores/definition.ts";
import {
  checkStoreOptions,
  type ContractStoreOptions,
  type StoreOptions,
} from "./stores/store_options.ts";
import { DynamicStore, type StoreOf } from "./stores/dynamic_store.ts";
import { StaticStore } from "./stores/static_store.ts";
import type { Transaction, TransactionPart } from "./transaction.ts";

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
  readonly #parts: ServerParts;
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
    this.#parts = new ServerParts(options, ports);
  }

  /**
   * Defines a store, or with a name that ends in `:*` many of one kind, whose
   * handle takes the key first. A definition costs nothing until it is used.
   *
   * @throws {TypeError} if the name is taken, the initial state is not an object, there is
   * no such option, or it is of another kind.
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
    if (contract && arguments.length > 2) {
      throw new TypeError(
        `Cannot create store "${name}": the contract has its initial state, so that its options come second, and nothing third`,
      );
    }
    // Where the contract has the initial state, options are all that is given.
    if (contract) checkStoreOptions(name, given ?? {}, { hasContract: true });
    const options = contract ? { ...given, ...rulesOf(contract) } : more;
    const definition = new StoreDefinition(
      name,
      contract ? contract.initial : given,
      options as StoreOptions, // of T, which the definition does not know
      this.#parts.limits.nameLength,
    );
    this.#parts.definitions.add(definition);
    return definition.isDynamic
      ? new DynamicStore<T>(this.#parts.access, definition)
      : new StaticStore<T>(this.#parts.access, definition);
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
    const { name: fullName } = this.#parts.access.idOf(name);
    const definition = this.#parts.definitions.find(fullName);
    return definition &&
      new StaticStore<T>(this.#parts.access, definition, fullName);
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
   *   server: it never sees a half. Stores may come one by one where it subscribes to
   *   them at that very moment, or after it was disconnected; and from a server that
   *   slept for so long (10 minutes) that it has to read each of them anew.
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
  transaction(
    run: (tx: Transaction) => unknown,
  ): Promise<readonly Written<Json | undefined>[]>;
  /** The same for a list of changes. */
  transaction<T extends readonly unknown[]>(
    parts: { readonly [I in keyof T]: TransactionPart<T[I]> },
  ): Promise<readonly Written<Json | undefined>[]>;
  transaction(
    what:
      | ((tx: Transaction) => unknown)
      | readonly TransactionPart<unknown>[],
  ): Promise<readonly Written<Json | undefined>[]> {
    const { scopes, transactions } = this.#parts;
    return scopes.begin(() =>
      typeof what === "function"
        ? transactions.run(what)
        : transactions.all(what)
    );
  }

  /** Whether the store of that full name exists. */
  async hasStore(name: string): Promise<boolean> {
    return await this.#parts.access.has(name);
  }

  /**
   * Deletes the store of that full name, also one that cannot be read; false where there is
   * none, or no definition covers the name. See {@linkcode StaticStore.delete}.
   */
  deleteStore(name: string): Promise<boolean> {
    const { access } = this.#parts;
    return access.begin(() => access.delete(name));
  }

  /**
   * Full names of the stores that exist, sorted. Those that cannot be read are among them,
   * and `error` tells of each.
   */
  async listStores(): Promise<string[]> {
    return await (await this.#parts.open()).stores.list(NAMESPACE);
  }

  /**
   * Answers calls of `name` by `handler`: what it returns is the result, what it
   * throws is the error. Its store writes apply once, however often the call is
   * resent; see {@linkcode FunctionHandler}.
   *
   * @throws {TypeError} if the function is handled already, there is no such option, or it
   * is of another kind.
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
    this.#parts.functions.define(name, checked, options);
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
   * @throws {HeadwaterError} `bad_name` or `bad_value` for what cannot be sent, or
   * `store_missing` where no store is defined for the name in `store`.
   * @throws {LimitError} if it is over the limit `eventBytes`.
   * @throws {TypeError} if the channel is one on which clients speak of themselves,
   * such as `"connected"`, or a target is none, or of another kind.
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
    this.#parts.events.emit(channel, checked, to);
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
    return this.#parts.lifecycle.on(event, listener);
  }

  /**
   * Has all connections of a user, or of a client, asked anew who they are, on every
   * server over the same KV, within 5 seconds: `authenticate` runs again with what the
   * client has shown last.
   *
   * - Who is refused is closed with 4003; functions that run for it run to their end.
   * - For who is not, the rules of stores are applied anew: what may not be read any
   *   more is unsubscribed (`forbidden`), and views change. The client is told of the
   *   user where that is another one.
   * - While `authenticate` is asked, for at most 2 seconds, these connections are sent
   *   nothing of stores, and no answers; what changes then is sent afterwards. Events
   *   that are sent meanwhile they miss.
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
   * @throws {TypeError} if it is neither a user nor a client, or both.
   * @throws {HeadwaterError} `closed` once the server is, or what the KV fails with.
   */
  revoke(
    whom: { readonly userId: string | number } | { readonly clientId: string },
  ): Promise<void> {
    const { scopes } = this.#parts;
    return scopes.begin(async () => {
      const revocation = toRevocation(whom);
      if (this.#closed) {
        throw new HeadwaterError("closed", "The server is closed", {
          outcome: "notApplied",
        });
      }
      const { revocations } = await this.#parts.open();
      // Whoever is asked again does not belong to the call that may have made it necessary.
      await scopes.exit(() => revocations.revoke(revocation));
    });
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
    const { heartbeatMs } = options;
    if (this.#closed) {
      throw new TypeError("Cannot listen: the server is closed");
    }
    if (this.#listening) {
      const where = this.#listener
        ? `the server listens on port ${this.#listener.port} already`
        : "the server is about to listen";
      throw new TypeError(`Cannot listen twice: ${where}`);
    }
    this.#beatEvery(heartbeatMs);
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
    const { path, heartbeatMs } = options;
    if (this.#closed) {
      throw new TypeError("Cannot attach: the server is closed");
    }
    this.#beatEvery(heartbeatMs);
    const attaching = this.#attach(httpServer, path);
    this.#attachments.add(attaching);
    // What could not be attached needs no end.
    attaching.catch(() => this.#attachments.delete(attaching));
    await attaching;
  }

  /** Who names none leaves it as it is: it may be another's of the same server. */
  #beatEvery(heartbeatMs: number | undefined): void {
    if (heartbeatMs === undefined) return;
    this.#parts.connections.heartbeatMs = heartbeatMs;
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
    const { connections, core } = this.#parts;
    const figures = {
      connections: connections.size,
      addresses: connections.addresses,
      subscriptions: connections.subscriptions,
      slow: connections.outboxes.lagging,
      slowBytes: connections.outboxes.laggingBytes,
      sessions: core?.sessions.size ?? 0,
      stores: core?.stores.size ?? 0,
    };
    try {
      const { kv } = (await this.#parts.open()).opened;
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
    this.#parts.beginClose();
    await this.#parts.connections.close(GRACE_MS);
    const looseSocketsEnded = this.#ports.looseSocketsEnded?.();
    // A listener that is still being opened would keep its port, and the process.
    const listener = await this.#listening?.catch(() => undefined);
    const attached = await Promise.allSettled(this.#attachments);
    await Promise.all([
      listener?.close(),
      ...attached.map((one) =>
        one.status === "fulfilled" ? one.value.close() : undefined
      ),
    ]);
    await this.#parts.lifecycle.close(GRACE_MS);
    await this.#parts.eventQueue.close();
    await this.#parts.close();
    // Whoever exits now would take close codes along that are on their way.
    await looseSocketsEnded;
  }

  async #listen(options: ListenOptions): Promise<Listener> {
    const { port = 4400, host = "localhost", path, ...rest } = options;
    const { cert, key, transport } = rest;
    const routes = this.#routes = this.#createRoutes(path);
    await this.#parts.open();
    return await this.#ports.listen(
      { port, host, cert, key, transport, limits: this.#parts.limits },
      routes,
    );
  }

  async #attach(
    server: HttpServer,
    path: string | undefined,
  ): Promise<Attachment> {
    await this.#parts.open();
    return await this.#ports.attach(
      { server, path, limits: this.#parts.limits },
      this.#createRoutes(path),
    );
  }

  #createRoutes(path: string | undefined): HostFetch {
    this.#parts.warnOfMissing();
    const { authenticate, cors, pages, trustProxy } = this.#options;
    return createRoutes({
      path,
      cors,
      pages,
      trustProxy,
      health: () => this.health(),
      upgrade: (request, address) => {
        // Copied only where somebody will ask for it.
        const kept = authenticate && toConnectionRequest(request, address);
        const info = { address, request: kept };
        return this.#ports.upgrade(
          request,
          (socket) => this.#parts.connections.accept(socket, info),
        );
      },
      onError: (error) => {
        this.#parts.logger.error("A request failed: {error}", { error });
        this.#parts.lifecycle.report(error);
      },
    });
  }
}

function addressOf(info: RequestInfo | undefined): string | undefined {
  const address = info?.remoteAddr;
  // Deno.NetAddr has it; a Unix socket's address does not.
  return address && "hostname" in address
    ? String(address.hostname)
    : undefined;
}
