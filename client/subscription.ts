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
import type {
  PatchFrame,
  ResumeFrame,
  SnapshotFrame,
  SubscribeFrame,
  UnsubscribeFrame,
} from "../protocol/frames.ts";
import type { ClientClock, ClientTimer } from "./environment.ts";
import type { Json } from "../protocol/value.ts";
import type { PendingRequest } from "./request.ts";
import { type Base, Pending, type PendingEntry } from "./pending.ts";
import { Replica, type ReplicaOutcome, type Replicated } from "./replica.ts";
import { UndoStack } from "./undo.ts";
import { notHereError } from "./write_request.ts";

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
  readonly #owner: SubscriptionOwner;
  /** What was written here and can be taken back. */
  readonly undo: UndoStack = new UndoStack();
  readonly #replica = new Replica();
  #phase: Phase = { name: "offline" };
  #pending: Pending | undefined;
  /** Entries that the next frame contains. */
  #landed = 0;
  /** Requests that were applied, and are not in the state yet. */
  #confirmed: PendingRequest[] = [];
  #told: Json | undefined;
  /** What a write was made on that was refused last. */
  #refusedOn: Replicated | undefined;
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
    return this.#pending ? this.#pending.state : this.current?.state;
  }

  /** What is pending here, if anything. */
  get pending(): Pending | undefined {
    return this.#pending;
  }

  /** Whether there is something that the listeners have not been shown. */
  takeNews(): boolean {
    const { shown } = this;
    const isNews = shown !== this.#told;
    this.#told = shown;
    return isNews;
  }

  /** Where the server's state stands. */
  get base(): Base {
    return this.current ?? { epoch: "", version: 0 };
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
  apply(frame: SnapshotFrame | ResumeFrame | PatchFrame): void {
    try {
      const wasBroken = this.#replica.isBroken;
      const outcome = this.#applyToReplica(frame);
      if (outcome === "gap") {
        return this.#askAgain(frame.type);
      }
      // A snapshot mends a broken replica, and the next patch may break it again: if
      // that counted as success, a server with such a fault were asked without a pause.
      if (!wasBroken) this.#failures = 0;
      if (frame.type !== "patch") {
        this.#enter({ name: "live" });
        this.#landed += this.#pending?.take(this.#confirmed.splice(0)) ?? 0;
      }
      this.#arrive(frame, outcome);
    } catch (error) {
      this.#owner.fail(error as Error); // applyPatch() throws nothing but errors
      this.#askAgain(frame.type);
    }
  }

  /** Puts a write or a guess on top of what is shown. */
  addEntry(entry: PendingEntry): void {
    const { current } = this;
    if (!current) throw notHereError(this.name);
    const pending = this.#pending ?? new Pending(current.state);
    pending.add(entry);
    this.#pending = pending;
  }

  /**
   * Goes on with what an earlier client had: the state, and the writes that it shows
   * on top, which were made on just that. A newer state that is here stays.
   */
  restore(
    { state: kept, syncedAt, entries }: {
      readonly state: Replicated;
      readonly syncedAt: number;
      readonly entries: readonly PendingEntry[];
    },
  ): void {
    const { current } = this;
    const isNewer = !current ||
      current.epoch === kept.epoch && current.version < kept.version;
    if (isNewer) {
      this.#replica.restore(kept);
      this.#syncedAt ??= syncedAt;
      if (current) this.#pending?.arrive(kept.state, undefined, false);
    }
    if (entries.length === 0) return;
    const pending = new Pending(kept.state);
    pending.adopt(entries);
    pending.presumeSent(this.name, kept);
    const { state, version } = this.current!; // that, or what was newer
    if (version !== kept.version) {
      for (const entry of entries) entry.isBeaten = true;
    }
    const present = this.#pending ?? new Pending(state);
    present.adopt(entries);
    this.#pending = present;
  }

  /** The next frame contains these calls and writes. */
  own(calls: readonly number[]): void {
    this.#landed += this.#pending?.land(calls) ?? 0;
  }

  /**
   * A request was applied. Where nothing arrives just now it stays until something does:
   * what was made on top of it would else be made again without it.
   */
  confirm(request: PendingRequest): void {
    if (this.isRetrying || this.isAsking) this.#confirmed.push(request);
    else this.drop(request);
  }

  /** Takes a request out that was not applied. */
  drop(request: PendingRequest): void {
    this.#pending?.drop(request);
    this.#trim();
  }

  /** Whether nothing was asked for on this connection. */
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

  /** Whether nothing comes any more while there is a connection: nobody looks at it. */
  get isLeft(): boolean {
    return this.#phase.name === "offline";
  }

  /** A request's writes were refused as they were, and are to be made anew. */
  refuse(request: PendingRequest, entries: readonly PendingEntry[]): void {
    const { current } = this;
    if (!current) return; // they were made on a state
    // What they were refused for comes before the refusal: if nothing has, it was lost.
    if (this.#refusedOn === current && this.#phase.name === "live") this.ask();
    this.#refusedOn = current;
    this.#pending ??= new Pending(current.state);
    this.#pending.refuse(request, entries);
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

  #applyToReplica(
    frame: SnapshotFrame | ResumeFrame | PatchFrame,
  ): ReplicaOutcome {
    switch (frame.type) {
      case "snap":
        return this.#replica.snapshot(frame);
      case "resume":
        return this.#replica.resume(frame);
      case "patch":
        return this.#replica.patch(frame);
    }
  }

  /** Puts what is pending on top of what has come. */
  #arrive(
    frame: SnapshotFrame | ResumeFrame | PatchFrame,
    outcome: ReplicaOutcome,
  ): void {
    const landed = this.#landed;
    this.#landed = 0;
    const { current } = this;
    if (!this.#pending || !current) return;
    if (outcome !== "changed") {
      if (landed > 0) this.#pending.arrive(current.state, [], true);
    } else if (frame.type === "snap") {
      this.#pending.arrive(current.state, undefined, false);
    } else {
      const isOwn = landed === frame.version - frame.from;
      this.#pending.arrive(current.state, frame.patch, isOwn);
    }
    this.#trim();
  }

  #trim(): void {
    if (this.#pending?.isEmpty) this.#pending = undefined;
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
