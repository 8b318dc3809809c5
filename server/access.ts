/**
 * Who may do what: lets connections in, and asks anew when their users may have
 * changed.
 *
 * @module
 */
import { principalOf, userIdOf } from "../protocol/principal.ts";
import type { ErrorBody } from "../protocol/errors.ts";
import { CLOSE, type CloseCode, type HelloFrame } from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import { equalValues, type Json } from "../protocol/value.ts";
import type { Authentication, Verdict } from "./authentication.ts";
import type { Connection } from "./connection.ts";
import type { Revocation, Revocations } from "./revocations.ts";
import type { Begun, Sessions } from "./sessions.ts";
import type { Definitions } from "./stores/definitions.ts";
import type { AccessContext } from "./stores/writer.ts";
import type { StoreRules } from "./store_rules.ts";
import type { Subscription } from "./subscription.ts";

/** How often a hello is answered anew because access was revoked meanwhile. */
const ATTEMPTS = 3;
/** How long it may take to ask again, for it to be in time. */
const ASK_AGAIN_MS = 2_000;

/** What access is decided by. */
export interface AccessOptions {
  readonly definitions: Definitions;
  readonly namespace: string;
  readonly rules: StoreRules;
  readonly limits: Pick<Limits, "helloMs">;
  /** Absent where nobody asks who a client is. */
  readonly authentication: Authentication | undefined;
  /** Those of a user, or of a client; all of them where nothing is given. */
  readonly find: (revocation?: Revocation) => readonly Connection[];
  /** Tells a client who is behind it now, though it has not asked. */
  readonly tellUser: (connection: Connection) => void;
}

/** What a hello is answered with. */
export interface Greeting extends Begun {
  readonly user: Json;
}

/** See the module's documentation. */
export class Access {
  readonly #options: AccessOptions;

  /** Access by these rules. */
  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /** Finds out who says hello; undefined where the connection was closed instead. */
  async greet(
    connection: Connection,
    hello: HelloFrame,
    { sessions, revocations }: {
      readonly sessions: Sessions;
      readonly revocations: Revocations;
    },
  ): Promise<Greeting | undefined> {
    const { proof } = connection;
    proof.isAsking = true;
    try {
      for (let count = 0; count < ATTEMPTS; count++) {
        const mark = revocations.mark;
        const verdict = await this.#identify(connection, hello, sessions);
        if ("code" in verdict) return void end(connection, verdict);
        const { user } = verdict;
        const begun = await sessions.begin({
          resume: hello.session,
          identity: hello.identity,
          principal: principalOf(user),
        });
        const { session } = begun;
        const about = { userId: userIdOf(user), clientId: session.clientId };
        const isRevoked = revocations.since(mark).some((revocation) =>
          matches(revocation, about)
        );
        const isLost = this.#options.authentication && !revocations.isFresh;
        if (!isRevoked && !isLost && !connection.isClosed) {
          proof.token = hello.token ?? proof.token;
          return { ...begun, user };
        }
        sessions.release(session);
        if (isLost) this.#closeLost(connection);
        if (connection.isClosed) return undefined;
      }
      return void end(connection, REVOKED);
    } finally {
      proof.isAsking = false;
    }
  }

  /** What the rules of a store are asked with. */
  contextOf(connection: Connection, name: string): AccessContext {
    const { definitions, namespace } = this.#options;
    const { user, clientId = "" } = connection;
    const key = definitions.find(name)?.keyOf(name) ?? null;
    return { user, clientId, namespace, name, key };
  }

  /** Why a connection may not subscribe to a store; undefined where it may. */
  refusal(connection: Connection, name: string): ErrorBody | undefined {
    const { definitions, rules } = this.#options;
    const definition = definitions.find(name);
    const context = this.contextOf(connection, name);
    return definition && rules.refusal(definition, "read", context);
  }

  /** Applies the rules anew: ends what may not be seen any more, and changes views. */
  async review(connection: Connection): Promise<void> {
    const subscriptions = [...connection.subscriptions.values()];
    const reviews = subscriptions.map(async (subscription) => {
      const { name } = subscription;
      const refusal = this.refusal(connection, name);
      if (refusal) return connection.end(subscription, refusal);
      try {
        await subscription.review(this.contextOf(connection, name));
      } catch (error) {
        if (!subscription.isOver) this.fail(connection, subscription, error);
      }
    });
    await Promise.all(reviews);
  }

  /** Ends a subscription that has failed. */
  fail(
    connection: Connection,
    subscription: Subscription,
    error: unknown,
  ): void {
    const what = `The subscription to "${subscription.name}"`;
    connection.end(subscription, connection.explain(error, what));
  }

  /** Has those asked again on this server whose access was revoked. */
  async revoked(revocation: Revocation): Promise<void> {
    const found = this.#options.find(revocation);
    await Promise.all(found.map((connection) => this.#askAgain(connection)));
  }

  /** Lets go of connections of which nobody can tell any more whether they may be here. */
  lost(): void {
    for (const connection of this.#options.find()) this.#closeLost(connection);
  }

  async #identify(
    connection: Connection,
    { token, session, identity }: HelloFrame,
    sessions: Sessions,
  ): Promise<Verdict> {
    const { authentication, limits: { helloMs } } = this.#options;
    if (!authentication) return { user: null };
    const isFirst = connection.session === undefined;
    // A fresh session of the same user.
    if (!isFirst && token === undefined) return { user: connection.user };
    const proven = session ?? identity;
    const clientId = isFirst
      ? proven && await sessions.clientOf(proven)
      : connection.clientId;
    return await this.#ask(connection, { token, clientId }, helloMs);
  }

  /** Asks who is behind a connection; one that has a user cannot become another's. */
  async #ask(
    connection: Connection,
    credentials: { token: string | undefined; clientId: string | undefined },
    limitMs: number,
  ): Promise<Verdict> {
    const { authentication } = this.#options;
    const { request } = connection.proof;
    // Both are there or neither is.
    if (!authentication || !request) return REVOKED;
    const verdict = await authentication.ask(request, credentials, limitMs);
    if (!connection.session || "code" in verdict) return verdict;
    const isSame = principalOf(verdict.user) === principalOf(connection.user);
    return isSame ? verdict : ANOTHER;
  }

  async #askAgain(connection: Connection): Promise<void> {
    const { proof, clientId } = connection;
    // It looks for itself whether anything has come meanwhile.
    if (proof.isAsking) return;
    const run = ++proof.runs;
    const { token } = proof;
    // It may have lost what it is sent meanwhile.
    connection.outbox.pause();
    const verdict = await this.#ask(
      connection,
      { token, clientId },
      ASK_AGAIN_MS,
    );
    try {
      const isOld = this.#isOld(connection, { run, token });
      if (!isOld) await this.#judge(connection, verdict);
    } finally {
      if (proof.runs === run) connection.outbox.goOn();
    }
  }

  #isOld(
    { proof, isClosed }: Connection,
    { run, token }: { run: number; token: string | undefined },
  ): boolean {
    // Asked once more since, or with other credentials.
    return isClosed || proof.runs !== run || proof.isAsking ||
      proof.token !== token;
  }

  async #judge(connection: Connection, verdict: Verdict): Promise<void> {
    if ("code" in verdict) return end(connection, verdict);
    const { user } = verdict;
    const isAnother = !equalValues(user, connection.user);
    connection.user = user;
    if (isAnother) this.#options.tellUser(connection);
    await this.review(connection);
  }

  #closeLost(connection: Connection): void {
    const reason = "The server cannot tell whether access was revoked";
    connection.close(CLOSE.unavailable, reason);
  }
}

interface End {
  readonly code: CloseCode;
  readonly reason: string;
}

const REVOKED: End = { code: CLOSE.refused, reason: "Access was revoked" };
const ANOTHER: End = {
  code: CLOSE.refused,
  reason: "A connection cannot become another user's",
};

function end(connection: Connection, { code, reason }: End): void {
  connection.close(code, reason);
}

/** Whether it is about that user or client. */
export function matches(
  revocation: Revocation,
  { userId, clientId }: {
    readonly userId: string | undefined;
    readonly clientId: string | undefined;
  },
): boolean {
  return "userId" in revocation
    ? revocation.userId === userId
    : revocation.clientId === clientId;
}
