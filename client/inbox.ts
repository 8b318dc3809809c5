/**
 * Applies what the server sends, and tells of it when a whole message is applied.
 * This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError, unreachable } from "../protocol/errors.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { EventFilter } from "./event_order.ts";
import type { Listeners } from "./listeners.ts";
import type { Outbox } from "./outbox.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** What an {@linkcode Inbox} works on. */
export interface InboxOwner {
  /** Who listens. */
  readonly listeners: Listeners;
  /** Who waits for answers. */
  readonly outbox: Outbox;
  /** Who looks at stores. */
  readonly subscriptions: Subscriptions;
  /** A ping was answered. */
  ponged(): void;
  /** A message is applied, and nobody was told yet. */
  applied(): void;
}

/** See the module's documentation. */
export class Inbox {
  readonly #owner: InboxOwner;
  readonly #eventFilter = new EventFilter();
  /** What the message at hand leads to. */
  readonly #news: (() => void)[] = [];

  constructor(owner: InboxOwner) {
    this.#owner = owner;
  }

  /** Tells of a failure, once the message at hand is applied. */
  fail(error: Error): void {
    this.#news.push(() => this.#owner.listeners.emit("error", error));
  }

  /** Applies a whole message, then tells about it. */
  receive(frames: readonly DownFrame[]): void {
    // Given last, so that the state shows what a call has changed when its caller goes on.
    const answers: (() => void)[] = [];
    const { subscriptions, outbox } = this.#owner;
    for (const frame of frames) {
      if (frame.type === "res") {
        const answer = outbox.answer(frame);
        if (answer) answers.push(answer);
      } else this.#apply(frame);
    }
    this.#owner.applied();
    subscriptions.publish();
    for (const tell of this.#news.splice(0)) tell();
    for (const answer of answers) answer();
  }

  #apply(frame: Exclude<DownFrame, { type: "res" }>): void {
    const { subscriptions, listeners } = this.#owner;
    switch (frame.type) {
      case "snap":
      case "resume":
      case "patch":
        return subscriptions.apply(frame);
      case "own":
        return subscriptions.own(frame.name, frame.calls);
      case "del":
        if (subscriptions.deleted(frame.name)) {
          this.#news.push(() => listeners.emit("storeDeleted", frame.name));
        }
        return;
      case "err": {
        const { name, error } = frame;
        if (name !== undefined) return subscriptions.failed(name, error);
        return this.fail(HeadwaterError.fromBody(error));
      }
      case "evt":
        if (this.#eventFilter.pass(frame.order)) {
          this.#news.push(() => listeners.deliver(frame.channel, frame.data));
        }
        return;
      case "pong":
        return this.#owner.ponged();
      case "welcome":
      case "parts":
        return;
      default:
        return unreachable(frame);
    }
  }
}
