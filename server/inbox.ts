/**
 * What a connection was sent and has not answered: message by message, frame by frame,
 * as far as the limits allow.
 *
 * @module
 */
import { decodeUp } from "../protocol/codec.ts";
import { toErrorBody } from "../protocol/error_body.ts";
import {
  type ErrorBody,
  HeadwaterError,
  LimitError,
} from "../protocol/errors.ts";
import {
  CLOSE,
  type CloseCode,
  type RefusedFrame,
  type UpFrame,
} from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import type { RunningCalls } from "./running_calls.ts";

/**
 * What a message in an inbox costs beside its bytes: a million of a few bytes each
 * would otherwise take a hundred times the limit.
 */
const MESSAGE_COST_BYTES = 64;

/** What comes out of the inbox. */
export type ReceivedFrame = UpFrame | RefusedFrame;

/** Whoever an inbox belongs to. */
export interface InboxOwner {
  /** Calls that run. */
  readonly calls: RunningCalls;
  /** Whether an answer would reach the client now. */
  readonly canAnswer: boolean;
  /** Handles one frame; a promise counts as under way until it settles. */
  handle(frame: ReceivedFrame): void | Promise<void>;
  /** Something failed that should not have; what the client is told of it. */
  failed(error: unknown, what: string): ErrorBody;
  /** Sends an error that concerns the whole connection. */
  refuse(error: ErrorBody): void;
  /** Ends the connection. */
  close(code: CloseCode, reason: string): void;
}

/** See the module's documentation. */
export class Inbox {
  readonly #owner: InboxOwner;
  readonly #limits: Limits;
  readonly #messages: Uint8Array[] = [];
  #bytes = 0;
  /** Frames of a message that is being handled. */
  #frames: ReceivedFrame[] = [];
  #underWay = 0;
  #isHandling = false;
  /** What follows a hello waits for its session. */
  #isGreeting = false;
  #isDraining = false;
  #isStopped = false;
  #onIdle: () => void = () => {};

  /** An empty inbox. */
  constructor(owner: InboxOwner, limits: Limits) {
    this.#owner = owner;
    this.#limits = limits;
  }

  /** Takes one message, or ends the connection. */
  push(data: Uint8Array | string): void {
    const owner = this.#owner;
    if (typeof data === "string") {
      return owner.close(
        CLOSE.badFrame,
        "Text messages are not part of the protocol",
      );
    }
    const { messageBytes, inboxBytes } = this.#limits;
    const waits = this.#messages.length > 0 || this.#frames.length > 0;
    if (
      (waits || !this.#mayHandle()) &&
      owner.calls.cancelAhead(data, this.#limits, waits)
    ) return;
    if (data.byteLength > messageBytes) {
      const { message } = new LimitError(
        "take the message",
        "messageBytes",
        messageBytes,
        data.byteLength,
      );
      return owner.close(CLOSE.tooBig, message);
    }
    this.#bytes += data.byteLength + MESSAGE_COST_BYTES;
    if (this.#bytes > inboxBytes) {
      const { message } = new LimitError(
        "queue the message",
        "inboxBytes",
        inboxBytes,
        this.#bytes,
      );
      return owner.close(CLOSE.flooding, message);
    }
    this.#messages.push(data);
    this.advance();
  }

  /** Handles what is there, as far as the limits allow. */
  advance(): void {
    if (this.#isHandling) return;
    this.#isHandling = true;
    while (this.#mayHandle()) {
      const frame = this.#frames.shift();
      if (frame) this.#dispatch(frame);
      else if (!this.#decodeNext()) {
        this.#owner.calls.caughtUp();
        break;
      }
    }
    this.#isHandling = false;
  }

  /** Handles nothing more, and resolves when what is under way is answered. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#underWay === 0 || this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle = resolve);
  }

  /** The connection has ended. */
  stop(): void {
    this.#isStopped = true;
    this.#messages.length = 0;
    this.#frames = [];
    this.#onIdle();
  }

  #mayHandle(): boolean {
    // A client that does not read gets no further answers, so its inbox stands still.
    return !this.#isStopped && !this.#isGreeting && !this.#isDraining &&
      this.#underWay < this.#limits.callsPerConnection &&
      this.#owner.canAnswer;
  }

  #decodeNext(): boolean {
    const message = this.#messages.shift();
    if (!message) return false;
    this.#bytes -= message.byteLength + MESSAGE_COST_BYTES;
    try {
      this.#frames = decodeUp(message, this.#limits);
    } catch (error) {
      // Thrown further it would end the process: the host delivers messages in an event.
      if (!(error instanceof HeadwaterError)) {
        this.#owner.failed(error, "A message");
      }
      this.#owner.close(
        CLOSE.badFrame,
        toErrorBody(error, "bad_frame").message,
      );
    }
    return true;
  }

  #dispatch(frame: ReceivedFrame): void {
    let handled: void | Promise<void>;
    try {
      handled = this.#owner.handle(frame);
    } catch (error) {
      return this.#fail(error);
    }
    if (!handled) return;
    this.#underWay++;
    if (frame.type === "hello") this.#isGreeting = true;
    handled.catch((error) => this.#fail(error)).finally(() => {
      this.#underWay--;
      if (frame.type === "hello") this.#isGreeting = false;
      if (this.#underWay === 0) this.#onIdle();
      this.advance();
    });
  }

  #fail(error: unknown): void {
    this.#owner.refuse(this.#owner.failed(error, "What was asked for"));
  }
}
