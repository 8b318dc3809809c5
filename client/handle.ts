/**
 * What `subscribe()` returns. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import type { SubscriptionHandle, WriteOptions } from "./api.ts";
import { Deferred } from "./deferred.ts";
import { checkFunction } from "../protocol/shown.ts";
import type { Json } from "../protocol/value.ts";
import type { Step } from "./pending.ts";
import { type ListenerOptions, StateListeners } from "./state_listeners.ts";
import type { Replicated } from "./replica.ts";
import type { AnyHandle, Subscription } from "./subscription.ts";
import type { ClientWritten, WritePolicy } from "./write_request.ts";
import { mergeStep, recipeStep, setStep } from "./writes.ts";

/** What a {@linkcode Handle} asks of its owner. */
export interface HandleOwner {
  /** Runs a listener; what it throws stops nobody else. */
  guard(run: () => void): void;
  /** The handle wants no more. */
  remove(): void;
  /** Writes to the store. */
  write(
    make: (state: Json) => Step,
    policy: WritePolicy | undefined,
  ): Promise<ClientWritten>;
  /** Takes the last own change back, if there is one. */
  undo(): Promise<ClientWritten> | undefined;
  /** Makes the change again that was taken back last, if there is one. */
  redo(): Promise<ClientWritten> | undefined;
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
  #ended: Deferred<Error> | undefined;
  readonly #listeners: StateListeners;
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
    this.#listeners = new StateListeners((run) => owner.guard(run));
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
    const shown = this.#lastSeen
      ? this.#lastSeen.current?.state
      : this.#subscription.shown;
    return shown as T | undefined; // the caller's claim about the store
  }

  update(
    recipe: (draft: T) => unknown,
    options?: WriteOptions,
  ): Promise<ClientWritten> {
    checkFunction(recipe, `Cannot update store "${this.name}": the recipe`);
    return this.#write(recipeStep(recipe), options);
  }

  set(state: T, options?: WriteOptions): Promise<ClientWritten> {
    return this.#write(
      setStep(state, `state of store "${this.name}"`),
      options,
    );
  }

  merge(partial: Partial<T>, options?: WriteOptions): Promise<ClientWritten> {
    return this.#write(mergeStep(partial as object), options); // a state is an object
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

  ended(): Promise<Error> {
    if (this.#ended === undefined) {
      this.#ended = new Deferred();
      const { error } = this.#subscription;
      if (this.#lastSeen) this.#ended.resolve(unsubscribed(this.name));
      else if (error) this.#ended.resolve(error);
    }
    return this.#ended.promise;
  }

  unsubscribe(): void {
    if (this.#lastSeen !== undefined) return;
    const { current, syncedAt } = this.#subscription;
    this.#lastSeen = { current, syncedAt };
    this.#isFirstDue = false;
    this.#listeners.clear();
    this.end(unsubscribed(this.name));
    this.#owner.remove();
  }

  get canUndo(): boolean {
    return this.#subscription.undo.canUndo;
  }

  get canRedo(): boolean {
    return this.#subscription.undo.canRedo;
  }

  undo(): Promise<ClientWritten | undefined> {
    return this.#owner.undo() ?? Promise.resolve(undefined);
  }

  redo(): Promise<ClientWritten | undefined> {
    return this.#owner.redo() ?? Promise.resolve(undefined);
  }

  listen<S>(
    id: string,
    listener: (changed: never, previous: never) => void,
    options: ListenerOptions<T, S> = {},
  ): () => void {
    checkFunction(listener, `Cannot listen as "${id}": the listener`);
    // Paired by the overloads of SubscriptionHandle.
    const entry = {
      run: listener,
      options: options as ListenerOptions<never, unknown>,
    };
    return this.#listeners.add(id, entry, this.getState() as Json | undefined);
  }

  unlisten(id: string): boolean {
    return this.#listeners.remove(id);
  }

  #write(
    make: (state: Json) => Step,
    options: WriteOptions = {},
  ): Promise<ClientWritten> {
    if (this.#lastSeen) throw unsubscribed(this.name);
    return this.#owner.write(make, options.policy);
  }

  /** Shows the state to the listener. */
  deliver(): void {
    // A listener before this one may have unsubscribed it, or destroyed the client.
    if (!this.#subscription.handles.has(this)) return;
    this.#isFirstDue = false;
    this.#ready?.resolve();
    const state = this.getState();
    if (state === undefined) return;
    this.#owner.guard(() => this.#onChange?.(state));
    this.#listeners.tell(state as Json); // what getState() has taken for T
  }

  /** Rejects those who wait for a first state. */
  fail(error: Error): void {
    if (this.hasData()) return;
    this.#ready?.rejectQuietly(error);
    this.#ready = undefined;
  }

  /** Tells those who wait for the end, and for a first state. */
  end(error: Error): void {
    this.fail(error);
    this.#ended?.resolve(error);
  }

  get #current(): Replicated | undefined {
    return (this.#lastSeen ?? this.#subscription).current;
  }
}

function unsubscribed(name: string): HeadwaterError {
  return new HeadwaterError(
    "closed",
    `Cannot follow store "${name}": the handle is unsubscribed`,
  );
}
