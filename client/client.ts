/**
 * A client, of its parts. This module is browser compatible.
 *
 * @module
 */
import type { HelloFrame, WelcomeFrame } from "../protocol/frames.ts";
import { cleanName, freezeDeep, type Json } from "../protocol/json.ts";
import { checkFunction } from "../protocol/shown.ts";
import type { CallOptions, Client, ClientStatus } from "./api.ts";
import { type BackoffOptions, retryDelayMs } from "./backoff.ts";
import { Calls } from "./calls.ts";
import { Credentials, type TokenSource } from "./credentials.ts";
import { Deferred, rejectedQuietly } from "./deferred.ts";
import type { ClientClock } from "./environment.ts";
import type { SubscriptionHandle } from "./handle_api.ts";
import { Inbox } from "./inbox.ts";
import { LateWriting } from "./late_writing.ts";
import { Listeners } from "./listeners.ts";
import { Outbox } from "./outbox.ts";
import { Outgoing } from "./outgoing.ts";
import {
  disconnected,
  Reconnector,
  type ReconnectorOwner,
} from "./reconnector.ts";
import { LONGEST_NAME } from "./request.ts";
import { type HostedOptions, type Settings, toSettings } from "./settings.ts";
import type { Subscription } from "./subscription.ts";
import { Subscriptions, type SubscriptionsOwner } from "./subscriptions.ts";
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "./write_options.ts";
import type { StateKeeper, WritingOwner } from "./writing_port.ts";

/** See `createClient()`. */
export class HeadwaterClient implements Client {
  readonly #clock: ClientClock;
  readonly #listeners: Listeners;
  readonly #reconnector: Reconnector;
  readonly #subscriptions: Subscriptions;
  readonly #outbox: Outbox;
  readonly #writing: LateWriting;
  readonly #credentials: Credentials;
  readonly #hasStorage: boolean;
  readonly #calls: Calls;
  readonly #inbox: Inbox;
  readonly #outgoing: Outgoing;
  #hasGreeted = false;
  #ready = new Deferred<void>();
  #clientId: string | undefined;
  #user: Json | undefined;
  #toldStatus: ClientStatus = "idle";
  #heardAt: number | undefined;

  constructor(options: HostedOptions) {
    const settings = toSettings(options);
    const { environment, backoff, timeoutMs, mostPending } = settings;
    this.#clock = environment.clock;
    this.#hasStorage = options.storage !== undefined;
    this.#credentials = new Credentials(options.token);
    this.#listeners = new Listeners(environment.reportError);
    this.#outbox = new Outbox({
      journal: () => this.#keeper,
      clock: environment.clock,
      timeoutMs,
      mostPending,
      onDue: () => this.#outgoing.flushSoon(),
      missing: () => {
        const { connection, url } = this.#reconnector;
        if (connection) return "";
        return url ? `: not connected to ${url}` : ": call connect(url) first";
      },
    });
    this.#outgoing = new Outgoing({
      outbox: this.#outbox,
      credentials: this.#credentials,
      connection: () => this.#reconnector.connection,
    });
    this.#subscriptions = new Subscriptions(
      this.#toSubscriptionsOwner(backoff),
    );
    this.#inbox = new Inbox({
      listeners: this.#listeners,
      outbox: this.#outbox,
      subscriptions: this.#subscriptions,
      ponged: () => this.#reconnector.connection?.takePong(),
      applied: () => {
        this.#heardAt = this.#clock.now();
        this.#keeper?.keepStates();
      },
    });
    this.#reconnector = new Reconnector(
      { environment, backoff, isOn: options.reconnect ?? true },
      this.#toReconnectorOwner(),
    );
    this.#writing = new LateWriting(
      environment.loadWriting,
      this.#toWritingOwner(options, settings),
    );
    this.#calls = new Calls({
      outbox: this.#outbox,
      writing: this.#writing,
      find: (name) => this.#subscriptions.find(name),
    });
    this.#writing.load();
  }

  get status(): ClientStatus {
    return this.#reconnector.status;
  }

  get clientId(): string | undefined {
    return this.#clientId;
  }

  get user(): Json {
    return this.#user ?? null;
  }

  get unackedCount(): number {
    return this.#outbox.size + this.#writing.size;
  }

  connect(url: string | URL): void {
    const wasClosed = this.status === "closed";
    this.#reconnector.connect(url);
    if (wasClosed) this.#ready = new Deferred();
    this.#tellStatus();
  }

  ready(): Promise<void> {
    return this.#ready.promise;
  }

  setToken(token: TokenSource): Promise<void> {
    this.#credentials.use(token);
    const { isRefused, url } = this.#reconnector;
    if (isRefused && url) {
      const taken = this.#credentials.taken();
      this.connect(url);
      return taken;
    }
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
      const { closedBy } = this.#reconnector;
      if (closedBy !== undefined) {
        return rejectedQuietly(disconnected(closedBy));
      }
      // Not awaited: the promise that may be rejected quietly must be the caller's own.
      return this.#calls.add(name, args, options).answer.promise as Promise<R>; // the caller's claim
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

  batch(run: () => void, options: WriteOptions = {}): Promise<void> {
    return this.#writing.batch(run, options);
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
      mayAskAgain: () => this.#credentials.mayAskAgain(),
      hello: () => {
        this.#writing.load();
        return this.#hasStorage ? this.#helloOfKept() : this.#hello();
      },
      welcomed: (frame, isNew) => this.#welcomed(frame, isNew),
      message: (frames) => {
        this.#inbox.receive(frames);
        // What was held until a store's answer came.
        if (this.#outbox.hasDue) this.#outgoing.flushSoon();
      },
      disconnected: (cause) => {
        this.#outgoing.clear();
        this.#outbox.disconnected();
        this.#subscriptions.disconnected();
        this.#ready = new Deferred();
        this.#tellStatus();
        this.#listeners.emit("disconnected", cause);
      },
      reconnecting: (next) => {
        this.#tellStatus();
        this.#listeners.emit("reconnecting", next);
      },
      closed: (error) => this.#closed(error),
      fail: (error) => this.#listeners.emit("error", error),
    };
  }

  #toWritingOwner(
    { app, storage }: HostedOptions,
    { environment: { clock, random }, undoSteps }: Settings,
  ): WritingOwner {
    // deno-lint-ignore no-this-alias
    const client = this;
    return {
      clock,
      random,
      storage,
      undoSteps,
      outbox: this.#outbox,
      mutators: app?.mutators ?? {},
      get closedBy() {
        // What is kept waits for another connection, or another client.
        const { closedBy, isDestroyed } = client.#reconnector;
        return isDestroyed || !storage ? closedBy : undefined;
      },
      get hasGreeted() {
        return client.#hasGreeted;
      },
      get clientId() {
        return client.#clientId ?? "";
      },
      get user() {
        return client.#user;
      },
      subscriptions: () => this.#subscriptions.all(),
      find: (name) => this.#subscriptions.find(name),
      revive: (name) => this.#subscriptions.revive(name),
      revived: (subscription) => this.#subscriptions.revived(subscription),
      show: (states) => {
        this.#subscriptions.restore(states);
        this.#publishSoon([]);
      },
      unshow: (states) => this.#subscriptions.unshow(states),
      changed: (stores) => this.#publishSoon(stores),
      flush: () => this.#outgoing.flushSoon(),
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
      send: (frame) => this.#outgoing.push(frame),
      fail: (error) => this.#inbox.fail(error),
      retryMs: (attempt) => retryDelayMs(attempt, 0, backoff),
      guard: (run) => this.#listeners.guard(run),
      writing: () => this.#writing,
      ended: (name) => this.#keeper?.forget(name),
      barrier: (passed) => this.#outgoing.push(passed),
    };
  }

  #welcomed(frame: WelcomeFrame, isNew: boolean): void {
    this.#clientId = frame.clientId;
    const user = this.#user = freezeDeep(frame.user ?? null);
    // Before anything is sent: what another user has written must not be.
    this.#writing.part?.welcomed(user);
    this.#credentials.welcomed();
    this.#refresh();
    this.#outbox.welcomed(frame);
    this.#keeper?.keep();
    this.#outgoing.flushSoon();
    if (!isNew) return;
    this.#subscriptions.connected();
    this.#ready.resolve();
    this.#tellStatus();
    this.#listeners.emit("connected", { clientId: frame.clientId });
  }

  #closed(error: Error): void {
    const { isDestroyed } = this.#reconnector;
    this.#credentials.closed(error);
    this.#writing.closed(error, { isFinal: isDestroyed });
    if (isDestroyed) this.#keeper?.close();
    this.#outbox.rejectAll(error, { isFinal: isDestroyed });
    this.#ready.rejectQuietly(error);
    this.#tellStatus();
    if (!isDestroyed) return this.#subscriptions.fail(error);
    this.#subscriptions.destroy(error);
    this.#listeners.clear();
  }

  #tellStatus(): void {
    const { status } = this;
    if (status === this.#toldStatus) return;
    this.#toldStatus = status;
    this.#listeners.emit("status", status);
  }

  /** Tells the listeners at the end of this tick, as they must not run within a write. */
  #publishSoon(stores: Iterable<Subscription>): void {
    for (const store of stores) this.#subscriptions.touched(store);
    queueMicrotask(() => this.#subscriptions.publish());
  }

  /** Shows the server on the live connection what it was not shown yet. */
  #refresh(): void {
    this.#credentials.prepare(() => this.#outgoing.flushSoon());
  }
}
