/**
 * What `subscribe()` returns. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../protocol/errors.ts";
import { checkFunction, shown } from "../protocol/shown.ts";
import { freezeDeep, type Json } from "../protocol/json.ts";
import type { SubscriptionHandle } from "./handle_api.ts";
import { Deferred } from "./deferred.ts";
import type { LateWriting } from "./late_writing.ts";
import { type ListenerOptions, StateListeners } from "./state_listeners.ts";
import type { Replicated } from "./replica.ts";
import {
  type AnyHandle,
  notHereError,
  type Subscription,
} from "./subscription.ts";
import type { ClientWritten, WriteOptions } from "./write_options.ts";
import type { Writing } from "./writing_port.ts";

/** What a {@linkcode Handle} asks of its owner. */
export interface HandleOwner {
  /** Runs a listener; what it throws stops nobody else. */
  guard(run: () => void): void;
  /** The handle wants no more. */
  remove(): void;
  /** What it writes with. */
  writing(): LateWriting;
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
    options: WriteOptions = {},
  ): Promise<ClientWritten> {
    checkFunction(recipe, `Cannot update store "${this.name}": the recipe`);
    return this.#write((writing, store) =>
      writing.update(store, recipe, options)
    );
  }

  set(state: T, options: WriteOptions = {}): Promise<ClientWritten> {
    const what = `state of store "${this.name}"`;
    const clean = freezeDeep(this.#owner.writing().clean(state, what));
    if (clean === null || typeof clean !== "object" || Array.isArray(clean)) {
      throw new TypeError(`Cannot use ${what}: it must be an object`);
    }
    return this.#write((writing, store) => writing.set(store, clean, options));
  }

  merge(
    partial: Partial<T>,
    options: WriteOptions = {},
  ): Promise<ClientWritten> {
    if (partial === null || typeof partial !== "object") {
      throw new TypeError(
        `Cannot merge into store "${this.name}": an object of properties is needed, not ${
          shown(partial)
        }`,
      );
    }
    const updates = Object.entries(partial);
    const recipe = (draft: Record<string, unknown>) => {
      for (const [name, value] of updates) {
        if (value === undefined) delete draft[name];
        else draft[name] = value;
      }
    };
    return this.#write((writing, store) =>
      writing.update(store, recipe, options)
    );
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
      if (this.hasData()) this.#beReady();
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
    return this.#subscription.overlay?.canUndo ?? false;
  }

  get canRedo(): boolean {
    return this.#subscription.overlay?.canRedo ?? false;
  }

  undo(): Promise<ClientWritten | undefined> {
    return this.#revert((writing) => writing.undo(this.#subscription));
  }

  redo(): Promise<ClientWritten | undefined> {
    return this.#revert((writing) => writing.redo(this.#subscription));
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

  /** What is thrown rejects: a conflict is no mistake of the caller's. */
  #revert<R>(revert: (writing: Writing) => Promise<R>): Promise<R> {
    try {
      // The promise itself: one that waits for it would not reject quietly.
      return this.#owner.writing().run(revert);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #write(
    write: (writing: Writing, store: Subscription) => Promise<ClientWritten>,
  ): Promise<ClientWritten> {
    if (this.#lastSeen) throw unsubscribed(this.name);
    const store = this.#subscription;
    if (!store.current) throw store.error ?? notHereError(this.name);
    return this.#owner.writing().run((writing) => write(writing, store));
  }

  /** Who waits for a state may write at once: not before the part that writes is there. */
  #beReady(): void {
    const ready = this.#ready;
    const loaded = ready && this.#owner.writing().settled();
    if (loaded) loaded.then(() => ready.resolve());
    else ready?.resolve();
  }

  /** Shows the state to the listener. */
  deliver(): void {
    // A listener before this one may have unsubscribed it, or destroyed the client.
    if (!this.#subscription.handles.has(this)) return;
    this.#isFirstDue = false;
    this.#beReady();
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
