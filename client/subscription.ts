/**
 * One subscription on the wire, and its handles. This module is browser compatible.
 *
 * @module
 */
import {
  type ErrorBody,
  type ErrorCode,
  HeadwaterError,
} from "../protocol/errors.ts";
import type { SubscribeFrame, UnsubscribeFrame } from "../protocol/frames.ts";
import type { ClientClock, ClientTimer } from "./environment.ts";
import type { Json } from "../protocol/json.ts";
import { Replica, type Replicated, type StateFrame } from "./replica.ts";
import type { Overlay } from "./writing_port.ts";

/** What a {@linkcode Subscription} asks of its owner. */
export interface SubscriptionOwner {
  /** Time. */
  readonly clock: ClientClock;
  /** When a message was last heard and applied, in milliseconds since 1970. */
  heardAt(): number | undefined;
  /** Sends a frame. */
  send(frame: SubscribeFrame | UnsubscribeFrame): void;
  /** Tells of a failure, once the message at hand is applied. */
  fail(error: Error): void;
  /** How long to wait before trying again, the `attempt`th time. */
  retryMs(attempt: number): number;
}

/** A handle, as its subscription sees it: whatever the type of the state. */
export interface AnyHandle {
  /** Shows the state to the listener. */
  deliver(): void;
  /** Rejects those who wait for a first state. */
  fail(error: Error): void;
  /** Nothing comes any more. */
  end(error: Error): void;
}

/** Where a subscription stands. */
type Phase =
  | { readonly name: "offline" }
  /** Its `sub` is on the way, or the answer to it. */
  | { readonly name: "asked" }
  /** Every change arrives. */
  | { readonly name: "live" }
  | { readonly name: "retrying"; readonly timer: ClientTimer }
  | { readonly name: "ended"; readonly error: Error };

/** Errors that may pass; after any other the subscription is over. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "store_unreadable",
  "store_deleted",
  "unavailable",
  "unknown",
  "timeout",
  "closed",
]);

/** Keeps the replica of one store in step and tells its handles. */
export class Subscription {
  /** Full name of the store. */
  readonly name: string;
  /** Who looks at it. */
  readonly handles: Set<AnyHandle> = new Set();
  /** Number of the store on the connection; kept by the registry. */
  store: number | undefined;
  /** What was written here, if anything was; kept by who writes. */
  overlay: Overlay | undefined;
  readonly #owner: SubscriptionOwner;
  #replica = new Replica();
  #phase: Phase = { name: "offline" };
  #told: Json | undefined;
  #failures = 0;
  #syncedAt: number | undefined;

  constructor(name: string, owner: SubscriptionOwner) {
    this.name = name;
    this.#owner = owner;
  }

  /** The server's state and where it stands; undefined before the first. */
  get current(): Replicated | undefined {
    return this.#replica.current;
  }

  /** The state with what is pending here; undefined before the first. */
  get shown(): Json | undefined {
    return this.overlay ? this.overlay.state : this.current?.state;
  }

  /** Whether there is something that the listeners have not been shown. */
  takeNews(): boolean {
    const { shown } = this;
    const isNews = shown !== this.#told;
    this.#told = shown;
    return isNews;
  }

  /** False only while every change arrives. */
  get isStale(): boolean {
    return this.#phase.name !== "live";
  }

  /** When the state was last known to be the server's. */
  get syncedAt(): number | undefined {
    return this.isStale ? this.#syncedAt : this.#owner.heardAt();
  }

  /** Why it is over, if it is. */
  get error(): Error | undefined {
    return this.#phase.name === "ended" ? this.#phase.error : undefined;
  }

  /** Asks for the store: all of it, or what was missed. */
  ask(): void {
    this.#enter({ name: "asked" });
    const { token } = this.#replica;
    this.#owner.send({ type: "sub", name: this.name, ...(token && { token }) });
  }

  /** Nothing arrives any more, and nothing is to be asked for. */
  disconnected(): void {
    this.store = undefined;
    this.#enter({ name: "offline" });
  }

  /** Applies what the server sent. */
  apply(frame: StateFrame): void {
    try {
      const wasBroken = this.#replica.isBroken;
      const outcome = this.#replica.apply(frame);
      if (outcome === "gap") {
        return this.#askAgain(frame.type);
      }
      // A snapshot mends a broken replica, and the next patch may break it again: if
      // that counted as success, a server with such a fault were asked without a pause.
      if (!wasBroken) this.#failures = 0;
      if (frame.type !== "patch") this.#enter({ name: "live" });
      this.overlay?.arrive(frame, outcome);
    } catch (error) {
      this.#owner.fail(error as Error); // applyPatch() throws nothing but errors
      this.#askAgain(frame.type);
    }
  }

  /** Goes on with the state that an earlier client had, unless a newer one is here. */
  restore(
    { state: kept, syncedAt }: {
      readonly state: Replicated;
      readonly syncedAt: number;
    },
  ): void {
    const { current } = this;
    const isNewer = !current ||
      current.epoch === kept.epoch && current.version < kept.version;
    if (!isNewer) return;
    this.#replica.restore(kept);
    this.#syncedAt ??= syncedAt;
    if (current) this.overlay?.replaced();
  }

  /** Forgets the state that was {@linkcode restore}d, unless a newer one has come. */
  unshow({ state }: Replicated): void {
    if (this.current?.state === state) this.#replica = new Replica();
  }

  /** Whether nothing was asked for on this connection: if there is one, nobody looks at it. */
  get isOffline(): boolean {
    return this.#phase.name === "offline";
  }

  /** Whether its answer is on the way, after which writes are likelier to be taken as they are. */
  get isAsking(): boolean {
    return this.#phase.name === "asked";
  }

  /** Whether the server could not serve it, and is asked again later. */
  get isRetrying(): boolean {
    return this.#phase.name === "retrying";
  }

  /** The server cannot serve it, now or ever. */
  failed(body: ErrorBody): void {
    const error = HeadwaterError.fromBody(body);
    this.#owner.fail(error);
    if (!PASSING.has(body.code)) return this.end(error);
    this.#failures++;
    this.#retryLater();
    this.fail(error);
  }

  /** Rejects those who wait for a first state; it may come nevertheless. */
  fail(error: Error): void {
    for (const handle of this.handles) handle.fail(error);
  }

  /** It is over. */
  end(error: Error): void {
    this.#enter({ name: "ended", error });
    for (const handle of this.handles) handle.end(error);
  }

  #askAgain(after: "snap" | "resume" | "patch"): void {
    // While an answer is due, every further patch shows the same gap.
    if (after === "patch" && this.#phase.name !== "live") return;
    this.#failures++;
    if (this.#failures === 1) this.ask();
    else this.#retryLater();
  }

  #retryLater(): void {
    const ms = this.#owner.retryMs(this.#failures);
    this.#enter({
      name: "retrying",
      timer: this.#owner.clock.setTimer(ms, () => this.ask()),
    });
  }

  #enter(phase: Phase): void {
    if (this.#phase.name === "retrying") this.#phase.timer.cancel();
    if (this.#phase.name === "live" && phase.name !== "live") {
      this.#syncedAt = this.#owner.heardAt();
    }
    this.#phase = phase;
  }
}

/** The error for a write to a store of which there is nothing here yet. */
export function notHereError(name: string): HeadwaterError {
  return new HeadwaterError(
    "refused",
    `Cannot write to store "${name}": its state is not here yet; await ready() before`,
    { outcome: "notSent" },
  );
}
