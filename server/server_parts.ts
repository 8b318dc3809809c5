/**
 * Wires the parts of a server.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import { Access } from "./access.ts";
import { Authentication } from "./authentication.ts";
import { CallScopes } from "./call_scope.ts";
import { checkServerOptions } from "./checked_options.ts";
import { Connections } from "./connections.ts";
import { Core, type CoreOptions } from "./core.ts";
import { EventQueue } from "./event_queue.ts";
import { Events } from "./events.ts";
import { Failures } from "./failures.ts";
import { Functions } from "./functions.ts";
import { isKvUrl } from "./kv_location.ts";
import { Lifecycle } from "./lifecycle.ts";
import { newId } from "./log/ids.ts";
import { whileLocked } from "./log/patient_kv.ts";
import { type Logger, loggerOf } from "./logger.ts";
import type { ServerOptions } from "./options.ts";
import type { Ports } from "./ports.ts";
import { Router, type RouterEnvironment } from "./router.ts";
import { StoreAccess } from "./stores/access.ts";
import { StoreRules } from "./store_rules.ts";
import { Definitions } from "./stores/definitions.ts";
import { Transactions } from "./transaction.ts";
import { Writes } from "./writes.ts";

/** The one namespace until there are more. */
export const NAMESPACE = "default";

/** See the module's documentation. */
export class ServerParts {
  readonly limits: Limits;
  readonly logger: Logger = loggerOf("server");
  readonly definitions: Definitions;
  readonly functions: Functions;
  readonly scopes: CallScopes;
  /** What the handles of stores do. */
  readonly access: StoreAccess;
  readonly transactions: Transactions;
  readonly connections: Connections;
  readonly lifecycle: Lifecycle;
  readonly events: Events;
  /** Where events for other servers wait. */
  readonly eventQueue: EventQueue;
  readonly #options: ServerOptions;
  readonly #ports: Ports;
  readonly #failures: Failures;
  readonly #rules: Access;
  readonly #router: Router;
  readonly #storeRules: StoreRules;
  /** Id of this run of the server. */
  readonly #serverId: string;
  #core: Promise<Core> | undefined;
  #openCore: Core | undefined;
  #isClosing = false;
  #hasWarned = false;

  /** What has to be there before anything is opened. */
  constructor(options: ServerOptions, ports: Ports) {
    this.#options = options;
    this.#ports = ports;
    this.limits = checkServerOptions(options);
    const { nameLength } = this.limits;
    const { stores = {}, functions = {} } = options.app ?? {};
    this.definitions = new Definitions(Object.keys(stores));
    this.functions = new Functions(nameLength, Object.keys(functions));
    this.scopes = new CallScopes(ports.createAmbient(), {
      clock: ports.clock,
      tell: (error, errand) => this.#failures.unheeded(error, errand),
    });
    this.access = new StoreAccess({
      registry: async () => (await this.open().catch(refuseStores)).stores,
      opened: () => this.#openCore?.stores,
      scopes: this.scopes,
      namespace: NAMESPACE,
      nameLength,
    });
    this.transactions = new Transactions({
      access: this.access,
      definitions: this.definitions,
    });
    this.lifecycle = new Lifecycle({
      clock: ports.clock,
      scopes: this.scopes,
      logger: this.logger,
    });
    this.#failures = new Failures({
      random: ports.random,
      logger: this.logger,
      lifecycle: this.lifecycle,
      masks: options.maskErrors ?? false,
    });
    this.#storeRules = new StoreRules({
      failures: this.#failures,
      logger: this.logger,
    });
    this.#serverId = newId(ports.random);
    this.#rules = this.#createAccess();
    this.#router = this.#createRouter();
    this.connections = this.#createConnections();
    this.eventQueue = this.#createEventQueue();
    this.events = new Events({
      limits: this.limits,
      definitions: this.definitions,
      namespace: NAMESPACE,
      sender: this.#serverId,
      roster: this.connections.roster,
      scopes: this.scopes,
      queue: options.sync === false ? undefined : this.eventQueue,
    });
  }

  /** What there is once the KV is open. */
  get core(): Core | undefined {
    return this.#openCore;
  }

  /** Logs, once, what the contract has and the server has not: clients are about to come. */
  warnOfMissing(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const stores = this.definitions.missing;
    const functions = this.functions.missing;
    if (stores.length > 0) {
      this.logger.warn(
        "The contract has stores that createStore() was not called for: {stores}",
        { stores },
      );
    }
    if (functions.length > 0) {
      this.logger.warn(
        "The contract has functions that handle() was not called for: {functions}",
        { functions },
      );
    }
  }

  /** Opens the KV, if it is not open yet. */
  open(): Promise<Core> {
    if (this.#isClosing && !this.#core) {
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

  /** Opens no KV any more, and lets nothing begin in the one that is open. */
  beginClose(): void {
    this.#isClosing = true;
    this.#openCore?.stores.beginClose();
  }

  /** Lets go of the KV. */
  async close(): Promise<void> {
    const core = await this.#core?.catch(() => undefined);
    await core?.close();
  }

  async #openKv(): Promise<Core> {
    const { kv = ".headwater/state.db", sync = true } = this.#options;
    const { clock, random } = this.#ports;
    const waiting = { clock, random, limitMs: this.limits.commitMs };
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
      limits: this.limits,
      sync,
      definitions: this.definitions,
      scopes: this.scopes,
      logger: this.logger,
      lifecycle: this.lifecycle,
      serverId: this.#serverId,
      receiveEvents: (sent) => this.events.receive(sent),
      access: this.#toRevocationListener(),
    });
    this.#openCore = core;
    return core;
  }

  #createEventQueue(): EventQueue {
    return new EventQueue({
      clock: this.#ports.clock,
      open: async () => (await this.open()).eventFeed,
      limitBytes: this.limits.eventQueueBytes,
      onLost: (error, count) => {
        this.logger.warn(
          "{count} events did not reach other servers: {error}",
          { count, error },
        );
        this.lifecycle.report(error);
      },
    });
  }

  #createAccess(): Access {
    const { authenticate } = this.#options;
    const failures = this.#failures;
    const scopes = this.scopes;
    const { clock } = this.#ports;
    return new Access({
      definitions: this.definitions,
      namespace: NAMESPACE,
      rules: this.#storeRules,
      limits: this.limits,
      authentication: authenticate &&
        new Authentication({ authenticate, clock, failures, scopes }),
      find: (revocation) => this.connections.find(revocation),
      tellUser: (connection) =>
        this.#router.welcome(connection, { resumed: true }),
    });
  }

  #toRevocationListener(): NonNullable<CoreOptions["access"]> {
    const isAsked = this.#options.authenticate !== undefined;
    return {
      isNeeded: () => isAsked || this.definitions.areForSome,
      revoked: (revocation) => this.#rules.revoked(revocation),
      lost: () => this.#rules.lost(),
      accessMs: isAsked ? this.limits.accessMs : undefined,
    };
  }

  #createRouter(): Router {
    return new Router({
      access: this.#rules,
      limits: this.limits,
      serverId: this.#serverId,
      functions: this.functions,
      writes: new Writes({
        definitions: this.definitions,
        access: this.access,
        rules: this.#storeRules,
        mutators: this.#options.app?.mutators ?? {},
      }),
      open: () => this.#environment(),
      heartbeatMs: () => this.connections.heartbeatMs,
    });
  }

  #createConnections(): Connections {
    return new Connections({
      clock: this.#ports.clock,
      limits: this.limits,
      isLoopbackLimited:
        this.#options.limits?.connectionsPerAddress !== undefined,
      dispatch: (connection, frame) => this.#router.dispatch(connection, frame),
      lifecycle: this.lifecycle,
      failures: this.#failures,
      onEnded: ({ session }) => {
        if (session) this.#openCore?.sessions.release(session);
      },
    });
  }

  async #environment(): Promise<RouterEnvironment> {
    const { sessions, stores, answers, revocations } = await this.open();
    return {
      revocations,
      clock: this.#ports.clock,
      scopes: this.scopes,
      namespace: NAMESPACE,
      failures: this.#failures,
      sessions,
      stores,
      answers,
    };
  }
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
