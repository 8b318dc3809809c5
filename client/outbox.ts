/**
 * Calls: queued, in flight, sent again. This module is browser compatible.
 *
 * @module
 */
import { encodeUp, joinUp } from "../protocol/client_codec.ts";
import {
  type ErrorBody,
  HeadwaterError,
  LimitError,
} from "../protocol/errors.ts";
import type {
  HelloFrame,
  ResultFrame,
  WelcomeFrame,
} from "../protocol/frames.ts";
import { CallTimeouts } from "./call_timeouts.ts";
import { Deferred } from "./deferred.ts";
import type { ClientClock } from "./environment.ts";
import { isWrite, OutboxQueue, type QueuedCall } from "./outbox_queue.ts";
import { type IssuedSession, OutboxSession } from "./outbox_session.ts";
import {
  type Journal,
  MAX_PENDING,
  type PendingRequest,
  type Request,
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
  readonly #timeouts: CallTimeouts;
  /** What waits and what is on its way; the part that writes looks at it, too. */
  readonly queue: OutboxQueue = new OutboxQueue();
  readonly #session: OutboxSession;
  /** Numbers of calls that the server may still be at, and nobody awaits any more. */
  #cancelled: number[] = [];

  constructor(options: OutboxOptions) {
    const { clock, timeoutMs } = options;
    this.#options = options;
    this.#session = new OutboxSession(clock);
    this.#timeouts = new CallTimeouts({
      clock,
      timeoutMs,
      expired: (call) => {
        this.#cancel(call);
        this.#fail(call, "timeout", "RPC timeout");
      },
    });
  }

  /** Whether anything waits to be sent. */
  get hasDue(): boolean {
    return this.queue.due.size > 0;
  }

  /** Calls without an answer. */
  get size(): number {
    return this.queue.calls.size;
  }

  /** The session, if there is one. */
  get session(): IssuedSession | undefined {
    return this.#session.issued;
  }

  /** Whether something has a number and no answer. */
  get hasNumbers(): boolean {
    return this.queue.sent.size > 0;
  }

  /** Goes on with another session, and whatever was put into the queue; a hello is to be said. */
  resume(session: IssuedSession | undefined): void {
    if (session) {
      this.#session.issued = session;
      this.#session.isReady = false;
    }
    this.#options.onDue();
  }

  /** Rejects a request that can neither be sent nor be given up. */
  reject(call: QueuedCall, error: Error): void {
    this.#remove(call);
    call.answer.rejectQuietly(error);
  }

  /** Adds a call. */
  add(request: Request, signal?: AbortSignal): PendingRequest {
    signal?.throwIfAborted();
    const { calls, due } = this.queue;
    if (calls.size >= MAX_PENDING) {
      throw new LimitError(
        request.action,
        "pendingCalls",
        MAX_PENDING,
        calls.size + 1,
      );
    }
    const onAbort = () => {
      this.#cancel(call);
      this.#remove(call);
      call.answer.reject(signal?.reason);
    };
    const call: QueuedCall = {
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
    calls.add(call);
    due.add(call);
    if (request.timesOut) this.#timeouts.add(call);
    if (request.isLasting) this.#journal?.keep();
    this.#options.onDue();
    return call;
  }

  /** The first frame of a connection: it asks for the old session only if that is needed. */
  hello(): HelloFrame {
    const { session } = this;
    if (session) {
      const nowMs = this.#options.clock.monotonic();
      this.#rejectSent(({ createdMs }) =>
        nowMs - Math.max(createdMs, session.startedMs) >= session.lifeMs
      );
    }
    return this.#session.hello(this.hasNumbers);
  }

  /** The hello of a fresh session, if one is to be begun on the live connection before the next call. */
  renewal(): HelloFrame | undefined {
    const { isReady, age } = this.#session;
    const isDue = isReady && this.hasDue && !this.hasNumbers &&
      age >= RENEW_AFTER;
    return isDue ? this.#session.greetAgain(true) : undefined;
  }

  /** A hello by which the session goes on as it is; undefined while another one is not answered. */
  refresh(): HelloFrame | undefined {
    const { isReady, issued } = this.#session;
    return isReady && issued ? this.#session.greetAgain(false) : undefined;
  }

  /** The server has answered a hello. */
  welcomed(frame: WelcomeFrame): void {
    const session = this.#session.welcomed(frame);
    if (session === "same") return;
    this.#rejectSent(() => true);
    if (session === "anew") this.queue.nextNumber = 1;
  }

  /** The connection is gone: what has no answer is to be sent again on the next. */
  disconnected(): void {
    this.#session.isReady = false;
    // With its connection the server gives up what it was at for that.
    this.#cancelled = [];
    this.queue.disconnected();
  }

  /** The frames to send now, none of them over `messageBytes`. They count as sent. */
  takeFrames(messageBytes: number): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    const { queue } = this;
    const { isReady, age } = this.#session;
    if (!isReady) return frames;
    const isHeld = this.hasNumbers && age >= HOLD_AFTER;
    const blocked: Request[] = [];
    for (const call of queue.due) {
      if (isHeld && call.number === undefined) break;
      const { request } = call;
      if (request.isHeld) break;
      // Without what it was made on the server would refuse it, again and again.
      if (request.isBlocked || request.isBehind?.(blocked)) {
        blocked.push(request);
        continue;
      }
      if (isWrite(call) && queue.writesInFlight >= MAX_WRITES_IN_FLIGHT) break;
      if (!this.#isSafe(call)) break;
      const frame = this.#tryEncode(call);
      if (!frame) continue;
      if (frame.length > messageBytes) {
        this.#rejectTooBig(call, messageBytes, frame.length);
        continue;
      }
      const isOverWindow =
        queue.bytesInFlight + frame.length > WINDOW_MESSAGES * messageBytes;
      if (isOverWindow && queue.bytesInFlight > 0) break;
      queue.left(call, frame.length);
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
        .map((id) => encodeUp({ type: "cancel", id }));
      messages.push(joinUp(frames));
    }
    return messages;
  }

  /**
   * Takes an answer; the returned function gives it to the caller. Undefined if
   * nobody waits for it any more.
   */
  answer(frame: ResultFrame): (() => void) | undefined {
    const call = this.queue.sent.get(frame.id);
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
    for (const call of this.queue.calls) {
      if (!isFinal && this.#isKept(call)) continue;
      this.#fail(call, "disconnected", "Disconnected", cause);
    }
  }

  get #journal(): Journal | undefined {
    return this.#options.journal?.();
  }

  #isKept(call: QueuedCall): boolean {
    return call.request.isLasting === true &&
      this.#journal?.isKept(call) === true;
  }

  /**
   * Whether it may be sent. What a later client may send has to be kept with its number
   * before: that client would send it under another, and it would take effect twice.
   */
  #isSafe(call: QueuedCall): boolean {
    const journal = this.#journal;
    if (!call.request.isLasting || !journal?.isOn) return true;
    if (call.number !== undefined && journal.isSafe(call)) return true;
    journal.number(call, MAX_WRITES_IN_FLIGHT - this.queue.writesInFlight);
    return false;
  }

  /** Its frame; where it cannot be sent any more it is rejected. */
  #tryEncode(call: QueuedCall): Uint8Array<ArrayBuffer> | undefined {
    try {
      return this.#encode(call);
    } catch (error) {
      this.#remove(call);
      call.answer.reject(error);
      return undefined;
    }
  }

  #encode({ request, number, createdMs, isResent }: QueuedCall) {
    const { sent, nextNumber } = this.queue;
    const id = number ?? nextNumber;
    const [oldest = id] = sent.keys();
    const sinceMs = this.session?.startedMs ?? createdMs;
    return request.encode({
      id,
      oldest,
      elapsedMs: Math.max(0, createdMs - sinceMs),
      ...(isResent && { resent: true }),
    });
  }

  /** Sends it again as it is by now, unless that has failed, too. */
  #rebase(call: QueuedCall, error: ErrorBody): void {
    if (!this.queue.calls.has(call)) return;
    if (!call.request.rebase?.()) {
      this.#remove(call);
      return call.answer.reject(HeadwaterError.fromBody(error));
    }
    this.queue.again(call);
    this.#options.onDue();
  }

  #rejectTooBig(call: QueuedCall, allowed: number, actual: number): void {
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

  #rejectSent(isLost: (call: QueuedCall) => boolean): void {
    const { sent } = this.queue;
    for (const [number, call] of sent) {
      if (!isLost(call)) continue;
      if (call.wasSent) {
        this.#fail(call, "unknown", unknownOutcome(call.request));
      } else {
        sent.delete(number);
        call.number = undefined;
      }
    }
  }

  #fail(
    call: QueuedCall,
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

  #remove(call: QueuedCall): void {
    this.queue.remove(call);
    this.#timeouts.delete(call);
    const journal = this.#journal;
    if (call.request.isLasting) journal?.keep();
    if (!this.hasNumbers) journal?.quiet();
    if (this.hasDue) this.#options.onDue();
  }

  #cancel({ number, bytes }: QueuedCall): void {
    // Not sent on this connection, or not at all: nobody is at it.
    if (number === undefined || bytes === 0) return;
    this.#cancelled.push(number);
    this.#options.onDue();
  }
}

function unknownOutcome({ name }: Request): string {
  return `Cannot tell whether "${name}" took effect: its session is over`;
}
