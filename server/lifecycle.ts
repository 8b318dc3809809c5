/**
 * What a server tells the application about itself: who comes and goes, which
 * stores begin and end, what fails.
 *
 * @module
 */
import { toErrorBody } from "../protocol/error_body.ts";
import type { CallScopes } from "./call_scope.ts";
import { Errand } from "./errand.ts";
import type { Logger } from "./logger.ts";
import type { Clock, ConnectionInfo, Timer } from "./ports.ts";

/** The events of {@linkcode Server.on}, and what their listeners get. */
export interface ServerEvents {
  /** A client has connected, and was welcomed; `info` has its user, as in all of these. */
  connection: [clientId: string, info: ConnectionInfo];
  /** The connection of a client has ended; its subscriptions have before. */
  disconnect: [clientId: string, info: ConnectionInfo];
  /** A client has subscribed to a store. */
  subscribe: [name: string, clientId: string, info: ConnectionInfo];
  /** A subscription has ended: by the client, with its connection, or with the store. */
  unsubscribe: [name: string, clientId: string, info: ConnectionInfo];
  /** This server has created a store; the key is null for a static one. */
  storeCreated: [name: string, key: string | null];
  /** This server has deleted a store, or ended one whose time was over. */
  storeDeleted: [name: string, key: string | null];
  /**
   * Something failed that nobody else was told of; or a function, mutator, rule,
   * interceptor or hook that a client has made run threw what is not for clients.
   */
  error: [error: Error, clientId?: string];
}

/** Takes an event of the server. It may be async; what it throws is an `error`. */
export type ServerListener<K extends keyof ServerEvents> = (
  ...args: ServerEvents[K]
) => void | Promise<void>;

/** A listener of any event; `on()` has paired its arguments with the event. */
type AnyListener = (...args: never[]) => void | Promise<void>;

const EVENTS: ReadonlySet<string> = new Set<keyof ServerEvents>([
  "connection",
  "disconnect",
  "subscribe",
  "unsubscribe",
  "storeCreated",
  "storeDeleted",
  "error",
]);

/** What listeners are run with. */
export interface LifecycleOptions {
  readonly clock: Clock;
  readonly scopes: CallScopes;
  readonly logger: Logger;
}

/** See the module's documentation. */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #listeners = new Map<string, Set<{ readonly run: AnyListener }>>();
  readonly #queue: { event: keyof ServerEvents; args: unknown[] }[] = [];
  readonly #running = new Set<Promise<void>>();
  #isDeferred = false;

  /** Nobody listens yet. */
  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  /** Adds a listener; the same may be added twice. Returns its undo. */
  on<K extends keyof ServerEvents>(
    event: K,
    run: ServerListener<K>,
  ): () => void {
    if (!EVENTS.has(event)) {
      throw new TypeError(`Cannot listen: a server has no event "${event}"`);
    }
    if (typeof run !== "function") {
      throw new TypeError(`Cannot listen to "${event}": that is no function`);
    }
    const listeners = this.#listeners.get(event) ?? new Set();
    const entry = { run: run as unknown as AnyListener }; // see there
    this.#listeners.set(event, listeners.add(entry));
    return () => void listeners.delete(entry);
  }

  /** Tells the listeners of an event, in a moment, in order. */
  fire<K extends keyof ServerEvents>(event: K, ...args: ServerEvents[K]): void {
    if (!this.#listeners.get(event)?.size) return;
    this.#queue.push({ event, args });
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    // A listener may do anything, and a connection or a store is in the middle of something.
    this.#options.clock.defer(() => this.#flush());
  }

  /** Tells the listeners of `error`. */
  report(error: unknown, clientId?: string): void {
    const shown = error instanceof Error
      ? error
      : new Error(toErrorBody(error, "unknown").message, { cause: error });
    if (clientId === undefined) this.fire("error", shown);
    else this.fire("error", shown, clientId);
  }

  /** Tells what is due now, and waits for async listeners, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#flush();
    if (this.#running.size === 0) return;
    let grace: Timer | undefined;
    const tooLate = new Promise<void>((resolve) => {
      grace = this.#options.clock.setTimer(graceMs, resolve);
    });
    await Promise.race([Promise.all(this.#running), tooLate]);
    grace?.cancel();
  }

  #flush(): void {
    this.#isDeferred = false;
    for (const { event, args } of this.#queue.splice(0)) {
      const listeners = this.#listeners.get(event);
      for (const entry of [...listeners ?? []]) {
        // An earlier one may have taken it off.
        if (listeners?.has(entry)) this.#run(event, entry.run, args);
      }
    }
  }

  #run(
    event: keyof ServerEvents,
    run: AnyListener,
    args: readonly unknown[],
  ): void {
    const { scopes } = this.#options;
    const errand = new Errand(`a listener of "${event}"`);
    let running: Promise<void> | undefined;
    try {
      // In the call, if any, that caused it, its writes would count as that call's.
      const returned = scopes.exit(() => run(...args as never[]), errand); // see AnyListener
      if (!(returned instanceof Promise)) return;
      running = returned
        .catch((error) => this.#failed(event, error))
        .finally(() => {
          errand.end();
          this.#running.delete(running!); // assigned before anything settles
        });
      this.#running.add(running);
    } catch (error) {
      this.#failed(event, error);
    } finally {
      if (!running) errand.end();
    }
  }

  #failed(event: keyof ServerEvents, error: unknown): void {
    this.#options.logger.error('A listener of "{event}" failed: {error}', {
      event,
      error,
    });
    // What a listener of "error" throws must not come back to it.
    if (event !== "error") this.report(error);
  }
}
