/**
 * The server: wires the parts, and is what an application talks to.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../protocol/limits.ts";
import { CallScopes } from "./call_scope.ts";
import { Connections } from "./connections.ts";
import { Core } from "./core.ts";
import {
  type FunctionHandler,
  type FunctionOptions,
  Functions,
  type FunctionsEnvironment,
} from "./functions.ts";
import { createRoutes, type Health } from "./http/routes.ts";
import { newId } from "./log/ids.ts";
import { bellKey } from "./log/keys.ts";
import { inTime } from "./log/patience.ts";
import { whileLocked } from "./log/patient_kv.ts";
import { loggerOf } from "./logger.ts";
import type { ListenOptions, RequestInfo, ServerOptions } from "./options.ts";
import type {
  HostFetch,
  Kv,
  Listener,
  OpenedKv,
  Ports,
  Socket,
  SocketEvents,
} from "./ports.ts";
import { Router } from "./router.ts";
import { StoreAccess } from "./stores/access.ts";
import {
  Definitions,
  StoreDefinition,
  type StoreOptions,
} from "./stores/definition.ts";
import { DynamicStore, StaticStore } from "./stores/handles.ts";

/** The one namespace until there are more. */
const NAMESPACE = "default";
/** How long `close()` waits for calls that run. */
const GRACE_MS = 2_000;
/** How long the health check waits for the KV. */
const HEALTH_MS = 2_000;

/** A server of shared state. Made by {@linkcode createServer}. */
export class Server {
  readonly #options: ServerOptions;
  readonly #ports: Ports;
  readonly #limits: Limits;
  readonly #definitions = new Definitions();
  readonly #functions: Functions;
  readonly #scopes: CallScopes;
  readonly #access: StoreAccess;
  readonly #connections: Connections;
  readonly #closing = new AbortController();
  readonly #logger = loggerOf("server");
  #core: Promise<Core> | undefined;
  #openCore: Core | undefined;
  #routes: HostFetch | undefined;
  #listening: Promise<Listener> | undefined;
  #listener: Listener | undefined;
  #closed: Promise<void> | undefined;

  /** Use {@linkcode createServer}, which supplies the ports of the runtime. */
  constructor(options: ServerOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    for (const [name, value] of Object.entries(this.#limits)) {
      if (!(value >= 0)) {
        throw new RangeError(`Limit ${name} must be 0 or more, not ${value}`);
      }
    }
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
    this.#connections = this.#createConnections();
  }

  /**
   * Defines a store, or with a name that ends in `:*` many of one kind, whose
   * handle takes the key first. A definition costs nothing until it is used.
   *
   * @throws {TypeError} if the name is taken, or the initial state is not an object.
   */
  createStore<T extends object>(
    name: `${string}:*`,
    initial: T,
    options?: StoreOptions,
  ): DynamicStore<T>;
  /** Defines one store; see above for many of one kind. */
  createStore<T extends object>(
    name: string,
    initial: T,
    options?: StoreOptions,
  ): StaticStore<T>;
  createStore<T extends object>(
    name: string,
    initial: T,
    options: StoreOptions = {},
  ): StaticStore<T> | DynamicStore<T> {
    const definition = new StoreDefinition(
      name,
      initial,
      options,
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
  store<T>(name: string): StaticStore<T> | undefined {
    const { name: fullName } = this.#access.idOf(name);
    const definition = this.#definitions.find(fullName);
    return definition && new StaticStore<T>(this.#access, definition, fullName);
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
   */
  handle<A, R>(
    name: string,
    handler: FunctionHandler<A, R>,
    options: FunctionOptions = {},
  ): void {
    // Arguments are JSON from outside: their type is what the handler expects, and has to check.
    this.#functions.define(
      name,
      handler as FunctionHandler<unknown, unknown>,
      options,
    );
  }

  /**
   * Opens the KV, and listens.
   *
   * @throws {TypeError} if the server listens already, or is closed.
   */
  async listen(options: ListenOptions = {}): Promise<void> {
    const { heartbeatMs = 30_000, transport = "native" } = options;
    if (!(heartbeatMs >= 0)) {
      throw new RangeError(`heartbeatMs must be 0 or more, not ${heartbeatMs}`);
    }
    if (transport !== "native" && transport !== "hardened") {
      throw new RangeError(
        `transport must be "native" or "hardened", not "${transport}"`,
      );
    }
    if (this.#closed) {
      throw new TypeError("Cannot listen: the server is closed");
    }
    if (this.#listening) throw new TypeError("Cannot listen twice");
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

  /** The port that the server listens on. */
  get port(): number {
    if (!this.#listener) {
      throw new TypeError("The server does not listen: it has no port");
    }
    return this.#listener.port;
  }

  /** Answers a request, WebSocket upgrades included: for `Deno.serve`, Hono and the like. */
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
    await this.#connections.close(GRACE_MS);
    this.#closing.abort(new Error("The server is closed"));
    // A listener that is still being opened would keep its port, and the process.
    const listener = await this.#listening?.catch(() => undefined);
    await listener?.close();
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
    const opened = typeof kv === "string"
      // Several isolates that start at once all set up the same file.
      ? await whileLocked(waiting, () => this.#ports.openKv(kv))
      : lend(kv);
    const core = await Core.open({
      opened,
      clock,
      random,
      limits: this.#limits,
      sync,
      definitions: this.#definitions,
      scopes: this.#scopes,
      logger: this.#logger,
    });
    this.#openCore = core;
    return core;
  }

  #createConnections(): Connections {
    const router = new Router({
      limits: this.#limits,
      serverId: newId(this.#ports.random),
      functions: this.#functions,
      open: () => this.#environment(),
      heartbeatMs: () => this.#connections.heartbeatMs,
    });
    return new Connections({
      clock: this.#ports.clock,
      limits: this.#limits,
      isLoopbackLimited:
        this.#options.limits?.connectionsPerAddress !== undefined,
      dispatch: (connection, frame) => router.dispatch(connection, frame),
      logger: this.#logger,
      onEnded: ({ session }) => {
        if (session) this.#openCore?.sessions.release(session);
      },
    });
  }

  async #environment(): Promise<FunctionsEnvironment> {
    const { sessions, stores, answers } = await this.#open();
    return {
      clock: this.#ports.clock,
      scopes: this.#scopes,
      namespace: NAMESPACE,
      signal: this.#closing.signal,
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
      upgrade: (request, address) =>
        this.#ports.upgrade(request, (socket) => this.#accept(socket, address)),
      onError: (error) =>
        this.#logger.error("A request failed: {error}", { error }),
    });
  }

  #accept(socket: Socket, address: string | undefined): SocketEvents {
    return this.#connections.accept(socket, { address });
  }
}

/** Who reads or writes a store is told what it means for that, whatever the KV said. */
function refuseStores(cause: unknown): never {
  if (cause instanceof HeadwaterError || cause instanceof TypeError) {
    throw cause;
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new HeadwaterError("unavailable", `Cannot open the KV: ${reason}`, {
    cause,
    outcome: "notApplied",
  });
}

/** A KV that stays its owner's. */
function lend(kv: Kv): OpenedKv {
  return {
    kv,
    // Not known; what is good for one that is far away does a near one little harm.
    isLocal: false,
    location: "a KV that was opened by the application",
    close: async () => {},
  };
}

function addressOf(info: RequestInfo | undefined): string | undefined {
  const address = info?.remoteAddr;
  // Deno.NetAddr has it; a Unix socket's address does not.
  return address && "hostname" in address
    ? String(address.hostname)
    : undefined;
}
