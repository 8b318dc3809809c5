/**
 * Calls: queued, in flight, sent again. This module is browser compatible.
 *
 * @module
 */
import { encodeFrame } from "../protocol/codec.ts";
import { HeadwaterError, LimitError } from "../protocol/errors.ts";
import {
  type HelloFrame,
  PROTOCOL_VERSION,
  type ResultFrame,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import { Deferred } from "./deferred.ts";
import type { ClientClock, ClientTimer } from "./environment.ts";

/** What an {@linkcode Outbox} works with. */
export interface OutboxOptions {
  /** Time. */
  readonly clock: ClientClock;
  /** How long a call may take. */
  readonly timeoutMs: number;
  /** Called when {@linkcode Outbox.takeFrames} may have something again. */
  readonly onDue: () => void;
}

/** Calls that may wait for their answer at once. */
const MAX_PENDING_CALLS = 10_000;

/**
 * Calls in flight may have so many times the bytes of the server's largest
 * message. What it has not come to yet waits in its inbox, and a client that
 * fills that is closed as flooding.
 */
const WINDOW_MESSAGES = 2;

/** Part of a session's life after which it is renewed when no answer is due. */
const RENEW_AFTER = 1 / 2;

/** Part of it after which no call is sent before the session is renewed. */
const HOLD_AFTER = 3 / 4;

interface PendingCall {
  readonly name: string;
  readonly args: Json | undefined;
  readonly createdMs: number;
  readonly answer: Deferred<Json | undefined>;
  readonly release: () => void;
  /** Its number within the session; undefined until it is sent. */
  number: number | undefined;
  /** Its bytes on the current connection; 0 where it was not sent on that. */
  bytes: number;
}

/** What a server has issued; calls are numbered in it. */
interface Session {
  readonly token: string;
  readonly startedMs: number;
  readonly lifeMs: number;
}

/**
 * The calls that have no answer yet, in order, and the session that makes it
 * safe to send them again.
 *
 * A call has a number from when it is first sent. Only within that session is
 * it known to take effect once; if the session is lost, those that were sent
 * have an unknown outcome and those that were not are as good as new.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  // Every call, in order of creation: as all have the same time, the first is the next to time out.
  readonly #calls = new Set<PendingCall>();
  // Those with a number, in order of it.
  readonly #sent = new Map<number, PendingCall>();
  // Those to be sent on this connection: again first, then for the first time.
  #due = new Set<PendingCall>();
  #bytesInFlight = 0;
  #nextNumber = 1;
  #session: Session | undefined;
  #asked: "fresh" | "resumption" | "renewal" = "fresh";
  #isReady = false;
  #timer: ClientTimer | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Calls without an answer. */
  get size(): number {
    return this.#calls.size;
  }

  /** Adds a call. */
  add(
    name: string,
    args: Json | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Json | undefined> {
    signal?.throwIfAborted();
    if (this.#calls.size >= MAX_PENDING_CALLS) {
      throw new LimitError(
        `call "${name}"`,
        "pendingCalls",
        MAX_PENDING_CALLS,
        this.#calls.size + 1,
      );
    }
    const onAbort = () => {
      this.#remove(call);
      call.answer.reject(signal?.reason);
    };
    const call: PendingCall = {
      name,
      args,
      createdMs: this.#options.clock.monotonic(),
      answer: new Deferred(),
      release: () => signal?.removeEventListener("abort", onAbort),
      number: undefined,
      bytes: 0,
    };
    signal?.addEventListener("abort", onAbort);
    this.#calls.add(call);
    this.#due.add(call);
    this.#arm();
    this.#options.onDue();
    return call.answer.promise;
  }

  /** The first frame of a connection: it asks for the old session only if that is needed. */
  hello(): HelloFrame {
    const session = this.#session;
    if (session) {
      this.#rejectSent((call) => this.#ageMs(call.createdMs) >= session.lifeMs);
    }
    this.#asked = this.#sent.size > 0 ? "resumption" : "fresh";
    return {
      type: "hello",
      protocol: PROTOCOL_VERSION,
      ...(session &&
        (this.#asked === "resumption"
          ? { session: session.token }
          : { identity: session.token })),
    };
  }

  /** The hello of a fresh session, if one is to be begun on the live connection before the next call. */
  renewal(): HelloFrame | undefined {
    if (!this.#isReady || this.#due.size === 0 || this.#sent.size > 0) {
      return undefined;
    }
    if (this.#sessionAge() < RENEW_AFTER) return undefined;
    this.#isReady = false;
    const hello = this.hello();
    this.#asked = "renewal";
    return hello;
  }

  /** The server has answered a hello. */
  welcomed(frame: WelcomeFrame): void {
    this.#isReady = true;
    // It goes on. Were calls numbered anew in it, as by a welcome that comes twice, they
    // would be given the answers of others.
    if (frame.session === this.#session?.token) return;
    if (
      this.#session !== undefined && this.#asked === "resumption" &&
      frame.resumed
    ) {
      this.#session = { ...this.#session, token: frame.session };
      return;
    }
    this.#rejectSent(() => true);
    // On a connection that goes on, an answer to a call that has timed out may
    // still come: its number must not be that of another call.
    if (this.#asked !== "renewal") this.#nextNumber = 1;
    this.#session = {
      token: frame.session,
      startedMs: this.#options.clock.monotonic(),
      lifeMs: frame.sessionMs,
    };
  }

  /** The connection is gone: what has no answer is to be sent again on the next. */
  disconnected(): void {
    this.#isReady = false;
    this.#bytesInFlight = 0;
    for (const call of this.#sent.values()) call.bytes = 0;
    this.#due = new Set([...this.#sent.values(), ...this.#due]);
  }

  /** The frames to send now, none of them over `messageBytes`. They count as sent. */
  takeFrames(messageBytes: number): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    if (!this.#isReady) return frames;
    const isHeld = this.#sent.size > 0 && this.#sessionAge() >= HOLD_AFTER;
    for (const call of this.#due) {
      if (isHeld && call.number === undefined) break;
      const frame = this.#encode(call);
      if (frame.length > messageBytes) {
        this.#rejectTooBig(call, messageBytes, frame.length);
        continue;
      }
      const isOverWindow =
        this.#bytesInFlight + frame.length > WINDOW_MESSAGES * messageBytes;
      if (isOverWindow && this.#bytesInFlight > 0) break;
      this.#due.delete(call);
      call.number ??= this.#nextNumber++;
      call.bytes = frame.length;
      this.#bytesInFlight += frame.length;
      this.#sent.set(call.number, call);
      frames.push(frame);
    }
    return frames;
  }

  /**
   * Takes an answer; the returned function gives it to the caller. Undefined if
   * nobody waits for it any more.
   */
  answer(frame: ResultFrame): (() => void) | undefined {
    const call = this.#sent.get(frame.id);
    // After a reconnect an answer can only be to what was sent on this connection.
    if (call === undefined || call.bytes === 0) return undefined;
    this.#remove(call);
    const { error, value } = frame;
    return () => {
      if (error === undefined) call.answer.resolve(value);
      else call.answer.reject(HeadwaterError.fromBody(error));
    };
  }

  /** Rejects every call. */
  rejectAll(cause: Error): void {
    for (const call of this.#calls) {
      this.#fail(call, "disconnected", "Disconnected", cause);
    }
  }

  #encode(call: PendingCall): Uint8Array<ArrayBuffer> {
    const id = call.number ?? this.#nextNumber;
    const [oldest = id] = this.#sent.keys();
    return encodeFrame({
      type: "rpc",
      id,
      name: call.name,
      ...(call.args !== undefined && { args: call.args }),
      oldest,
      elapsedMs: Math.max(
        0,
        call.createdMs - (this.#session?.startedMs ?? call.createdMs),
      ),
      ...(call.number !== undefined && { resent: true }),
    });
  }

  #rejectTooBig(call: PendingCall, allowed: number, actual: number): void {
    // The server before this one took more; what became of it there is not known here.
    if (call.number !== undefined) {
      return this.#fail(call, "unknown", unknownOutcome(call.name));
    }
    this.#remove(call);
    call.answer.reject(
      new LimitError(`call "${call.name}"`, "messageBytes", allowed, actual),
    );
  }

  #rejectSent(isLost: (call: PendingCall) => boolean): void {
    for (const call of this.#sent.values()) {
      if (isLost(call)) this.#fail(call, "unknown", unknownOutcome(call.name));
    }
  }

  #fail(
    call: PendingCall,
    code: "unknown" | "timeout" | "disconnected",
    message: string,
    cause?: Error,
  ): void {
    this.#remove(call);
    const outcome = call.number === undefined ? "notSent" : "unknown";
    call.answer.rejectQuietly(
      new HeadwaterError(code, message, { outcome, ...(cause && { cause }) }),
    );
  }

  #remove(call: PendingCall): void {
    call.release();
    this.#calls.delete(call);
    this.#due.delete(call);
    if (call.number !== undefined) this.#sent.delete(call.number);
    this.#bytesInFlight -= call.bytes;
    if (this.#calls.size === 0) this.#stopTimer();
    else if (this.#due.size > 0) this.#options.onDue();
  }

  #ageMs(sinceMs: number): number {
    return this.#options.clock.monotonic() - sinceMs;
  }

  /** From 0 to 1 and beyond. */
  #sessionAge(): number {
    return this.#session === undefined
      ? 0
      : this.#ageMs(this.#session.startedMs) / this.#session.lifeMs;
  }

  #arm(): void {
    const [first] = this.#calls;
    if (
      this.#timer !== undefined || first === undefined ||
      this.#options.timeoutMs === Infinity
    ) return;
    const leftMs = this.#options.timeoutMs - this.#ageMs(first.createdMs);
    this.#timer = this.#options.clock.setTimer(Math.max(0, leftMs), () => {
      this.#timer = undefined;
      this.#expire();
      this.#arm();
    });
  }

  #expire(): void {
    for (const call of this.#calls) {
      if (this.#ageMs(call.createdMs) < this.#options.timeoutMs) return;
      this.#fail(call, "timeout", "RPC timeout");
    }
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

function unknownOutcome(name: string): string {
  return `Cannot tell whether "${name}" took effect: its session is over`;
}
