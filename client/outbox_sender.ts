/**
 * Sends requests: which may go now, and in which frames. This module is browser
 * compatible.
 *
 * @module
 */
import { encodeUp, joinUp } from "../protocol/client_codec.ts";
import { LimitError } from "../protocol/errors.ts";
import { isWrite, type OutboxQueue, type QueuedCall } from "./outbox_queue.ts";
import type { OutboxSession } from "./outbox_session.ts";
import type { Journal, Request } from "./request.ts";

/** What an {@linkcode OutboxSender} works with. */
export interface OutboxSenderOptions {
  /** What there is to send. */
  readonly queue: OutboxQueue;
  /** The session in which it is sent. */
  readonly session: OutboxSession;
  /** What keeps requests beyond this client, if anything. */
  journal(): Journal | undefined;
  /** One can not be sent, and is over. */
  reject(call: QueuedCall, error: unknown): void;
  /** One was sent before, and can not be sent again: nobody knows what became of it. */
  giveUp(call: QueuedCall): void;
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

/** Part of it after which no call is sent before the session is renewed. */
const HOLD_AFTER = 3 / 4;

/** See the module's documentation. */
export class OutboxSender {
  readonly #options: OutboxSenderOptions;
  /** Numbers of calls that the server may still be at, and nobody awaits any more. */
  #cancelled: number[] = [];

  constructor(options: OutboxSenderOptions) {
    this.#options = options;
  }

  /** The frames to send now, none of them over `messageBytes`. They count as sent. */
  takeFrames(messageBytes: number): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    const { queue, session: { isReady, age } } = this.#options;
    if (!isReady) return frames;
    const isHeld = queue.sent.size > 0 && age >= HOLD_AFTER;
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

  /** Nobody awaits a call any more; returns whether the server has to be told. */
  cancel({ number, bytes }: QueuedCall): boolean {
    // Not sent on this connection, or not at all: nobody is at it.
    if (number === undefined || bytes === 0) return false;
    this.#cancelled.push(number);
    return true;
  }

  /** The connection is gone. */
  disconnected(): void {
    // With its connection the server gives up what it was at for that.
    this.#cancelled = [];
  }

  /**
   * Whether it may be sent. What a later client may send has to be kept with its number
   * before: that client would send it under another, and it would take effect twice.
   */
  #isSafe(call: QueuedCall): boolean {
    const journal = this.#options.journal();
    if (!call.request.isLasting || !journal?.isOn) return true;
    if (call.number !== undefined && journal.isSafe(call)) return true;
    const { writesInFlight } = this.#options.queue;
    journal.number(call, MAX_WRITES_IN_FLIGHT - writesInFlight);
    return false;
  }

  /** Its frame; where it cannot be sent any more it is rejected. */
  #tryEncode(call: QueuedCall): Uint8Array<ArrayBuffer> | undefined {
    try {
      return this.#encode(call);
    } catch (error) {
      this.#options.reject(call, error);
      return undefined;
    }
  }

  #encode({ request, number, createdMs, isResent }: QueuedCall) {
    const { queue: { sent, nextNumber }, session: { issued } } = this.#options;
    const id = number ?? nextNumber;
    const [oldest = id] = sent.keys();
    const sinceMs = issued?.startedMs ?? createdMs;
    return request.encode({
      id,
      oldest,
      elapsedMs: Math.max(0, createdMs - sinceMs),
      ...(isResent && { resent: true }),
    });
  }

  #rejectTooBig(call: QueuedCall, allowed: number, actual: number): void {
    // The server before this one took more; what became of it there is not known here.
    if (call.wasSent) return this.#options.giveUp(call);
    const { action } = call.request;
    this.#options.reject(
      call,
      new LimitError(action, "messageBytes", allowed, actual),
    );
  }
}
