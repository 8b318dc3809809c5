/**
 * One socket with the protocol on it: hello, a serial inbox, answers that wait
 * for the state they promise, and an end that happens once.
 *
 * @module
 */
import { userIdOf } from "../protocol/principal.ts";
import { encodeFrame } from "../protocol/codec.ts";
import type { ErrorBody } from "../protocol/errors.ts";
import { CLOSE, type CloseCode } from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Json } from "../protocol/value.ts";
import type { ConnectionRequest } from "./authentication.ts";
import { DirtySubscriptions } from "./dirty_subscriptions.ts";
import { Inbox, type InboxOwner, type ReceivedFrame } from "./inbox.ts";
import { Outbox, type Outboxes, type OutboxOwner } from "./outbox.ts";
import type {
  Clock,
  ConnectionInfo,
  Socket,
  SocketEvents,
  Timer,
} from "./ports.ts";
import type { Member } from "./roster.ts";
import { RunningCalls } from "./running_calls.ts";
import type { Answer, Session } from "./session.ts";
import type { JointDelivery } from "./stores/joint_delivery.ts";
import type { Subscription, SubscriptionOwner } from "./subscription.ts";

/** By what it is known who is behind a connection. */
export interface Proof {
  /** Present where somebody asks for it. */
  request: ConnectionRequest | undefined;
  /** What the client has shown last. */
  token: string | undefined;
  /** A hello is being answered. */
  isAsking: boolean;
  /** How often it was asked again. */
  runs: number;
}

/** What a connection asks of its server. */
export interface ConnectionHost {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly outboxes: Outboxes;
  /** Handles one frame; a promise counts as under way until it settles. */
  dispatch(connection: Connection, frame: ReceivedFrame): void | Promise<void>;
  /** The connection has a session, the first or in place of that one. */
  welcomed(connection: Connection, before: Session | undefined): void;
  /** There is another user behind the connection; it had that id. */
  identified(connection: Connection, before: string | undefined): void;
  /** A subscription of the connection was answered. */
  subscribed(connection: Connection, name: string): void;
  /** The same subscription is over. */
  unsubscribed(connection: Connection, name: string): void;
  /** The connection has ended, whatever the reason. */
  ended(connection: Connection): void;
  /** Something failed that should not have; what the client is told of it. */
  failed(connection: Connection, error: unknown, what: string): ErrorBody;
  /** The same for what may have been refused on purpose. */
  explain(connection: Connection, error: unknown, what: string): ErrorBody;
}

/** See the module's documentation. */
export class Connection
  implements SocketEvents, SubscriptionOwner, InboxOwner, OutboxOwner, Member {
  readonly outbox: Outbox;
  readonly subscriptions = new Map<string, Subscription>();
  /** Calls that run. */
  readonly calls = new RunningCalls();
  /** Whether the client has proven that it was here before, over the same KV. */
  isKnown = false;
  /** Whether the client is told which of its own calls a frame shows. */
  showsOwn = false;
  /** Who is behind it, as far as that is known. */
  readonly proof: Proof = {
    request: undefined,
    token: undefined,
    isAsking: false,
    runs: 0,
  };
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #inbox: Inbox;
  readonly #dirty: DirtySubscriptions;
  /** Answers that wait until the caller's subscriptions show what they promise. */
  #held: Answer[] = [];
  #session: Session | undefined;
  #info: ConnectionInfo;
  /** Subscriptions that were answered. */
  readonly #followed = new Set<Subscription>();
  #helloTimer: Timer | undefined;
  #heardAtMs: number;
  #isClosed = false;

  /** Takes over an open socket. */
  constructor(
    socket: Socket,
    address: string | undefined,
    host: ConnectionHost,
  ) {
    this.#info = { address, user: null };
    this.#socket = socket;
    this.#host = host;
    this.outbox = new Outbox(socket, this, host.outboxes);
    this.#inbox = new Inbox(this, host.limits);
    this.#dirty = new DirtySubscriptions(host.clock, this.outbox);
    this.#heardAtMs = host.clock.monotonic();
    const { helloMs } = host.limits;
    this.#helloTimer = host.clock.setTimer(helloMs, () => {
      this.close(CLOSE.helloTimeout, `No hello within ${helloMs} ms`);
    });
  }

  /** The session, once hello has been answered. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** @inheritdoc */
  get shownSession(): Session | undefined {
    return this.showsOwn ? this.#session : undefined;
  }

  /** Whether it has ended. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What the application is told of it. */
  get info(): ConnectionInfo {
    return this.#info;
  }

  /** The user behind it; null for nobody. */
  get user(): Json {
    return this.#info.user;
  }
  set user(user: Json) {
    const before = this.userId;
    this.#info = { ...this.#info, user };
    this.#host.identified(this, before);
  }

  /** @inheritdoc */
  get clientId(): string | undefined {
    return this.#session?.clientId;
  }

  /** @inheritdoc */
  get userId(): string | undefined {
    return userIdOf(this.user);
  }

  /** @inheritdoc */
  follows(store: string): boolean {
    const subscription = this.subscriptions.get(store);
    return subscription !== undefined && this.#followed.has(subscription);
  }

  /** A subscription was answered, for the first time or again. */
  followed(subscription: Subscription): void {
    if (subscription.isOver || this.#followed.has(subscription)) return;
    this.#followed.add(subscription);
    this.#host.subscribed(this, subscription.name);
  }

  /** When anything was last received, by the monotonic clock. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** Begins a session, or replaces it; the one before is returned. */
  welcome(session: Session): Session | undefined {
    this.#helloTimer?.cancel();
    this.#helloTimer = undefined;
    const before = this.#session;
    this.#session = session;
    this.#host.welcomed(this, before);
    return before;
  }

  /** @inheritdoc */
  message(data: Uint8Array | string): void {
    if (this.#isClosed) return;
    this.#heardAtMs = this.#host.clock.monotonic();
    this.#inbox.push(data);
  }

  /** @inheritdoc */
  closed(): void {
    this.#end();
  }

  /** Ends the connection with a code. */
  close(code: CloseCode, reason: string): void {
    if (this.#isClosed) return;
    // What was answered already goes first; a socket that is full drops it.
    this.outbox.finish();
    // Dropped here and not when the socket says so: a stalled peer may never let it.
    this.#end();
    this.#socket.close(code, reason);
  }

  /** Takes nothing more, and resolves when what is under way is answered. */
  drain(): Promise<void> {
    return this.#inbox.drain();
  }

  /** Sends an error that concerns the whole connection, or the store of that name. */
  refuse(error: ErrorBody, name?: string): void {
    this.outbox.push(
      encodeFrame({ type: "err", error, ...(name !== undefined && { name }) }),
    );
  }

  /** What the client is told where `what` it asked for has failed. */
  explain(error: unknown, what: string): ErrorBody {
    return this.#host.explain(this, error, what);
  }

  /** @inheritdoc */
  failed(error: unknown, what: string): ErrorBody {
    return this.#host.failed(this, error, what);
  }

  /** @inheritdoc */
  get canAnswer(): boolean {
    return !this.outbox.isOverfull;
  }

  /** @inheritdoc */
  handle(frame: ReceivedFrame): void | Promise<void> {
    return this.#host.dispatch(this, frame);
  }

  /** Sends a call's answer, not before the caller's subscriptions show its effects. */
  answer(answer: Answer): void {
    if (this.#isClosed) return;
    if (this.#maySend(answer)) this.outbox.push(answer.frame);
    else this.#held.push(answer);
  }

  /** @inheritdoc */
  dirtied(subscription: Subscription): void {
    this.#dirty.add(subscription);
  }

  /** @inheritdoc */
  isBound(subscription: Subscription): boolean {
    return this.#dirty.isBound(subscription);
  }

  /** @inheritdoc */
  patchedTogether(deliveries: readonly JointDelivery[]): void {
    const parts = deliveries.flatMap(({ subscriber, fanout, delivery }) => {
      const subscription = this.subscriptions.get(fanout.name);
      return subscription && subscription === subscriber
        ? [{ subscription, delivery }]
        : [];
    });
    this.#dirty.deliver(parts);
  }

  /** @inheritdoc */
  advanced(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = held.filter((answer) => !this.#maySend(answer));
    for (const answer of held) {
      if (!this.#held.includes(answer)) this.outbox.push(answer.frame);
    }
  }

  /** Ends a subscription, and says why. */
  end(subscription: Subscription, error: ErrorBody): void {
    subscription.end();
    this.refuse(error, subscription.name);
    this.finished(subscription);
  }

  /** @inheritdoc */
  finished(subscription: Subscription): void {
    if (this.subscriptions.get(subscription.name) === subscription) {
      this.subscriptions.delete(subscription.name);
    }
    this.#dirty.delete(subscription);
    this.#unfollow(subscription);
    this.advanced();
  }

  /** @inheritdoc */
  drained(): void {
    this.#dirty.flush();
    this.advanced();
    this.#inbox.advance();
  }

  /** @inheritdoc */
  stalled(): void {
    this.close(CLOSE.tooSlow, "The client does not read fast enough");
  }

  /** @inheritdoc */
  gone(): void {
    this.#end();
  }

  #maySend({ written }: Answer): boolean {
    return !this.outbox.isPaused && written.every(({ id, epoch, version }) => {
      const subscription = this.subscriptions.get(id.name);
      return !subscription || subscription.shows(epoch, version);
    });
  }

  #unfollow(subscription: Subscription): void {
    if (!this.#followed.delete(subscription)) return;
    this.#host.unsubscribed(this, subscription.name);
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#helloTimer?.cancel();
    this.calls.stop();
    this.#inbox.stop();
    this.#held = [];
    this.#dirty.clear();
    for (const subscription of this.subscriptions.values()) {
      subscription.end();
      this.#unfollow(subscription);
    }
    this.subscriptions.clear();
    this.outbox.close();
    this.#host.ended(this);
  }
}
