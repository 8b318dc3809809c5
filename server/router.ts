/**
 * From a frame to what it asks for. What a connection may do is decided here
 * and only here.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import { type ErrorBody, LimitError, unreachable } from "../protocol/errors.ts";
import {
  type CallFrame,
  CLOSE,
  type HelloFrame,
  type MutateFrame,
  PROTOCOL_VERSION,
  type SubscribeFrame,
} from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Access, Greeting } from "./access.ts";
import type { Connection } from "./connection.ts";
import type { ReceivedFrame } from "./inbox.ts";
import type { FunctionsEnvironment } from "./calls.ts";
import type { Functions } from "./functions.ts";
import type { Revocations } from "./revocations.ts";
import type { Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { Subscription } from "./subscription.ts";
import type { Writes } from "./writes.ts";

/** What frames need that is in the KV. */
export interface RouterEnvironment extends FunctionsEnvironment {
  readonly revocations: Revocations;
}

/** What the frames are handled with, once the server has opened its KV. */
export interface RouterOptions {
  readonly limits: Limits;
  readonly serverId: string;
  readonly functions: Functions;
  readonly writes: Writes;
  readonly access: Access;
  /** Opens the KV if it is not open yet. */
  readonly open: () => Promise<RouterEnvironment>;
  readonly heartbeatMs: () => number;
}

const PONG = encodeFrame({ type: "pong" });

/** See the module's documentation. */
export class Router {
  readonly #options: RouterOptions;

  /** A router over what the server has. */
  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Tells a client who it is to the server. */
  welcome(connection: Connection, { resumed }: { resumed: boolean }): void {
    const { session, user } = connection;
    if (!session) return;
    const { limits, serverId, heartbeatMs } = this.#options;
    connection.outbox.push(encodeFrame({
      type: "welcome",
      protocol: PROTOCOL_VERSION,
      clientId: session.clientId,
      session: session.token,
      resumed,
      sessionMs: limits.sessionMs,
      heartbeatMs: heartbeatMs(),
      messageBytes: limits.messageBytes,
      serverId,
      ...(user !== null && { user }),
    }));
  }

  /** Handles one frame. */
  dispatch(connection: Connection, frame: ReceivedFrame): void | Promise<void> {
    if (frame.type === "hello") return this.#hello(connection, frame);
    if (!connection.session) {
      return connection.close(
        CLOSE.badFrame,
        `Expected a hello, got "${frame.type}"`,
      );
    }
    switch (frame.type) {
      case "sub":
        return this.#subscribe(connection, frame);
      case "unsub":
        return this.#unsubscribe(connection, frame.name);
      case "rpc":
        return this.#call(connection, frame);
      case "mut":
        return this.#write(connection, frame);
      case "cancel":
        return connection.calls.cancel(frame.id);
      case "ping":
        return connection.outbox.push(PONG);
      case "refused":
        return frame.of === "rpc"
          ? this.#refuseCall(connection, frame.id, frame.error)
          : connection.refuse(frame.error, frame.name);
      default:
        return unreachable(frame);
    }
  }

  async #hello(connection: Connection, frame: HelloFrame): Promise<void> {
    if (frame.protocol !== PROTOCOL_VERSION) {
      const reason =
        `The server speaks protocol ${PROTOCOL_VERSION}, not ${frame.protocol}`;
      return connection.close(CLOSE.badVersion, reason);
    }
    const { access } = this.#options;
    const greeting = await this.#greet(connection, frame).catch((error) => {
      connection.close(CLOSE.unavailable, "The server cannot reach its KV");
      throw error;
    });
    if (!greeting) return;
    const { sessions, session, resumed, user } = greeting;
    const isAgain = connection.session !== undefined;
    if (greeting.isKnown) connection.isKnown = true;
    if (user !== null) connection.user = user;
    const before = connection.welcome(session);
    if (frame.parts) connection.outbox.cutLongMessages();
    if (frame.own) connection.showsOwn = true;
    if (before) sessions.release(before);
    this.welcome(connection, { resumed });
    if (isAgain) await access.review(connection);
  }

  async #greet(
    connection: Connection,
    frame: HelloFrame,
  ): Promise<(Greeting & { sessions: Sessions }) | undefined> {
    const { access, open } = this.#options;
    const { sessions, revocations } = await open();
    const greeting = await access.greet(connection, frame, {
      sessions,
      revocations,
    });
    return greeting && { sessions, ...greeting };
  }

  async #subscribe(
    connection: Connection,
    frame: SubscribeFrame,
  ): Promise<void> {
    const { name, token } = frame;
    const { limits, open, access } = this.#options;
    const existing = connection.subscriptions.get(name);
    // Before the store is opened, which may create it.
    const refusal = access.refusal(connection, name);
    if (refusal) {
      return existing
        ? connection.end(existing, refusal)
        : connection.refuse(refusal, name);
    }
    if (
      !existing &&
      connection.subscriptions.size >= limits.subscriptionsPerConnection
    ) {
      const error = new LimitError(
        `subscribe to "${name}"`,
        "subscriptionsPerConnection",
        limits.subscriptionsPerConnection,
        connection.subscriptions.size + 1,
      );
      return connection.refuse(toErrorBody(error, "limit"), name);
    }
    const subscription = existing ?? new Subscription(name, connection);
    connection.subscriptions.set(name, subscription);
    try {
      const { stores, namespace } = await open();
      const id = { namespace, name };
      // It looked at a life that is over: to begin the next one is not what it asks for.
      // (Where the KV is another one, it asks for whatever there is.)
      if (token && connection.isKnown && !await stores.find(id)) {
        return subscription.deleted();
      }
      const store = await stores.open(id);
      const context = access.contextOf(connection, name);
      await subscription.attach(store, token, context);
      connection.followed(subscription);
    } catch (error) {
      // Told already, where the store ended while it was read.
      if (subscription.isOver) return;
      access.fail(connection, subscription, error);
    }
  }

  async #write(connection: Connection, frame: MutateFrame): Promise<void> {
    const env = await this.#options.open();
    const { session, user } = connection;
    if (!session || connection.isClosed) return;
    const refusal = refuseNumber(env.sessions, session, frame);
    if (refusal) return this.#refuseCall(connection, frame.id, refusal);
    const { writes } = this.#options;
    connection.answer(await writes.write(env, { session, user }, frame));
  }

  #unsubscribe(connection: Connection, name: string): void {
    const subscription = connection.subscriptions.get(name);
    if (!subscription) return;
    subscription.end();
    connection.finished(subscription);
  }

  async #call(connection: Connection, frame: CallFrame): Promise<void> {
    // Before anything is awaited: it may be cancelled meanwhile.
    const abort = connection.calls.begin(frame.id);
    try {
      const env = await this.#options.open();
      const { session, user, info } = connection;
      if (!session || connection.isClosed) return;
      const refusal = refuseNumber(env.sessions, session, frame);
      if (refusal) return this.#refuseCall(connection, frame.id, refusal);
      const caller = { session, user, info, abort };
      connection.answer(
        await this.#options.functions.call(env, caller, frame),
      );
    } finally {
      connection.calls.end(frame.id, abort);
    }
  }

  #refuseCall(connection: Connection, id: number, error: ErrorBody): void {
    connection.outbox.push(encodeFrame({ type: "res", id, error }));
  }
}

/** Why a call or write of that number cannot be run any more; undefined where it can. */
function refuseNumber(
  sessions: Sessions,
  session: Session,
  frame: CallFrame | MutateFrame,
): ErrorBody | undefined {
  const expired = sessions.isExpired(session);
  if (!expired && frame.id >= session.oldest) return undefined;
  const why = expired
    ? "its session has expired"
    : "its answer was not awaited any more";
  return {
    code: "unknown",
    message: `Cannot run call ${frame.id}: ${why}`,
    outcome: frame.resent ? "unknown" : "notApplied",
  };
}
