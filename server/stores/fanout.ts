/**
 * What a store's subscribers are sent: each version is encoded once, whoever
 * listens; under load the patches of a few milliseconds are one frame.
 *
 * @module
 */
import type { HeadwaterError } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import type { Clock, Timer } from "../ports.ts";
import type { JointReceiver } from "./joint_delivery.ts";
import {
  callsOf,
  type OwnCalls,
  type Position,
  type SentChange,
} from "./recent_patches.ts";
import { type FramesOptions, StoreFrames } from "./store_frames.ts";

/** Bytes of recent patches that are kept for resumes and slow subscribers. */
const RECENT_BYTES = 256 * 1024;
/** What one send costs, roughly; fan-out may take half of a core, not more. */
const SEND_MS = 0.008;

/** What every subscriber is sent of some versions. */
export interface Delivery {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly from: number;
  readonly version: number;
  /** The calls whose writes are in it, by session. */
  readonly calls: OwnCalls | undefined;
}

/** Whoever is sent a store's changes. */
export interface Subscriber {
  /** Whose it is, where that one is to get what belongs together at once. */
  readonly receiver?: JointReceiver;
  /** Takes the frame with versions `from + 1` to `version`. */
  patched(fanout: Fanout, delivery: Delivery): void;
  /** The state has moved where no patch leads: it needs a snapshot. */
  jumped(fanout: Fanout): void;
  /** The store is gone, or cannot be read any more. */
  ended(fanout: Fanout, reason: "deleted" | HeadwaterError): void;
}

/** Hands what was gathered to a subscriber of a fan-out. */
type Send = (
  fanout: Fanout,
  subscriber: Subscriber,
  delivery: Delivery,
) => void;

/** Shows the subscribers behind it something else than the state. */
export interface Relay {
  /** How many listen. */
  readonly size: number;
  /** Takes what the store has come to; what is returned has to be flushed. */
  advance(): Iterable<Fanout>;
  /** The state has moved where no patch leads. */
  jumped(): void;
  /** See {@linkcode Fanout.end}. */
  ended(reason: "deleted" | HeadwaterError): void;
}

/** What a fan-out is made from. */
export interface FanoutOptions extends Omit<FramesOptions, "recentBytes"> {
  readonly clock: Clock;
  readonly maxWindowMs: number;
  /** How much is kept for resumes and slow subscribers. */
  readonly recentBytes?: number;
  /** Called when it has other subscribers, with how many of them have left. */
  readonly watch?: ((departed: number) => void) | undefined;
}

/** The subscribers of one loaded store. */
export class Fanout {
  /** Stands for the store in frames. */
  readonly number: number;
  readonly name: string;
  /** Hands the store's changes on in another form. */
  relay: Relay | undefined;
  /** What its subscribers are sent. */
  readonly frames: StoreFrames;
  readonly #clock: Clock;
  readonly #maxWindowMs: number;
  readonly #watch: (departed: number) => void;
  readonly #subscribers = new Set<Subscriber>();
  /** Up to here everything was handed to the subscribers. */
  #sent: Position;
  #timer: Timer | undefined;
  /** Present while nothing is shown of what comes. */
  #hold: PromiseWithResolvers<void> | undefined;
  #sentAtMs = -Infinity;

  /** A fan-out that begins at `position`. */
  constructor(
    { clock, maxWindowMs, watch = () => {}, ...shown }: FanoutOptions,
  ) {
    const { number, name, position, recentBytes = RECENT_BYTES } = shown;
    this.number = number;
    this.name = name;
    this.frames = new StoreFrames({ ...shown, recentBytes });
    this.#clock = clock;
    this.#maxWindowMs = maxWindowMs;
    this.#watch = watch;
    this.#sent = position;
  }

  /** How many listen. */
  get size(): number {
    return this.#subscribers.size + (this.relay?.size ?? 0);
  }

  /** The state at its position. */
  get state(): Json {
    return this.frames.state;
  }

  /** Where the store is. */
  get position(): Position {
    return this.frames.position;
  }

  /** Lets `subscriber` have every change after the current version. */
  add(subscriber: Subscriber): void {
    // What is gathered belongs before the current version: it must not reach the newcomer.
    this.flush();
    const { size } = this.#subscribers;
    this.#subscribers.add(subscriber);
    if (this.#subscribers.size > size) this.#watch(0);
  }

  /** Undoes {@linkcode Fanout.add}. */
  delete(subscriber: Subscriber): void {
    if (this.#subscribers.delete(subscriber)) this.#watch(1);
  }

  /** Takes the mutations that led to `state`; the last of them made `position`. */
  push(
    changes: readonly SentChange[],
    { position, state }: { position: Position; state: Json },
  ): void {
    const sent = this.#sent.version;
    this.frames.push(changes, { position, state, sent });
    this.#schedule();
  }

  /** Takes a state that no patch leads to. */
  jump(position: Position, state: Json): void {
    this.#cancel();
    this.frames.jump(position, state);
    this.#sent = position;
    this.relay?.jumped();
    for (const subscriber of this.#subscribers) subscriber.jumped(this);
  }

  /** Tells every subscriber that it is over. */
  end(reason: "deleted" | HeadwaterError): void {
    this.#cancel();
    const subscribers = [...this.#subscribers];
    this.#subscribers.clear();
    // Nobody leaves a store that is gone; one that cannot be read is left by all.
    this.#watch(reason === "deleted" ? 0 : subscribers.length);
    for (const subscriber of subscribers) subscriber.ended(this, reason);
    this.relay?.ended(reason);
  }

  /** Gathers what comes, and shows nothing of it, until it is released. */
  hold(): void {
    this.#cancel();
    this.#hold ??= Promise.withResolvers();
  }

  /** Undoes {@linkcode Fanout.hold}; what was gathered has to be flushed then. */
  release(): void {
    this.#hold?.resolve();
    this.#hold = undefined;
  }

  /** Resolves when it is not held any more; undefined where it is not. */
  get released(): Promise<void> | undefined {
    return this.#hold?.promise;
  }

  /** How long it is until the next frame is due. */
  get waitMs(): number {
    const sinceMs = this.#clock.monotonic() - this.#sentAtMs;
    return Math.max(0, this.#windowMs - 1 - sinceMs);
  }

  /** Hands what was gathered to the subscribers now, or to whoever hands it on. */
  flush(
    send: Send = (fanout, subscriber, delivery) =>
      subscriber.patched(fanout, delivery),
  ): void {
    if (this.#hold) return;
    this.#cancel();
    const from = this.#sent;
    const { position } = this;
    if (from.version === position.version) return;
    this.#sent = position;
    if (this.size === 0) return;
    this.#sentAtMs = this.#clock.monotonic();
    for (const fanout of this.relay?.advance() ?? []) fanout.flush(send);
    if (this.#subscribers.size === 0) return;
    const changes = this.frames.since(from.version)!; // what is not sent is not forgotten
    const delivery = {
      frame: this.frames.patch(from, changes),
      from: from.version,
      version: position.version,
      calls: callsOf(changes),
    };
    for (const subscriber of this.#subscribers) {
      send(this, subscriber, delivery);
    }
  }

  /** Sent at once when idle. A frame to many subscribers costs more than it is worth to be early. */
  get #windowMs(): number {
    return Math.min(
      this.#maxWindowMs,
      2 * SEND_MS * this.size,
    );
  }

  #schedule(): void {
    if (this.#timer || this.#hold) return;
    const windowMs = this.#windowMs;
    const sinceMs = this.#clock.monotonic() - this.#sentAtMs;
    if (sinceMs >= windowMs - 1) return this.flush();
    this.#timer = this.#clock.setTimer(windowMs, () => {
      this.#timer = undefined;
      this.flush();
    });
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
