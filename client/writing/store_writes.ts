/**
 * What this client has written to one store. This module is browser compatible.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";
import type { ReplicaOutcome, Replicated, StateFrame } from "../replica.ts";
import type { PendingRequest } from "../request.ts";
import { notHereError, type Subscription } from "../subscription.ts";
import type { Overlay } from "../writing_port.ts";
import { type Base, Pending } from "./pending.ts";
import type { PendingEntry } from "./pending_entry.ts";
import { UndoStack } from "./undo.ts";

/** See the module's documentation. */
export class StoreWrites implements Overlay {
  /** The server's state, and how it comes. */
  readonly subscription: Subscription;
  /** What was written here and can be taken back. */
  readonly undo: UndoStack;
  #pending: Pending | undefined;
  /** Entries that the next frame contains. */
  #landed = 0;
  /** Requests that were applied, and are not in the state yet. */
  #confirmed: PendingRequest[] = [];
  /** What a write was made on that was refused last. */
  #refusedOn: Replicated | undefined;

  constructor(subscription: Subscription, undoSteps: number) {
    this.subscription = subscription;
    this.undo = new UndoStack(undoSteps);
  }

  /** Full name of the store. */
  get name(): string {
    return this.subscription.name;
  }

  /** What is pending here, if anything. */
  get pending(): Pending | undefined {
    return this.#pending;
  }

  /** Where the server's state stands. */
  get base(): Base {
    return this.subscription.current ?? { epoch: "", version: 0 };
  }

  get state(): Json | undefined {
    return this.#pending
      ? this.#pending.state
      : this.subscription.current?.state;
  }

  get isEmpty(): boolean {
    return this.#pending === undefined;
  }

  get canUndo(): boolean {
    return this.undo.canUndo;
  }

  get canRedo(): boolean {
    return this.undo.canRedo;
  }

  /** Puts a write or a guess on top of what is shown. */
  add(entry: PendingEntry): void {
    const { current } = this.subscription;
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
    this.subscription.restore({ state: kept, syncedAt });
    const pending = new Pending(kept.state);
    pending.adopt(entries);
    pending.presumeSent(this.name, kept);
    const { state, version } = this.subscription.current!; // that, or what was newer
    if (version !== kept.version) {
      for (const entry of entries) entry.isBeaten = true;
    }
    const present = this.#pending ?? new Pending(state);
    present.adopt(entries);
    this.#pending = present;
  }

  own(calls: readonly number[]): void {
    this.#landed += this.#pending?.land(calls) ?? 0;
  }

  /** Puts what is pending on top of what has come. */
  arrive(frame: StateFrame, outcome: ReplicaOutcome): void {
    if (frame.type !== "patch") {
      this.#landed += this.#pending?.take(this.#confirmed.splice(0)) ?? 0;
    }
    const landed = this.#landed;
    this.#landed = 0;
    const { current } = this.subscription;
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

  replaced(): void {
    const { state } = this.subscription.current!; // it was replaced by something
    this.#pending?.arrive(state, undefined, false);
  }

  /**
   * A request was applied. Where nothing arrives just now it stays until something does:
   * what was made on top of it would else be made again without it.
   */
  confirm(request: PendingRequest): void {
    const { isRetrying, isAsking } = this.subscription;
    if (isRetrying || isAsking) this.#confirmed.push(request);
    else this.drop(request);
  }

  /** Takes a request out that was not applied. */
  drop(request: PendingRequest): void {
    this.#pending?.drop(request);
    this.#trim();
  }

  /** A request's writes were refused as they were, and are to be made anew. */
  refuse(request: PendingRequest, entries: readonly PendingEntry[]): void {
    const { current, isStale } = this.subscription;
    if (!current) return; // they were made on a state
    // What they were refused for comes before the refusal: if nothing has, it was lost.
    if (this.#refusedOn === current && !isStale) this.subscription.ask();
    this.#refusedOn = current;
    this.#pending ??= new Pending(current.state);
    this.#pending.refuse(request, entries);
  }

  #trim(): void {
    if (this.#pending?.isEmpty) this.#pending = undefined;
  }
}
