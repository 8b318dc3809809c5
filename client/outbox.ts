/**
 * Calls: queued, in flight, sent again. This module is browser compatible.
 *
 * @module
 */
import { encodeFrame, joinFrames } from "../protocol/codec.ts";
import {
  type ErrorBody,
  HeadwaterError,
  LimitError,
} from "../protocol/errors.ts";
import {
  type HelloFrame,
  PROTOCOL_VERSION,
  type ResultFrame,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import type { Json } from "../protocol/value.ts";
import { Deferred } from "./deferred.ts";
import type { ClientClock, ClientTimer } from "./environment.ts";
import type {
  Journal,
  PendingRequest,
  QueuedRequest,
  Request,
} from "./request.ts";

/** What an {@linkcode Outbox} works with. */
export interface OutboxOptions {
  /** Time. */
  readonly clock: ClientClock;
  /** How long a call may take. */
  readonly timeoutMs: number;
  /** Called when {@linkcode Outbox.takeFrames} may have something again. */
  readonly onDue: () => void;
  /** What keeps requests beyond this client, if anything. */
  readonly journal?: () => Journal | undefined;
}

/** Calls that may wait for their answer at once. */
const MAX_PENDING_CALLS = 10_000;

/**
 * Calls in flight may have so many times the bytes of the server's largest
 * message. What it has not come to yet waits in its inbox, and a client that
 * fills that is closed as flooding.
 */
const WINDOW_MESSAGES = 2;

/**
 * Writes that are on their way at once. A server runs no more of one connection, and
 * what it has not come to is written on a base that gets older and older. Calls have no
 * base: they would only wait for each other's way.
 */
const MAX_WRITES_IN_FLIGHT = 64;

/** Cancelled calls in one message; the server takes short messages of them ahead of others. */
const CANCELS_PER_MESSAGE = 64;

/** Part of a session's life after which it is renewed when no answer is due. */
const RENEW_AFTER = 1 / 2;

/** Part of it after which no call is sent before the session is renewed. */
const HOLD_AFTER = 3 / 4;

interface PendingCall extends QueuedRequest {
  readonly release: () => void;
  number: number | undefined;
  /** It may have reached a server: one that is kept has its number before. */
  wasSent: boolean;
  /** It was sent on a connection that was lost. */
  isResent: boolean;
  /** Its bytes on the current connection; 0 where it was not sent on that. */
  bytes: number;
}

/** What a server has issued; calls are numbered in it. */
export interface OutboxSession {
  /** The proof of it. */
  readonly token: string;
  /** When it was issued, by the monotonic clock. */
  readonly startedMs: number;
  /** How long it is good for. */
  readonly lifeMs: number;
}

/** What an earlier client has left. */
export interface LeftBehind {
  /** Its requests, in order; those that may have been sent have a number. */
  readonly requests: readonly {
    readonly request: Request;
    readonly number?: number | undefined;
    readonly createdMs: number;
  }[];
  /** Its session, and the first number that it cannot have used there. */
  readonly session?: OutboxSession & { readonly nextNumber: number };
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
  // Every call, in order of creation.
  #calls = new Set<PendingCall>();
  // Those that are given up some time: as all have the same, the first is the next.
  readonly #timed = new Set<PendingCall>();
  // Those with a number, in order of it.
  readonly #sent = new Map<number, PendingCall>();
  // Those to be sent on this connection: again first, then for the first time.
  #due = new Set<PendingCall>();
  /** Numbers of calls that the server may still be at, and nobody awaits any more. */
  #cancelled: number[] = [];
  #bytesInFlight = 0;
  #writesInFlight = 0;
  #nextNumber = 1;
  #session: OutboxSession | undefined;
  #asked: "fresh" | "resumption" | "renewal" = "fresh";
  #isReady = false;
  #timer: ClientTimer | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Whether anything waits to be sent. */
  get hasDue(): boolean {
    return this.#due.size > 0;
  }

  /** Calls without an answer. */
  get size(): number {
    return this.#calls.size;
  }

  /** The session, if there is one. */
  get session(): OutboxSession | undefined {
    return this.#session;
  }

  /** Whether something has a number and no answer. */
  get hasNumbers(): boolean {
    return this.#sent.size > 0;
  }

  /** The requests that are to outlive this client, in order. */
  *lasting(): Generator<QueuedRequest> {
    for (const call of this.#calls) if (call.request.isLasting) yield call;
  }

  /**
   * Puts what an earlier client has left in front. Where some of it may have been
   * sent, nothing here may have a number, and what follows must be a new connection:
   * it goes on with the session.
   */
  restore({ requests, session }: LeftBehind): QueuedRequest[] {
    const restored = requests.map(({ request, number, createdMs }) => ({
      request,
      createdMs,
      answer: new Deferred<Json | undefined>(),
      release: () => {},
      number,
      wasSent: number !== undefined,
      isResent: number !== undefined,
      bytes: 0,
    }));
    this.#calls = new Set([...restored, ...this.#calls]);
    this.#due = new Set([...restored, ...this.#due]);
    for (const call of restored) {
      if (call.number !== undefined) this.#sent.set(call.number, call);
    }
    if (session && (this.#sent.size > 0 || !this.#session)) {
      this.#session = session;
      this.#nextNumber = session.nextNumber;
      this.#isReady = false;
    }
    this.#options.onDue();
    return restored;
  }

  /** Rejects a request that can neither be sent nor be given up. */
  reject(request: PendingRequest, error: Error): void {
    for (const call of this.#calls) {
      if (call !== request) continue;
      this.#remove(call);
      return call.answer.rejectQuietly(error);
    }
  }

  /** Adds a call. */
  add(request: Request, signal?: AbortSignal): PendingRequest {
    signal?.throwIfAborted();
    if (this.#calls.size >= MAX_PENDING_CALLS) {
      throw new LimitError(
        request.action,
        "pendingCalls",
        MAX_PENDING_CALLS,
        this.#calls.size + 1,
      );
    }
    const onAbort = () => {
      this.#cancel(call);
      this.#remove(call);
      call.answer.reject(signal?.reason);
    };
    const call: PendingCall = {
      request,
      createdMs: this.#options.clock.monotonic(),
      answer: new Deferred(),
      release: () => signal?.removeEventListener("abort", onAbort),
      number: undefined,
      wasSent: false,
      isResent: false,
      bytes: 0,
    };
    signal?.addEventListener("abort", onAbort);
    this.#calls.add(call);
    this.#due.add(call);
    if (request.timesOut) this.#timed.add(call);
    this.#arm();
    if (request.isLasting) this.#journal?.keep();
    this.#options.onDue();
    return call;
  }

  /** The first frame of a connection: it asks for the old session only if that is needed. */
  hello(): HelloFrame {
    const session = this.#session;
    if (session) {
      const { startedMs, lifeMs } = session;
      this.#rejectSent(({ createdMs }) =>
        this.#ageMs(Math.max(createdMs, startedMs)) >= lifeMs
      );
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

  /** A hello by which the session goes on as it is; undefined while another one is not answered. */
  refresh(): HelloFrame | undefined {
    const session = this.#session;
    if (!this.#isReady || !session) return undefined;
    this.#isReady = false;
    // Should the session be over, its numbers go on all the same.
    this.#asked = "renewal";
    const protocol = PROTOCOL_VERSION;
    return { type: "hello", protocol, session: session.token };
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
    // With its connection the server gives up what it was at for that.
    this.#cancelled = [];
    this.#bytesInFlight = this.#writesInFlight = 0;
    for (const call of this.#sent.values()) {
      call.bytes = 0;
      call.isResent = call.wasSent;
    }
    this.#due = new Set([...this.#sent.values(), ...this.#due]);
  }

  /** The frames to send now, none of them over `messageBytes`. They count as sent. */
  takeFrames(messageBytes: number): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    if (!this.#isReady) return frames;
    const isHeld = this.#sent.size > 0 && this.#sessionAge() >= HOLD_AFTER;
    const blocked: Request[] = [];
    for (const call of this.#due) {
      if (isHeld && call.number === undefined) break;
      const { request } = call;
      if (request.isHeld) break;
      // Without what it was made on the server would refuse it, again and again.
      if (request.isBlocked || request.isBehind?.(blocked)) {
        blocked.push(request);
        continue;
      }
      if (isWrite(call) && this.#writesInFlight >= MAX_WRITES_IN_FLIGHT) break;
      if (!this.#isSafe(call)) break;
      const frame = this.#tryEncode(call);
      if (!frame) continue;
      if (frame.length > messageBytes) {
        this.#rejectTooBig(call, messageBytes, frame.length);
        continue;
      }
      const isOverWindow =
        this.#bytesInFlight + frame.length > WINDOW_MESSAGES * messageBytes;
      if (isOverWindow && this.#bytesInFlight > 0) break;
      this.#due.delete(call);
      call.number ??= this.#nextNumber++;
      call.wasSent = true;
      call.bytes = frame.length;
      this.#bytesInFlight += frame.length;
      if (isWrite(call)) this.#writesInFlight++;
      this.#sent.set(call.number, call);
      request.sent?.();
      frames.push(frame);
    }
    return frames;
  }

  /** Messages by which the server learns what nobody awaits any more. */
  takeCancels(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    while (this.#cancelled.length > 0) {
      const frames = this.#cancelled.splice(0, CANCELS_PER_MESSAGE)
        .map((id) => encodeFrame({ type: "cancel", id }));
      messages.push(joinFrames(frames));
    }
    return messages;
  }

  /**
   * Takes an answer; the returned function gives it to the caller. Undefined if
   * nobody waits for it any more.
   */
  answer(frame: ResultFrame): (() => void) | undefined {
    const call = this.#sent.get(frame.id);
    // After a reconnect an answer can only be to what was sent on this connection.
    if (call === undefined || call.bytes === 0) return undefined;
    const { error, value } = frame;
    if (error?.code === "rebase" && call.request.rebase) {
      return () => this.#rebase(call, error);
    }
    this.#remove(call);
    return () => {
      if (error === undefined) call.answer.resolve(value);
      else call.answer.reject(HeadwaterError.fromBody(error));
    };
  }

  /**
   * Rejects every call; what a later client may send only if this one has ended for
   * good: else it waits for the next connection.
   */
  rejectAll(cause: Error, { isFinal }: { isFinal: boolean }): void {
    for (const call of this.#calls) {
      if (!isFinal && this.#isKept(call)) continue;
      this.#fail(call, "disconnected", "Disconnected", cause);
    }
  }

  get #journal(): Journal | undefined {
    return this.#options.journal?.();
  }

  #isKept(call: PendingCall): boolean {
    return call.request.isLasting === true &&
      this.#journal?.isKept(call) === true;
  }

  /**
   * Whether it may be sent. What a later client may send has to be kept with its number
   * before: that client would send it under another, and it would take effect twice.
   */
  #isSafe(first: PendingCall): boolean {
    const journal = this.#journal;
    if (!first.request.isLasting || !journal?.isOn) return true;
    if (first.number !== undefined && journal.isSafe(first)) return true;
    let room = MAX_WRITES_IN_FLIGHT - this.#writesInFlight;
    let isBehind = false;
    for (const call of this.#due) {
      isBehind ||= call === first;
      if (!isBehind || call.number !== undefined) continue;
      // Numbers are used in order: behind another request they have to wait.
      if (!call.request.isLasting || room-- === 0) break;
      call.number = this.#nextNumber++;
      this.#sent.set(call.number, call);
    }
    journal.keep();
    return false;
  }

  /** Its frame; where it cannot be sent any more it is rejected. */
  #tryEncode(call: PendingCall): Uint8Array<ArrayBuffer> | undefined {
    try {
      return this.#encode(call);
    } catch (error) {
      this.#remove(call);
      call.answer.reject(error);
      return undefined;
    }
  }

  #encode({ request, number, createdMs, isResent }: PendingCall) {
    const id = number ?? this.#nextNumber;
    const [oldest = id] = this.#sent.keys();
    const sinceMs = this.#session?.startedMs ?? createdMs;
    return request.encode({
      id,
      oldest,
      elapsedMs: Math.max(0, createdMs - sinceMs),
      ...(isResent && { resent: true }),
    });
  }

  /** Sends it again as it is by now, unless that has failed, too. */
  #rebase(call: PendingCall, error: ErrorBody): void {
    if (!this.#calls.has(call)) return;
    this.#landed(call);
    if (!call.request.rebase?.()) {
      this.#remove(call);
      return call.answer.reject(HeadwaterError.fromBody(error));
    }
    // In order of numbers, and before those that have none: later ones build on it.
    this.#due.add(call);
    const last = Infinity;
    this.#due = new Set(
      [...this.#due].sort((a, b) => (a.number ?? last) - (b.number ?? last)),
    );
    this.#options.onDue();
  }

  #rejectTooBig(call: PendingCall, allowed: number, actual: number): void {
    // The server before this one took more; what became of it there is not known here.
    if (call.wasSent) {
      return this.#fail(call, "unknown", unknownOutcome(call.request));
    }
    this.#remove(call);
    const { action } = call.request;
    call.answer.reject(
      new LimitError(action, "messageBytes", allowed, actual),
    );
  }

  #rejectSent(isLost: (call: PendingCall) => boolean): void {
    for (const [number, call] of this.#sent) {
      if (!isLost(call)) continue;
      if (call.wasSent) {
        this.#fail(call, "unknown", unknownOutcome(call.request));
      } else {
        this.#sent.delete(number);
        call.number = undefined;
      }
    }
  }

  #fail(
    call: PendingCall,
    code: "unknown" | "timeout" | "disconnected",
    message: string,
    cause?: Error,
  ): void {
    const outcome = call.wasSent || this.#isKept(call) ? "unknown" : "notSent";
    this.#remove(call);
    call.answer.rejectQuietly(
      new HeadwaterError(code, message, { outcome, ...(cause && { cause }) }),
    );
  }

  #remove(call: PendingCall): void {
    call.release();
    this.#calls.delete(call);
    this.#timed.delete(call);
    this.#due.delete(call);
    if (call.number !== undefined) this.#sent.delete(call.number);
    this.#landed(call);
    const journal = this.#journal;
    if (call.request.isLasting) journal?.keep();
    if (this.#sent.size === 0) journal?.quiet();
    if (this.#timed.size === 0) this.#stopTimer();
    if (this.#due.size > 0) this.#options.onDue();
  }

  /** It is not on its way any more. */
  #landed(call: PendingCall): void {
    if (call.bytes === 0) return;
    this.#bytesInFlight -= call.bytes;
    if (isWrite(call)) this.#writesInFlight--;
    call.bytes = 0;
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
    const [first] = this.#timed;
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
    for (const call of this.#timed) {
      if (this.#ageMs(call.createdMs) < this.#options.timeoutMs) return;
      this.#cancel(call);
      this.#fail(call, "timeout", "RPC timeout");
    }
  }

  #cancel({ number, bytes }: PendingCall): void {
    // Not sent on this connection, or not at all: nobody is at it.
    if (number === undefined || bytes === 0) return;
    this.#cancelled.push(number);
    this.#options.onDue();
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

function unknownOutcome({ name }: Request): string {
  return `Cannot tell whether "${name}" took effect: its session is over`;
}

/** Whether it is made on a base, and so can be asked to be made again. */
function isWrite({ request }: PendingCall): boolean {
  return request.rebase !== undefined;
}
