/**
 * One socket with the protocol on it: hello, a serial inbox, answers that wait
 * for the state they promise, and an end that happens once.
 *
 * @module
 */
import { decodeUp, encodeFrame } from "../protocol/codec.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import {
  type ErrorBody,
  HeadwaterError,
  LimitError,
} from "../protocol/errors.ts";
import {
  CLOSE,
  type CloseCode,
  type RefusedFrame,
  type UpFrame,
} from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Json } from "../protocol/value.ts";
import type { ConnectionRequest } from "./authentication.ts";
import { Bonds } from "./bonds.ts";
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
import { userIdOf } from "./stores/writer.ts";

/**
 * What a message in an inbox costs beside its bytes: a million of a few bytes each
 * would otherwise take a hundred times the limit.
 */
const MESSAGE_COST_BYTES = 64;

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

/** What comes out of the inbox. */
export type ReceivedFrame = UpFrame | RefusedFrame;

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
}

/** See the module's documentation. */
export class Connection
  implements SocketEvents, SubscriptionOwner, OutboxOwner, Member {
  readonly info: ConnectionInfo;
  readonly outbox: Outbox;
  readonly subscriptions = new Map<string, Subscription>();
  /** Calls that run. */
  readonly calls = new RunningCalls();
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
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  /** Frames of a message that is being handled. */
  #frames: ReceivedFrame[] = [];
  #underWay = 0;
  #isHandling = false;
  /** What follows a hello waits for its session. */
  #isGreeting = false;
  #isDraining = false;
  #onIdle: () => void = () => {};
  readonly #dirty = new Set<Subscription>();
  /** Those that have to be sent in one message. */
  readonly #bonds = new Bonds<Subscription>();
  #isFlushDeferred = false;
  /** Answers that wait until the caller's subscriptions show what they promise. */
  #held: Answer[] = [];
  #session: Session | undefined;
  #user: Json = null;
  /** Subscriptions that were answered. */
  readonly #followed = new Set<Subscription>();
  #helloTimer: Timer | undefined;
  #heardAtMs: number;
  #isClosed = false;

  /** Takes over an open socket. */
  constructor(socket: Socket, info: ConnectionInfo, host: ConnectionHost) {
    this.info = info;
    this.#socket = socket;
    this.#host = host;
    this.outbox = new Outbox(socket, this, host.outboxes);
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

  /** The user behind it; null for nobody. */
  get user(): Json {
    return this.#user;
  }
  set user(user: Json) {
    const before = this.userId;
    this.#user = user;
    this.#host.identified(this, before);
  }

  /** @inheritdoc */
  get clientId(): string | undefined {
    return this.#session?.clientId;
  }

  /** @inheritdoc */
  get userId(): string | undefined {
    return userIdOf(this.#user);
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
    if (typeof data === "string") {
      return this.close(
        CLOSE.badFrame,
        "Text messages are not part of the protocol",
      );
    }
    const { messageBytes, inboxBytes } = this.#host.limits;
    const waits = this.#inbox.length > 0 || this.#frames.length > 0;
    if (
      (waits || !this.#mayHandle()) &&
      this.calls.cancelAhead(data, this.#host.limits, waits)
    ) return;
    if (data.byteLength > messageBytes) {
      const { message } = new LimitError(
        "take the message",
        "messageBytes",
        messageBytes,
        data.byteLength,
      );
      return this.close(CLOSE.tooBig, message);
    }
    this.#inboxBytes += data.byteLength + MESSAGE_COST_BYTES;
    if (this.#inboxBytes > inboxBytes) {
      const { message } = new LimitError(
        "queue the message",
        "inboxBytes",
        inboxBytes,
        this.#inboxBytes,
      );
      return this.close(CLOSE.flooding, message);
    }
    this.#inbox.push(data);
    this.#handle();
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
    this.#isDraining = true;
    if (this.#underWay === 0 || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle = resolve);
  }

  /** Sends an error that concerns the whole connection, or the store of that name. */
  refuse(error: ErrorBody, name?: string): void {
    this.outbox.push(
      encodeFrame({ type: "err", error, ...(name !== undefined && { name }) }),
    );
  }

  /** What the client is told where `what` it asked for has failed. */
  explain(error: unknown, what: string): ErrorBody {
    if (error instanceof HeadwaterError) {
      return toErrorBody(error, "unavailable");
    }
    return this.#host.failed(this, error, what);
  }

  /** Sends a call's answer, not before the caller's subscriptions show its effects. */
  answer(answer: Answer): void {
    if (this.#isClosed) return;
    if (this.#shows(answer)) this.outbox.push(answer.frame);
    else this.#held.push(answer);
  }

  /** @inheritdoc */
  dirtied(subscription: Subscription): void {
    this.#dirty.add(subscription);
    if (this.#isFlushDeferred || this.outbox.isFull) return;
    // At the end of the tick: more may change until then.
    this.#isFlushDeferred = true;
    this.#host.clock.defer(() => {
      this.#isFlushDeferred = false;
      this.#flushDirty();
    });
  }

  /** @inheritdoc */
  isBound(subscription: Subscription): boolean {
    return this.#bonds.has(subscription);
  }

  /** @inheritdoc */
  patchedTogether(deliveries: readonly JointDelivery[]): void {
    const parts = deliveries.flatMap(({ subscriber, fanout, delivery }) => {
      const subscription = this.subscriptions.get(fanout.name);
      return subscription && subscription === subscriber
        ? [{ subscription, delivery }]
        : [];
    });
    const areReady = parts.every(({ subscription, delivery }) =>
      subscription.isUpTo(delivery) && !this.isBound(subscription)
    );
    if (areReady && !this.outbox.isFull) {
      for (const { subscription, delivery } of parts) {
        subscription.take(delivery);
      }
      return;
    }
    // Sent one by one, as there is room, they would show a half of the transaction.
    this.#bonds.bind(parts.map(({ subscription }) => subscription));
    for (const { subscription } of parts) subscription.lag();
  }

  /** @inheritdoc */
  advanced(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = held.filter((answer) => !this.#shows(answer));
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
    for (const other of this.#bonds.leave(subscription)) this.dirtied(other);
    this.#unfollow(subscription);
    this.advanced();
  }

  /** @inheritdoc */
  drained(): void {
    this.#flushDirty();
    this.#handle();
  }

  /** @inheritdoc */
  stalled(): void {
    this.close(CLOSE.tooSlow, "The client does not read fast enough");
  }

  /** @inheritdoc */
  gone(): void {
    this.#end();
  }

  #shows({ written }: Answer): boolean {
    return written.every(({ id, epoch, version }) => {
      const subscription = this.subscriptions.get(id.name);
      return !subscription || subscription.shows(epoch, version);
    });
  }

  #flushDirty(): void {
    for (const subscription of [...this.#dirty]) {
      if (this.outbox.isFull) return;
      // It may have gone with one that it is bound to.
      if (this.#dirty.has(subscription)) this.#flushGroup(subscription);
    }
  }

  #flushGroup(subscription: Subscription): void {
    for (const member of this.#bonds.groupOf(subscription)) {
      const { released } = member;
      released?.then(() => this.dirtied(member));
      if (released) return;
      if (member.isAnswering && this.isBound(member)) return;
    }
    for (const member of this.#bonds.release(subscription)) {
      this.#dirty.delete(member);
      member.flush();
    }
  }

  /** Handles what is in the inbox, as far as the limits allow. */
  #handle(): void {
    if (this.#isHandling) return;
    this.#isHandling = true;
    while (this.#mayHandle()) {
      const frame = this.#frames.shift();
      if (frame) this.#dispatch(frame);
      else if (!this.#decodeNext()) {
        this.calls.caughtUp();
        break;
      }
    }
    this.#isHandling = false;
  }

  #mayHandle(): boolean {
    // A client that does not read gets no further answers, so its inbox stands still.
    return !this.#isClosed && !this.#isGreeting && !this.#isDraining &&
      this.#underWay < this.#host.limits.callsPerConnection &&
      !this.outbox.isFull;
  }

  #decodeNext(): boolean {
    const message = this.#inbox.shift();
    if (!message) return false;
    this.#inboxBytes -= message.byteLength + MESSAGE_COST_BYTES;
    try {
      this.#frames = decodeUp(message, this.#host.limits);
    } catch (error) {
      // Thrown further it would end the process: the host delivers messages in an event.
      if (!(error instanceof HeadwaterError)) {
        this.#host.failed(this, error, "A message");
      }
      this.close(CLOSE.badFrame, toErrorBody(error, "bad_frame").message);
    }
    return true;
  }

  #dispatch(frame: ReceivedFrame): void {
    let handled: void | Promise<void>;
    try {
      handled = this.#host.dispatch(this, frame);
    } catch (error) {
      return this.#fail(error);
    }
    if (!handled) return;
    this.#underWay++;
    if (frame.type === "hello") this.#isGreeting = true;
    handled.catch((error) => this.#fail(error)).finally(() => {
      this.#underWay--;
      if (frame.type === "hello") this.#isGreeting = false;
      if (this.#underWay === 0) this.#onIdle();
      this.#handle();
    });
  }

  #unfollow(subscription: Subscription): void {
    if (!this.#followed.delete(subscription)) return;
    this.#host.unsubscribed(this, subscription.name);
  }

  #fail(error: unknown): void {
    this.refuse(this.#host.failed(this, error, "What was asked for"));
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#helloTimer?.cancel();
    this.calls.stop();
    this.#inbox.length = 0;
    this.#frames = [];
    this.#held = [];
    this.#dirty.clear();
    for (const subscription of this.subscriptions.values()) {
      subscription.end();
      this.#unfollow(subscription);
    }
    this.subscriptions.clear();
    this.outbox.close();
    this.#onIdle();
    this.#host.ended(this);
  }
}
