/**
 * What a function's handler knows of its call.
 *
 * @module
 */
import type { CallFrame } from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import type { CallAbort } from "./call_abort.ts";
import { timeOfCall } from "./call_time.ts";
import type { Clock, ConnectionInfo } from "./ports.ts";
import type { Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** What a function's handler knows of its call. */
export interface CallContext {
  /** Who calls: stable for one client over its reconnections. */
  readonly clientId: string;
  /** The user behind the client; null where there is none. */
  readonly user: Json;
  /** The namespace whose stores the call works on. */
  readonly namespace: string;
  /** What is known of the connection by which the call came. */
  readonly connection: ConnectionInfo;
  /**
   * Fires when nobody waits for the answer any more: the client has given up, by
   * its time-out or its own signal, its connection is gone, or the server closes.
   * The reason is a {@linkcode HeadwaterError} `aborted`.
   *
   * A handler that throws then has given no answer: if the client comes back and
   * sends the call again, it runs again. One that returns has.
   */
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

/** Who makes a call, and how its run is stopped. */
export interface Caller {
  readonly session: Session;
  readonly user: Json;
  readonly info: ConnectionInfo;
  readonly abort: CallAbort;
}

/** Makes the context of one run. */
export function contextOf(
  { clock, sessions, namespace }: {
    readonly clock: Clock;
    readonly sessions: Sessions;
    readonly namespace: string;
  },
  { session, user, info, abort }: Caller,
  { id: call, elapsedMs }: Pick<CallFrame, "id" | "elapsedMs">,
): CallContext {
  let ids = 0;
  return {
    clientId: session.clientId,
    user,
    namespace,
    connection: info,
    get signal() {
      return abort.signal;
    },
    callId: `${session.id}.${call}`,
    now: timeOfCall(session, elapsedMs, clock),
    id: () => sessions.deriveId(session, call, ids++),
  };
}
