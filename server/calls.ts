/**
 * Runs calls of functions. A call runs in a scope that numbers its store writes,
 * so that running it again, on any server, writes once and gives the first values.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import { type ErrorBody, HeadwaterError } from "../protocol/errors.ts";
import type { CallFrame, ResultFrame } from "../protocol/frames.ts";
import { cleanValue, type Json } from "../protocol/value.ts";
import { type Caller, contextOf } from "./call_context.ts";
import { CallScope, type CallScopes } from "./call_scope.ts";
import type { Failures } from "./failures.ts";
import type { FunctionDefinition } from "./functions.ts";
import type { Answers, RecordedAnswer, WrittenTo } from "./log/answers.ts";
import type { Clock } from "./ports.ts";
import type { Answer } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { NOT_NOW } from "./stores/numbered_writes.ts";
import type { StoreRegistry } from "./stores/registry.ts";

/** What calls work with, once the server has opened its KV. */
export interface FunctionsEnvironment {
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly scopes: CallScopes;
  readonly stores: StoreRegistry;
  readonly answers: Answers;
  readonly failures: Failures;
  readonly namespace: string;
}

/** One call, and what is defined for it, or why nothing is. */
interface Call {
  readonly caller: Caller;
  readonly frame: CallFrame;
  readonly definition: FunctionDefinition | HeadwaterError;
}

/** What one run gave. */
interface Outcome extends RecordedAnswer {
  /** It failed when it had been asked to stop: that is no answer. */
  readonly isAborted?: boolean;
}

/** The answer to a call; never rejects. */
export async function answerCall(
  env: FunctionsEnvironment,
  call: Call,
): Promise<Answer> {
  const { session, abort } = call.caller;
  let { frame } = call;
  for (;;) {
    const answer = await session.answer(
      frame.id,
      frame.oldest,
      () => runAndEncode(env, { ...call, frame }),
    );
    // It stopped with the connection that had asked for it; here somebody waits.
    if (answer.isAborted && !abort.reason) {
      frame = { ...frame, resent: true };
      continue;
    }
    const { doubtful = answer.frame } = answer;
    return frame.resent ? { ...answer, frame: doubtful } : answer;
  }
}

async function runAndEncode(
  env: FunctionsEnvironment,
  call: Call,
): Promise<Answer> {
  const { frame, caller } = call;
  let outcome: Outcome;
  try {
    outcome = await run(env, call);
    // A result can be recorded by another server: this one must show its effects first.
    for (const written of outcome.written) await advanceTo(env.stores, written);
  } catch (error) {
    outcome = {
      error: env.failures.tell(error, {
        code: "function_failed",
        what: `Function "${frame.name}"`,
        clientId: caller.session.clientId,
      }),
      written: [],
    };
  }
  const { value, error, written, isAborted = false } = outcome;
  const encode = (result: Pick<ResultFrame, "value" | "error">) =>
    encodeFrame({ type: "res", id: frame.id, ...result });
  if (!error) {
    return { frame: encode(value === undefined ? {} : { value }), written };
  }
  const answer = {
    frame: encode({ error }),
    written,
    ...(isAborted && { isAborted, isFree: true }),
  };
  if (error.outcome !== "notApplied") return answer;
  const doubtful = encode({ error: { ...error, outcome: "unknown" } });
  return NOT_NOW.has(error.code) ? { ...answer, doubtful } : answer;
}

async function run(env: FunctionsEnvironment, call: Call): Promise<Outcome> {
  const { caller, frame, definition } = call;
  const { reason } = caller.abort;
  // Before it has begun.
  if (reason) return { ...refusal(frame, reason), isAborted: true };
  if (definition instanceof HeadwaterError) return refusal(frame, definition);
  if (!definition.once) return await runHandler(env, call, definition);
  const key = {
    namespace: env.namespace,
    session: caller.session.id,
    call: frame.id,
  };
  const recorded = frame.resent ? await env.answers.read(key) : undefined;
  if (recorded) return recorded;
  const outcome = await runHandler(env, call, definition);
  return outcome.isAborted ? outcome : await env.answers.record(key, outcome);
}

/** The answer to a call whose handler is not run. */
function refusal(
  { resent }: CallFrame,
  { code, message }: HeadwaterError,
): RecordedAnswer {
  // Of an earlier run, elsewhere, nobody knows here.
  const isKnown = !resent || code === "function_missing";
  const outcome = isKnown ? "notApplied" : "unknown";
  return { error: { code, message, outcome }, written: [] };
}

async function runHandler(
  env: FunctionsEnvironment,
  { caller, frame }: Call,
  definition: FunctionDefinition,
): Promise<Outcome> {
  const { session, user, abort } = caller;
  const { clientId } = session;
  const scope = new CallScope(
    {
      session: session.id,
      issuedAtMs: session.issuedAtMs,
      call: frame.id,
      oldest: Math.min(frame.oldest, session.oldestRunning),
    },
    { clientId, user },
    { isResent: frame.resent === true, what: `function "${frame.name}"` },
  );
  const context = contextOf(env, caller, frame);
  scope.newId = context.id;
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
    const isAborted = abort.reason !== undefined;
    result = {
      error: env.failures.tell(error, {
        code: "function_failed",
        what: `Function "${frame.name}"`,
        clientId,
        isMoot: isAborted,
      }),
    };
    return { ...result, written: scope.written, isAborted };
  } finally {
    scope.end();
  }
  return { ...result, written: scope.written };
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
