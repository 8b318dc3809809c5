/**
 * All subscriptions of a client. This module is browser compatible.
 *
 * @module
 */
import { type ErrorBody, HeadwaterError } from "../protocol/errors.ts";
import { Handle } from "./handle.ts";
import type { LateWriting } from "./late_writing.ts";
import type { StateFrame } from "./replica.ts";
import {
  type AnyHandle,
  Subscription,
  type SubscriptionOwner,
} from "./subscription.ts";
import type { KeptState } from "./writing_port.ts";

/** What {@linkcode Subscriptions} asks of its owner. */
export interface SubscriptionsOwner extends SubscriptionOwner {
  /** Runs a listener; what it throws stops nobody else. */
  guard(run: () => void): void;
  /** What handles write with. */
  readonly writing: () => LateWriting;
  /** The subscription to a store is over for good. */
  ended(name: string): void;
  /** Runs `passed` when whatever the server sends has seen all that was sent before this. */
  barrier(passed: () => void): void;
}

/** The subscriptions, by the store's name and by its number on the connection. */
export class Subscriptions {
  readonly #owner: SubscriptionsOwner;
  readonly #byName = new Map<string, Subscription>();
  readonly #byNumber = new Map<number, Subscription>();
  readonly #changed = new Set<Subscription>();
  /** The last subscription of a store that was left, until nothing of it is on its way. */
  readonly #leaving = new Map<string, Subscription>();
  #isConnected = false;
  /** What an earlier client had of stores that nobody here looks at yet. */
  readonly #kept = new Map<string, KeptState>();

  constructor(owner: SubscriptionsOwner) {
    this.#owner = owner;
  }

  /** Adds a handle, and the subscription if it is the first one. */
  add<T>(name: string, onChange?: (state: T) => void): Handle<T> {
    let subscription = this.#byName.get(name);
    if (subscription === undefined) {
      subscription = this.#create(name);
      if (this.#isConnected) subscription.ask();
    }
    return this.#attach(subscription, onChange);
  }

  /** All of them, looked at or not. */
  all(): Iterable<Subscription> {
    return this.#byName.values();
  }

  /** Shows what an earlier client had, where there is nothing newer. */
  restore(states: ReadonlyMap<string, KeptState>): void {
    for (const [name, kept] of states) {
      const subscription = this.#byName.get(name);
      if (!subscription) this.#kept.set(name, kept);
      else {
        show(subscription, kept);
        this.#changed.add(subscription);
      }
    }
  }

  /** Shows nothing more of that, where nothing newer has come. */
  unshow(states: ReadonlyMap<string, KeptState>): void {
    this.#kept.clear();
    for (const [name, { state }] of states) {
      this.#byName.get(name)?.unshow(state);
    }
  }

  /** The subscription to a store that an earlier client has written to. */
  revive(name: string): Subscription {
    return this.#byName.get(name) ?? this.#create(name);
  }

  /** Asks for a store that was {@linkcode revive}d, if it was not. */
  revived(subscription: Subscription): void {
    this.#changed.add(subscription);
    if (this.#isConnected && subscription.isOffline) subscription.ask();
  }

  /** Adds a handle that never gets anything. */
  addEnded<T>(name: string, error: Error): Handle<T> {
    const subscription = new Subscription(name, this.#owner);
    subscription.end(error);
    return this.#attach<T>(subscription, undefined);
  }

  /** Asks for every store. */
  connected(): void {
    this.#isConnected = true;
    for (const subscription of this.#byName.values()) subscription.ask();
  }

  /** The connection is gone, and with it the numbers of the stores. */
  disconnected(): void {
    this.#isConnected = false;
    this.#leaving.clear();
    this.#byNumber.clear();
    for (const subscription of this.#byName.values()) {
      subscription.disconnected();
    }
  }

  /** Rejects everybody who waits for a first state: there will be no connection until further notice. */
  fail(error: Error): void {
    for (const subscription of this.#byName.values()) subscription.fail(error);
  }

  /** Ends all of them. */
  destroy(error: Error): void {
    for (const subscription of this.#byName.values()) {
      subscription.end(error);
      subscription.handles.clear();
    }
    this.#byName.clear();
    this.#byNumber.clear();
    this.#changed.clear();
  }

  /** Applies one frame; {@linkcode publish} tells the listeners. */
  apply(frame: StateFrame): void {
    const subscription = frame.type === "patch"
      ? this.#byNumber.get(frame.store)
      : this.#named(frame.name);
    if (subscription === undefined) return; // it was on its way when the store was unsubscribed
    if (frame.type !== "patch") this.#number(subscription, frame.store);
    subscription.apply(frame);
    this.#changed.add(subscription);
  }

  /** The next frame of a store contains these calls and writes of this client. */
  own(name: string, calls: readonly number[]): void {
    this.#named(name)?.overlay?.own(calls);
  }

  /** The subscription to a store that has a state, if there is one. */
  find(name: string): Subscription | undefined {
    const subscription = this.#byName.get(name);
    return subscription?.current && subscription;
  }

  /** What is pending at a store is not what it was; {@linkcode publish} tells the listeners. */
  touched(subscription: Subscription): void {
    this.#changed.add(subscription);
  }

  /** The server cannot serve a store. */
  failed(name: string, error: ErrorBody): void {
    const subscription = this.#named(name);
    subscription?.failed(error);
    if (subscription?.error === undefined) return;
    this.#forget(subscription);
    this.#owner.ended(name);
  }

  /** A store was deleted; returns whether anybody here looked at it. */
  deleted(name: string): boolean {
    const subscription = this.#named(name);
    if (subscription === undefined) return false;
    this.#forget(subscription);
    this.#owner.ended(name);
    subscription.end(
      new HeadwaterError(
        "store_deleted",
        `Cannot follow store "${name}": it was deleted`,
      ),
    );
    return true;
  }

  /** A whole message is applied: runs the listeners, once each. */
  publish(): void {
    if (this.#changed.size === 0) return;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const subscription of changed) {
      if (subscription.takeNews()) {
        for (const handle of [...subscription.handles]) handle.deliver();
      }
      this.#release(subscription);
    }
  }

  #create(name: string): Subscription {
    const subscription = new Subscription(name, this.#owner);
    this.#byName.set(name, subscription);
    const kept = this.#kept.get(name);
    this.#kept.delete(name);
    if (!kept) return subscription;
    show(subscription, kept);
    // Its first handle shows it by itself.
    subscription.takeNews();
    return subscription;
  }

  #attach<T>(
    subscription: Subscription,
    onChange: ((state: T) => void) | undefined,
  ): Handle<T> {
    const handle = new Handle(subscription, onChange, {
      guard: (run) => this.#owner.guard(run),
      remove: () => this.#detach(handle, subscription),
      writing: this.#owner.writing,
    });
    subscription.handles.add(handle);
    return handle;
  }

  #detach(handle: AnyHandle, subscription: Subscription): void {
    subscription.handles.delete(handle);
    this.#release(subscription);
  }

  /** Leaves a store that nobody looks at, once it has nothing to be made again. */
  #release(subscription: Subscription): void {
    const { handles, error, overlay, name } = subscription;
    if (handles.size > 0 || error !== undefined) return;
    if (overlay?.isEmpty === false) return;
    if (this.#byName.get(name) !== subscription) return;
    this.#forget(subscription);
    subscription.disconnected();
    if (this.#isConnected) this.#leave(subscription);
  }

  #leave(subscription: Subscription): void {
    const { name } = subscription;
    this.#owner.send({ type: "unsub", name });
    this.#leaving.set(name, subscription);
    this.#owner.barrier(() => {
      // It may have been subscribed and left once more since.
      if (this.#leaving.get(name) === subscription) this.#leaving.delete(name);
    });
  }

  /**
   * The subscription that a frame with that name is for. One that was left may have an
   * answer on its way: taken for the next one's, it would show that one as live before
   * the server knows of it, and calls would resolve before their writes are seen.
   */
  #named(name: string): Subscription | undefined {
    return this.#leaving.has(name) ? undefined : this.#byName.get(name);
  }

  #number(subscription: Subscription, store: number): void {
    this.#dropNumber(subscription);
    subscription.store = store;
    this.#byNumber.set(store, subscription);
  }

  #forget(subscription: Subscription): void {
    this.#dropNumber(subscription);
    if (this.#byName.get(subscription.name) === subscription) {
      this.#byName.delete(subscription.name);
    }
  }

  #dropNumber({ store }: Subscription): void {
    if (store !== undefined) this.#byNumber.delete(store);
  }
}

function show(
  subscription: Subscription,
  { state, savedAtMs: syncedAt }: KeptState,
): void {
  subscription.restore({ state, syncedAt });
}
