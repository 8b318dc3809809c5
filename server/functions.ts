/**
 * Functions: request and response. A call runs in a scope that numbers its
 * store writes, so that running it again, on any server, writes once and gives
 * the first values.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import { type ErrorBody, HeadwaterError } from "../protocol/errors.ts";
import type { CallFrame, ResultFrame } from "../protocol/frames.ts";
import { cleanName, cleanValue, type Json } from "../protocol/value.ts";
import { CallScope, type CallScopes } from "./call_scope.ts";
import type { Answers, RecordedAnswer, WrittenTo } from "./log/answers.ts";
import { loggerOf } from "./logger.ts";
import type { Clock } from "./ports.ts";
import type { Answer, Session, Sessions } from "./sessions.ts";
import { NOT_NOW } from "./stores/access.ts";
import type { StoreRegistry } from "./stores/registry.ts";

/** What a function's handler knows of its call. */
export interface CallContext {
  /** Who calls: stable for one client over its reconnections. */
  readonly clientId: string;
  /** The user behind the client; null until connections are authenticated. */
  readonly user: Json;
  /** The namespace whose stores the call works on. */
  readonly namespace: string;
  /** Fires when the server closes and waits no longer. */
  readonly signal: AbortSignal;
  /** Identifies the call over all servers; the same when it is run again. */
  readonly callId: string;
  /**
   * When the call was made, in milliseconds since 1970; the same when it is run
   * again. It is counted by the client's own clock from the server's time at its
   * welcome, and never more than 5 seconds ahead of the server.
   */
  readonly now: number;
  /** A new id, of 16 characters; the n-th of a call is the same when it is run again. */
  id(): string;
}

/**
 * Answers calls of one function. It may run again for a call whose answer was
 * lost: its store writes then apply once and give their first values, as long as
 * it makes the same writes in the same order.
 */
export type FunctionHandler<A, R> = (
  args: A,
  context: CallContext,
) => R | Promise<R>;

/** How a function is run. */
export interface FunctionOptions {
  /**
   * Keep each answer, so that the handler does not run again for a resent call. An
   * answer over 60 KiB cannot be kept: the caller gets a `limit` error in its place.
   */
  readonly once?: boolean;
}

/** A client's clock may run ahead by so much. */
const AHEAD_MS = 5_000;

interface Definition {
  readonly handler: FunctionHandler<unknown, unknown>;
  readonly once: boolean;
}

/** What functions work with, once the server has opened its KV. */
export interface FunctionsEnvironment {
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly scopes: CallScopes;
  readonly stores: StoreRegistry;
  readonly answers: Answers;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/** The functions of a server. */
export class Functions {
  readonly #definitions = new Map<string, Definition>();
  readonly #nameLength: number;
  readonly #logger = loggerOf("functions");

  /** No functions yet. */
  constructor(nameLength: number) {
    this.#nameLength = nameLength;
  }

  /** Defines a function. */
  define(
    name: string,
    handler: FunctionHandler<unknown, unknown>,
    options: FunctionOptions,
  ): void {
    const clean = cleanName(name, "function", this.#nameLength);
    if (typeof handler !== "function") {
      throw new TypeError(
        `Cannot handle "${clean}": its handler is no function`,
      );
    }
    if (this.#definitions.has(clean)) {
      throw new TypeError(`Cannot handle "${clean}": it is handled already`);
    }
    this.#definitions.set(clean, { handler, once: options.once ?? false });
  }

  /** The answer to a call; never rejects. */
  async call(
    env: FunctionsEnvironment,
    session: Session,
    frame: CallFrame,
  ): Promise<Answer> {
    const answer = await session.answer(
      frame.id,
      frame.oldest,
      () => this.#answer(env, session, frame),
    );
    const { doubtful = answer.frame } = answer;
    return frame.resent ? { ...answer, frame: doubtful } : answer;
  }

  async #answer(
    env: FunctionsEnvironment,
    session: Session,
    frame: CallFrame,
  ): Promise<Answer> {
    let outcome: RecordedAnswer;
    try {
      outcome = await this.#run(env, session, frame);
      // A result can be recorded by another server: this one must show its effects first.
      for (const written of outcome.written) {
        await advanceTo(env.stores, written);
      }
    } catch (error) {
      outcome = { error: toErrorBody(error, "function_failed"), written: [] };
    }
    const { value, error, written } = outcome;
    const encode = (result: Pick<ResultFrame, "value" | "error">) =>
      encodeFrame({ type: "res", id: frame.id, ...result });
    if (!error) {
      return { frame: encode(value === undefined ? {} : { value }), written };
    }
    const answer = { frame: encode({ error }), written };
    if (error.outcome !== "notApplied") return answer;
    const doubtful = encode({ error: { ...error, outcome: "unknown" } });
    return NOT_NOW.has(error.code) ? { ...answer, doubtful } : answer;
  }

  async #run(
    env: FunctionsEnvironment,
    session: Session,
    frame: CallFrame,
  ): Promise<RecordedAnswer> {
    const definition = this.#definitions.get(frame.name);
    if (!definition) {
      throw new HeadwaterError(
        "function_missing",
        `No function is named "${frame.name}"`,
        {
          outcome: "notApplied",
        },
      );
    }
    if (!definition.once) {
      return await this.#runHandler(env, session, { frame, definition });
    }
    const call = {
      namespace: env.namespace,
      session: session.id,
      call: frame.id,
    };
    const recorded = frame.resent ? await env.answers.read(call) : undefined;
    return recorded ??
      await env.answers.record(
        call,
        await this.#runHandler(env, session, { frame, definition }),
      );
  }

  async #runHandler(
    env: FunctionsEnvironment,
    session: Session,
    { frame, definition }: { frame: CallFrame; definition: Definition },
  ): Promise<RecordedAnswer> {
    const { issuedAtMs, clientId } = session;
    const scope = new CallScope(
      {
        session: session.id,
        issuedAtMs,
        call: frame.id,
        oldest: Math.min(frame.oldest, session.oldestRunning),
      },
      clientId,
      { isResent: frame.resent === true },
    );
    const context = this.#contextOf(env, session, frame);
    let result: { value?: Json; error?: ErrorBody };
    try {
      const returned = await env.scopes.run(
        scope,
        () => definition.handler(frame.args, context),
      );
      result = returned === undefined ? {} : {
        value: cleanValue(returned, {
          what: `result of function "${frame.name}"`,
        }),
      };
    } catch (error) {
      this.#logger.warn("Function {name} failed: {error}", {
        name: frame.name,
        clientId,
        error,
      });
      result = { error: toErrorBody(error, "function_failed") };
    }
    return { ...result, written: scope.written };
  }

  #contextOf(
    env: FunctionsEnvironment,
    session: Session,
    frame: CallFrame,
  ): CallContext {
    const { clock, sessions, namespace, signal } = env;
    let ids = 0;
    return {
      clientId: session.clientId,
      user: null,
      namespace,
      signal,
      callId: `${session.id}.${frame.id}`,
      now: Math.min(
        session.issuedAtMs + frame.elapsedMs,
        Math.floor(clock.now()) + AHEAD_MS,
      ),
      id: () => sessions.deriveId(session, frame.id, ids++),
    };
  }
}

async function advanceTo(
  stores: StoreRegistry,
  { id, epoch, version }: WrittenTo,
): Promise<void> {
  const store = stores.loaded(id);
  if (!store) return;
  // Of another life it may be one that has ended: its subscribers do not know yet.
  if (store.epoch !== epoch || store.version < version) await store.check();
}
