/**
 * What `subscribe()` returns. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import type { SubscriptionHandle } from "./api.ts";
import { Deferred } from "./deferred.ts";
import type { Replicated } from "./replica.ts";
import type { AnyHandle, Subscription } from "./subscription.ts";

/** What a {@linkcode Handle} asks of its owner. */
export interface HandleOwner {
  /** Runs a listener; what it throws stops nobody else. */
  guard(run: () => void): void;
  /** The handle wants no more. */
  remove(): void;
}

/** What an unsubscribed handle still shows. */
interface LastSeen {
  readonly current: Replicated | undefined;
  readonly syncedAt: number | undefined;
}

/** A handle on a {@linkcode Subscription}. */
export class Handle<T> implements SubscriptionHandle<T>, AnyHandle {
  readonly #subscription: Subscription;
  readonly #owner: HandleOwner;
  readonly #onChange: ((state: T) => void) | undefined;
  #ready: Deferred<void> | undefined;
  #isFirstDue = false;
  #lastSeen: LastSeen | undefined;

  constructor(
    subscription: Subscription,
    onChange: ((state: T) => void) | undefined,
    owner: HandleOwner,
  ) {
    this.#subscription = subscription;
    this.#onChange = onChange;
    this.#owner = owner;
    if (onChange === undefined || subscription.current === undefined) return;
    // Not within subscribe(): the caller's variable for the handle is not assigned yet.
    this.#isFirstDue = true;
    queueMicrotask(() => {
      if (this.#isFirstDue) this.deliver();
    });
  }

  get name(): string {
    return this.#subscription.name;
  }

  get version(): number | undefined {
    return this.#current?.version;
  }

  get lastSyncedAt(): number | undefined {
    return (this.#lastSeen ?? this.#subscription).syncedAt;
  }

  get isStale(): boolean {
    return this.#lastSeen !== undefined || this.#subscription.isStale;
  }

  getState(): T | undefined {
    return this.getServerState();
  }

  getServerState(): T | undefined {
    return this.#current?.state as T | undefined; // the caller's claim about the store
  }

  hasData(): boolean {
    return this.#current !== undefined;
  }

  ready(): Promise<void> {
    if (this.#ready === undefined) {
      this.#ready = new Deferred();
      if (this.hasData()) this.#ready.resolve();
      else if (this.#lastSeen) {
        this.#ready.rejectQuietly(unsubscribed(this.name));
      } else if (this.#subscription.error) {
        this.#ready.rejectQuietly(this.#subscription.error);
      }
    }
    return this.#ready.promise;
  }

  unsubscribe(): void {
    if (this.#lastSeen !== undefined) return;
    const { current, syncedAt } = this.#subscription;
    this.#lastSeen = { current, syncedAt };
    this.#isFirstDue = false;
    this.fail(unsubscribed(this.name));
    this.#owner.remove();
  }

  /** Shows the state to the listener. */
  deliver(): void {
    // A listener before this one may have unsubscribed it, or destroyed the client.
    if (!this.#subscription.handles.has(this)) return;
    this.#isFirstDue = false;
    this.#ready?.resolve();
    const state = this.getState();
    if (state !== undefined) this.#owner.guard(() => this.#onChange?.(state));
  }

  /** Rejects those who wait for a first state. */
  fail(error: Error): void {
    if (this.hasData()) return;
    this.#ready?.rejectQuietly(error);
    this.#ready = undefined;
  }

  get #current(): Replicated | undefined {
    return (this.#lastSeen ?? this.#subscription).current;
  }
}

function unsubscribed(name: string): HeadwaterError {
  return new HeadwaterError(
    "closed",
    `Cannot wait for store "${name}": the handle is unsubscribed`,
  );
}
