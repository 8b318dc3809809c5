/**
 * Makes a client of its parts. This module is browser compatible.
 *
 * @module
 */
import { encodeUp } from "../protocol/client_codec.ts";
import type { App } from "../protocol/contract.ts";
import { HeadwaterError, unreachable } from "../protocol/errors.ts";
import type {
  DownFrame,
  ErrorFrame,
  HelloFrame,
  WelcomeFrame,
} from "../protocol/frames.ts";
import type { PlainUpFrame } from "../protocol/up_frame_maps.ts";
import { checkFunction } from "../protocol/shown.ts";
import { cleanName, freezeDeep, type Json } from "../protocol/json.ts";
import type { CallOptions, Client, ClientStatus, Guess } from "./api.ts";
import type { SubscriptionHandle } from "./handle_api.ts";
import type { ClientOptions } from "./client_options.ts";
import { type BackoffOptions, retryDelayMs } from "./backoff.ts";
import { Credentials, type TokenSource } from "./credentials.ts";
import { Deferred } from "./deferred.ts";
import {
  type ClientClock,
  type Environment,
  hostEnvironment,
} from "./environment.ts";
import { EventFilter } from "./event_order.ts";
import { LateWriting } from "./late_writing.ts";
import { Listeners } from "./listeners.ts";
import { Outbox } from "./outbox.ts";
import { LONGEST_NAME, type PendingRequest, type Request } from "./request.ts";
import {
  disconnected,
  Reconnector,
  type ReconnectorOwner,
} from "./reconnector.ts";
import type { Subscription } from "./subscription.ts";
import { Subscriptions, type SubscriptionsOwner } from "./subscriptions.ts";
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "./write_options.ts";
import type { LoadWriting, StateKeeper, WritingOwner } from "./writing_port.ts";

/**
 * Makes a client, and connects it if it gets a URL.
 *
 * Subscriptions and calls may be made at any time; they reach the server when
 * there is a connection. A lost connection is made again by itself, and every
 * subscription then gets what it missed.
 *
 * @example Follow a store and change it
 * ```ts
 * import { createClient } from "@headwater/sync/client";
 * import { createServer } from "@headwater/sync/server";
 * import assert from "node:assert/strict";
 *
 * const server = createServer({ kv: ":memory:" });
 * const counter = server.createStore("Counter", { count: 0 });
 * server.handle("add", async (args: { by: number }) => {
 *   await counter.update((draft) => {
 *     draft.count += args.by;
 *   });
 * });
 * await server.listen({ port: 0 });
 *
 * const client = createClient(`ws://localhost:${server.port}`);
 * const handle = client.subscribe<{ count: number }>("Counter");
 * await handle.ready();
 * await client.call("add", { by: 2 });
 * assert.deepEqual(handle.getState(), { count: 2 });
 *
 * client.destroy();
 * await server.close();
 * ```
 *
 * @throws {TypeError} If the URL or an option is not as it must be.
 */
export function createClient<A extends App = App>(
  url?: string | URL,
  options: ClientOptions<A> = {},
): Client<A> {
  return createHostedClient(url, options);
}

/** Options of {@linkcode createHostedClient}. */
export interface HostedOptions<A extends App = App> extends ClientOptions<A> {
  /** Loads the part that writes; by a dynamic import by default. */
  loadWriting?: LoadWriting | undefined;
}

/** The same for a host that has the part that writes already, as tests do. */
export function createHostedClient<A extends App = App>(
  url: string | URL | undefined,
  options: HostedOptions<A>,
): Client<A> {
  const client: Client = new HeadwaterClient(options);
  if (url !== undefined) client.connect(url);
  // The contract is the caller's claim about the server: nothing here depends on it.
  return client;
}

class HeadwaterClient implements Client {
  readonly #clock: ClientClock;
  readonly #listeners: Listeners;
  readonly #reconnector: Reconnector;
  readonly #subscriptions: Subscriptions;
  readonly #outbox: Outbox;
  readonly #writing: LateWriting;
  readonly #credentials: Credentials;
  readonly #hasStorage: boolean;
  #hasGreeted = false;
  /** Frames, and for each barrier between them what to do when it has been passed. */
  readonly #outgoing: (PlainUpFrame | (() => void))[] = [];
  #isFlushDue = false;
  #ready = new Deferred<void>();
  #clientId: string | undefined;
  #user: Json = null;
  #heardAt: number | undefined;
  // What the message at hand leads to, once it is applied.
  readonly #events: (() => void)[] = [];
  readonly #eventFilter = new EventFilter();

  constructor(options: HostedOptions) {
    const environment = toEnvironment(options);
    const backoff: BackoffOptions = {
      delayMs: checkDuration(
        "reconnectDelayMs",
        options.reconnectDelayMs ?? 1_000,
      ),
      maxMs: checkDuration("reconnectMaxMs", options.reconnectMaxMs ?? 10_000),
      random: environment.random,
    };
    this.#clock = environment.clock;
    this.#credentials = new Credentials(options.token);
    this.#listeners = new Listeners(environment.reportError);
    this.#outbox = new Outbox({
      journal: () => this.#keeper,
      clock: environment.clock,
      timeoutMs: checkDuration("rpcTimeoutMs", options.rpcTimeoutMs ?? 10_000),
      onDue: () => this.#flushSoon(),
    });
    this.#subscriptions = new Subscriptions(
      this.#toSubscriptionsOwner(backoff),
    );
    this.#reconnector = new Reconnector(
      { environment, backoff, isOn: options.reconnect ?? true },
      this.#toReconnectorOwner(),
    );
    this.#hasStorage = options.storage !== undefined;
    this.#writing = new LateWriting(
      environment.loadWriting,
      this.#toWritingOwner(options, environment),
    );
    this.#writing.load();
  }

  get status(): ClientStatus {
    return this.#reconnector.status;
  }

  get clientId(): string | undefined {
    return this.#clientId;
  }

  get user(): Json {
    return this.#user;
  }

  get unackedCount(): number {
    return this.#outbox.size + this.#writing.size;
  }

  connect(url: string | URL): void {
    const wasClosed = this.status === "closed";
    this.#reconnector.connect(url);
    if (wasClosed) this.#ready = new Deferred();
  }

  ready(): Promise<void> {
    return this.#ready.promise;
  }

  setToken(token: TokenSource): Promise<void> {
    this.#credentials.use(token);
    if (this.status === "idle" || this.status === "closed") {
      return Promise.resolve();
    }
    const taken = this.#credentials.taken();
    if (this.status === "connected") this.#refresh();
    return taken;
  }

  subscribe<T>(
    name: string,
    onChange?: (state: T) => void,
  ): SubscriptionHandle<T> {
    // As the server will name it: a name that looks the same is the same.
    const normal = cleanName(name, "the store name", LONGEST_NAME);
    if (onChange !== undefined) {
      checkFunction(onChange, `Cannot subscribe to "${normal}": the listener`);
    }
    const { isDestroyed, closedBy } = this.#reconnector;
    if (isDestroyed && closedBy) {
      return this.#subscriptions.addEnded(normal, closedBy);
    }
    return this.#subscriptions.add(normal, onChange);
  }

  call<R>(name: string, args?: unknown, options: CallOptions = {}): Promise<R> {
    try {
      const normal = cleanName(name, "the function name", LONGEST_NAME);
      const clean = args === undefined
        ? undefined
        : this.#writing.clean(args, "the arguments");
      const { closedBy } = this.#reconnector;
      if (closedBy !== undefined) {
        return rejectedQuietly(disconnected(closedBy));
      }
      // Not awaited: the promise that add() may reject quietly must be the caller's own.
      const request = callRequest(normal, clean);
      const pending = this.#outbox.add(request, options.signal);
      this.#guess(pending, options);
      // Not awaited: the promise that may be rejected quietly must be the caller's own.
      return pending.answer.promise as Promise<R>; // the caller's claim
    } catch (error) {
      return Promise.reject(error);
    }
  }

  mutate(
    name: string,
    args?: unknown,
    options: MutateOptions = {},
  ): Promise<ClientWritten> {
    return this.#writing.run((writing) => writing.mutate(name, args, options));
  }

  batch(run: () => void, { policy }: WriteOptions = {}): Promise<void> {
    return this.#writing.batch(run, policy);
  }

  on(channel: string, listener: (data: never) => void): () => void {
    checkFunction(listener, `Cannot listen to "${channel}": the listener`);
    return this.#listeners.on(channel, listener);
  }

  destroy(): void {
    this.#reconnector.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #toReconnectorOwner(): ReconnectorOwner {
    return {
      hello: () => {
        this.#writing.load();
        return this.#hasStorage ? this.#helloOfKept() : this.#hello();
      },
      welcomed: (frame, isNew) => this.#welcomed(frame, isNew),
      message: (frames) => this.#receive(frames),
      disconnected: (cause) => {
        this.#outgoing.length = 0;
        this.#outbox.disconnected();
        this.#subscriptions.disconnected();
        this.#ready = new Deferred();
        this.#listeners.emit("disconnected", cause);
      },
      reconnecting: (next) => this.#listeners.emit("reconnecting", next),
      closed: (error) => this.#closed(error),
      fail: (error) => this.#listeners.emit("error", error),
    };
  }

  #toWritingOwner(
    { app, storage }: ClientOptions,
    { clock, random }: Environment,
  ): WritingOwner {
    // deno-lint-ignore no-this-alias
    const client = this;
    return {
      clock,
      random,
      storage,
      outbox: this.#outbox,
      mutators: app?.mutators ?? {},
      get hasGreeted() {
        return client.#hasGreeted;
      },
      identity: () => ({ clientId: this.#clientId ?? "", user: this.#user }),
      subscriptions: () => this.#subscriptions.all(),
      find: (name) => this.#subscriptions.find(name),
      revive: (name) => this.#subscriptions.revive(name),
      revived: (subscription) => this.#subscriptions.revived(subscription),
      show: (states) => {
        this.#subscriptions.restore(states);
        this.#publishSoon([]);
      },
      changed: (stores) => this.#publishSoon(stores),
      flush: () => this.#flushSoon(),
      redial: () => this.#reconnector.redial(),
      fail: (error) => this.#listeners.emit("error", error),
    };
  }

  #hello(): HelloFrame | Promise<HelloFrame> {
    this.#hasGreeted = true;
    return this.#credentials.complete(() => this.#outbox.hello());
  }

  /** What was sent before a reload has to go on in its session. */
  async #helloOfKept(): Promise<HelloFrame> {
    // Where the part cannot be loaded, it goes on with another session for now.
    await this.#writing.settled();
    await this.#keeper?.settled();
    return this.#hello();
  }

  get #keeper(): StateKeeper | undefined {
    return this.#writing.part?.keeper;
  }

  #toSubscriptionsOwner(backoff: BackoffOptions): SubscriptionsOwner {
    return {
      clock: this.#clock,
      heardAt: () => this.#heardAt,
      send: (frame) => {
        this.#outgoing.push(frame);
        this.#flushSoon();
      },
      fail: (error) =>
        void this.#events.push(() => this.#listeners.emit("error", error)),
      retryMs: (attempt) => retryDelayMs(attempt, 0, backoff),
      guard: (run) => this.#listeners.guard(run),
      writing: () => this.#writing,
      ended: (name) => this.#keeper?.forget(name),
      barrier: (passed) => {
        this.#outgoing.push(passed);
        this.#flushSoon();
      },
    };
  }

  #welcomed(frame: WelcomeFrame, isNew: boolean): void {
    this.#clientId = frame.clientId;
    this.#user = freezeDeep(frame.user ?? null);
    this.#credentials.welcomed();
    this.#refresh();
    this.#outbox.welcomed(frame);
    this.#keeper?.keep();
    this.#flushSoon();
    if (!isNew) return;
    this.#subscriptions.connected();
    this.#ready.resolve();
    this.#listeners.emit("connected", { clientId: frame.clientId });
  }

  #closed(error: Error): void {
    const { isDestroyed } = this.#reconnector;
    this.#credentials.closed(error);
    this.#writing.closed(error, { isFinal: isDestroyed });
    if (isDestroyed) this.#keeper?.close();
    this.#outbox.rejectAll(error, { isFinal: isDestroyed });
    this.#ready.rejectQuietly(error);
    if (!isDestroyed) return this.#subscriptions.fail(error);
    this.#subscriptions.destroy(error);
    this.#listeners.clear();
  }

  /** Applies a whole message, then tells about it. */
  #receive(frames: readonly DownFrame[]): void {
    // Given last, so that the state shows what a call has changed when its caller goes on.
    const answers: (() => void)[] = [];
    for (const frame of frames) {
      switch (frame.type) {
        case "snap":
        case "resume":
        case "patch":
          this.#subscriptions.apply(frame);
          break;
        case "del":
          if (!this.#subscriptions.deleted(frame.name)) break;
          this.#events.push(() =>
            this.#listeners.emit("storeDeleted", frame.name)
          );
          break;
        case "err":
          this.#failed(frame);
          break;
        case "res": {
          const answer = this.#outbox.answer(frame);
          if (answer) answers.push(answer);
          break;
        }
        case "evt":
          if (!this.#eventFilter.pass(frame.order)) break;
          this.#events.push(() =>
            this.#listeners.deliver(frame.channel, frame.data)
          );
          break;
        case "pong":
          this.#reconnector.connection?.takePong();
          break;
        case "welcome":
        case "parts":
          break;
        case "own":
          this.#subscriptions.own(frame.name, frame.calls);
          break;
        default:
          unreachable(frame);
      }
    }
    this.#heardAt = this.#clock.now();
    this.#keeper?.keepStates();
    this.#subscriptions.publish();
    for (const event of this.#events.splice(0)) event();
    for (const answer of answers) answer();
    // What was held until a store's answer came.
    if (this.#outbox.hasDue) this.#flushSoon();
  }

  #failed({ name, error }: ErrorFrame): void {
    if (name !== undefined) this.#subscriptions.failed(name, error);
    else {this.#events.push(() =>
        this.#listeners.emit("error", HeadwaterError.fromBody(error))
      );}
  }

  /** Shows what a call is expected to do to the stores that are here. */
  #guess(pending: PendingRequest, { store, optimistic }: CallOptions): void {
    if (!optimistic) return;
    const byStore = typeof optimistic === "function"
      ? { [store ?? ""]: optimistic }
      : optimistic;
    this.#writing.when((writing) => {
      const guesses = new Map<Subscription, Guess>();
      for (const [name, guess] of Object.entries(byStore)) {
        const subscription = this.#subscriptions.find(name.normalize());
        if (subscription) guesses.set(subscription, guess);
      }
      writing.guess(pending, guesses);
    });
  }

  /** Tells the listeners at the end of this tick, as they must not run within a write. */
  #publishSoon(stores: Iterable<Subscription>): void {
    for (const store of stores) this.#subscriptions.touched(store);
    queueMicrotask(() => this.#subscriptions.publish());
  }

  /** Shows the server on the live connection what it was not shown yet. */
  #refresh(): void {
    this.#credentials.prepare(() => this.#flushSoon());
  }

  /** Sends what there is at the end of this tick, all of it in one message. */
  #flushSoon(): void {
    if (this.#isFlushDue || this.#reconnector.connection === undefined) return;
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { connection } = this.#reconnector;
    if (connection === undefined) return;
    for (const message of this.#outbox.takeCancels()) {
      connection.send([message]);
    }
    const frames = this.#outgoing.splice(0).map((item) =>
      // The server handles in order: before the pong comes what it sent before the ping.
      typeof item === "function" ? connection.encodePing(item) : encodeUp(item)
    );
    const refresh = this.#credentials.isDue && this.#outbox.refresh();
    if (refresh) connection.sayHello(this.#credentials.refresh(refresh));
    const renewal = this.#outbox.renewal();
    if (renewal !== undefined) connection.sayHello(renewal);
    frames.push(...this.#outbox.takeFrames(connection.messageBytes));
    connection.send(frames);
  }
}

function callRequest(name: string, args: Json | undefined): Request {
  return {
    name,
    action: `call "${name}"`,
    timesOut: true,
    encode: (sending) =>
      encodeUp({
        type: "rpc",
        name,
        ...(args !== undefined && { args }),
        ...sending,
      }),
  };
}

function rejectedQuietly<T>(error: Error): Promise<T> {
  const answer = new Deferred<T>();
  answer.rejectQuietly(error);
  return answer.promise;
}

function toEnvironment(options: HostedOptions): Environment {
  const host = hostEnvironment();
  return {
    WebSocket: options.WebSocket ?? host.WebSocket,
    clock: options.clock ?? host.clock,
    random: options.random ?? host.random,
    onWake: options.onWake ?? host.onWake,
    reportError: options.reportError ?? host.reportError,
    loadWriting: options.loadWriting ?? host.loadWriting,
  };
}

function checkDuration(option: string, ms: number): number {
  if (ms > 0) return ms;
  throw new TypeError(
    `Cannot make a client: ${option} must be over 0, not ${ms}`,
  );
}
