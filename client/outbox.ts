/**
 * Calls: queued, in flight, sent again. This module is browser compatible.
 *
 * @module
 */
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
import { OutboxQueue, type QueuedCall } from "./outbox_queue.ts";
import { OutboxSender } from "./outbox_sender.ts";
import { type IssuedSession, OutboxSession } from "./outbox_session.ts";
import {
  type Journal,
  MOST_PENDING,
  type PendingRequest,
  type Request,
} from "./request.ts";

/** What an {@linkcode Outbox} works with. */
export interface OutboxOptions {
  /** Time. */
  readonly clock: ClientClock;
  /** How long a call may take. */
  readonly timeoutMs: number;
  /** Requests that may wait for their answer at once. */
  readonly mostPending?: number;
  /** Called when {@linkcode Outbox.takeFrames} may have something again. */
  readonly onDue: () => void;
  /** What is missing where nothing is sent: the end of a message. */
  readonly missing?: () => string;
  /** What keeps requests beyond this client, if anything. */
  readonly journal?: () => Journal | undefined;
}

/** Part of a session's life after which it is renewed when no answer is due. */
const RENEW_AFTER = 1 / 2;

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
  readonly #sender: OutboxSender;

  constructor(options: OutboxOptions) {
    const { clock, timeoutMs } = options;
    this.#options = options;
    this.#session = new OutboxSession(clock);
    this.#timeouts = new CallTimeouts({
      clock,
      timeoutMs,
      expired: (call) => {
        this.#cancel(call);
        const missing = call.wasSent ? "" : options.missing?.() ?? "";
        this.#fail(call, "timeout", `RPC timeout${missing}`);
      },
    });
    this.#sender = new OutboxSender({
      queue: this.queue,
      session: this.#session,
      journal: () => this.#journal,
      reject: (call, error) => {
        this.#remove(call);
        call.answer.reject(error);
      },
      giveUp: (call) => this.#giveUp(call),
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

  /** Whether a request is waiting for its answer. */
  has(request: PendingRequest): boolean {
    return [...this.queue.calls].some((call) => call === request);
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

  /** Refuses to have so many wait at once as are too many. */
  checkRoom(action: string, size: number): void {
    const { mostPending = MOST_PENDING } = this.#options;
    if (size <= mostPending) return;
    throw new LimitError(action, "pendingRequests", mostPending, size);
  }

  /** Adds a call. */
  add(request: Request, signal?: AbortSignal): PendingRequest {
    signal?.throwIfAborted();
    const { calls, due } = this.queue;
    this.checkRoom(request.action, calls.size + 1);
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
    this.#sender.disconnected();
    this.queue.disconnected();
  }

  /** The frames to send now, none of them over `messageBytes`. They count as sent. */
  takeFrames(messageBytes: number): Uint8Array<ArrayBuffer>[] {
    return this.#sender.takeFrames(messageBytes);
  }

  /** Messages by which the server learns what nobody awaits any more. */
  takeCancels(): Uint8Array<ArrayBuffer>[] {
    return this.#sender.takeCancels();
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

  #rejectSent(isLost: (call: QueuedCall) => boolean): void {
    const { sent } = this.queue;
    for (const [number, call] of sent) {
      if (!isLost(call)) continue;
      if (call.wasSent) this.#giveUp(call);
      else {
        sent.delete(number);
        call.number = undefined;
      }
    }
  }

  #giveUp(call: QueuedCall): void {
    const { name } = call.request;
    this.#fail(
      call,
      "unknown",
      `Cannot tell whether "${name}" took effect: its session is over`,
    );
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

  #cancel(call: QueuedCall): void {
    if (this.#sender.cancel(call)) this.#options.onDue();
  }
}
