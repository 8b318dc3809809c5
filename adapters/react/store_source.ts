/**
 * One store as the components below a provider see it. This module is browser
 * compatible.
 *
 * @module
 */
import type {
  Client,
  ClientWritten,
  SubscriptionHandle,
  WriteOptions,
} from "../../client/mod.ts";

/** What is known of a store; another object where that is something else. */
export interface Snapshot {
  /** The state; undefined before the first. */
  readonly state: object | undefined;
  /** Why there is no state, or why no other will come. */
  readonly error: Error | undefined;
}

/** What a {@linkcode StoreSource} asks of its owner. */
export interface SourceOwner {
  /** Whether subscriptions may be made: not while React only tries how things would look. */
  readonly isMounted: boolean;
  /** The client. */
  client(): Client;
  /** The source is in use. */
  adopt(source: StoreSource): void;
  /** Nobody uses it any more. */
  forget(source: StoreSource): void;
}

/** So long a store stays subscribed that was left, as by one page for the next. */
const LEFT_MS = 1_000;

/**
 * So long one stays that a suspended component has asked for. It waits for the others of
 * its boundary, however slow they are: released too early, they would wait for each
 * other for ever.
 */
const ASKED_MS = 60_000;

const NOTHING: Snapshot = { state: undefined, error: undefined };

/** Subscribes to a store while somebody looks at it, and a moment longer. */
export class StoreSource {
  /** Full name of the store. */
  readonly name: string;
  /** What the page began with, for the server and the first render over what it made. */
  readonly initial: Snapshot;
  readonly #owner: SourceOwner;
  readonly #listeners = new Set<() => void>();
  #handle: SubscriptionHandle<object> | undefined;
  #hasEnded = false;
  #snapshot: Snapshot;
  #told: Snapshot;
  #isAsked = false;
  #release: ReturnType<typeof setTimeout> | undefined;
  #settled: PromiseWithResolvers<void> | undefined;

  constructor(name: string, initial: object | undefined, owner: SourceOwner) {
    this.name = name;
    this.initial = initial ? { state: initial, error: undefined } : NOTHING;
    this.#snapshot = this.#told = this.initial;
    this.#owner = owner;
  }

  /** Looks at the store; returns the undo. */
  readonly subscribe = (listener: () => void): () => void => {
    this.#owner.adopt(this);
    // Who comes back to a store that was refused, asks again.
    if (this.#listeners.size === 0 && this.#hasEnded) this.#drop();
    this.#listeners.add(listener);
    this.#isAsked = false;
    clearTimeout(this.#release);
    this.open();
    return () => {
      this.#listeners.delete(listener);
      this.#releaseLater();
    };
  };

  /** What is known now. */
  readonly read = (): Snapshot => {
    // Not only what onChange has brought: what is written here shows at once, or the
    // cursor of an input whose text is in a store would jump to its end.
    const state = this.#handle?.getState();
    if (state && state !== this.#snapshot.state) {
      this.#snapshot = { ...this.#snapshot, state };
    }
    return this.#snapshot;
  };

  /**
   * Resolves when there is a state, or the reason why not; for a component that would
   * suspend. The same promise then and after, since React wants to see it again.
   */
  settled(): Promise<void> {
    const settled = this.#settled ??= Promise.withResolvers();
    if (this.#isPending) {
      this.#isAsked = this.#listeners.size === 0;
      this.#owner.adopt(this);
      if (this.#owner.isMounted) this.open();
    } else fulfil(settled);
    return settled.promise;
  }

  /** Whether a component waits for it that has not been shown yet. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** Subscribes, unless it has. */
  open(): void {
    if (this.#handle) return;
    const handle = this.#owner.client().subscribe<object>(
      this.name,
      () => {
        if (this.#handle === handle) this.#settle(undefined);
      },
    );
    this.#handle = handle;
    this.#hearOfFailures(handle);
  }

  /** Writes by a recipe. */
  update(
    recipe: (draft: object) => unknown,
    options?: WriteOptions,
  ): Promise<ClientWritten> {
    this.open();
    const written = this.#handle!.update(recipe, options); // opened above
    this.tell();
    return written;
  }

  /** Tells the components if there is something new. */
  tell(): void {
    const snapshot = this.read();
    if (snapshot === this.#told) return;
    this.#told = snapshot;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Ends it until somebody looks again; what is known stays. */
  close(): void {
    clearTimeout(this.#release);
    this.read();
    const handle = this.#handle;
    this.#handle = undefined;
    this.#hasEnded = false;
    handle?.unsubscribe();
  }

  #hearOfFailures(handle: SubscriptionHandle<object>): void {
    const failed = (error: Error) => {
      if (this.#handle === handle) this.#settle(error);
    };
    void handle.ended().then((error) => {
      if (this.#handle === handle) this.#hasEnded = true;
      failed(error);
    });
    handle.ready().catch(failed);
  }

  #settle(error: Error | undefined): void {
    this.read();
    if (this.#snapshot.error !== error) {
      this.#snapshot = { ...this.#snapshot, error };
    }
    if (this.#settled) fulfil(this.#settled);
    if (this.#isAsked) this.#releaseLater();
    this.tell();
  }

  get #isPending(): boolean {
    const { state, error } = this.read();
    return !state && !error;
  }

  #releaseLater(): void {
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#release);
    if (!this.#handle) return;
    const isAwaited = this.#isAsked && this.#snapshot.state !== undefined;
    this.#release = setTimeout(() => {
      this.#drop();
      this.#owner.forget(this);
    }, isAwaited ? ASKED_MS : LEFT_MS);
  }

  #drop(): void {
    this.close();
    this.#snapshot = this.#told = this.initial;
    this.#isAsked = false;
    this.#settled = undefined;
  }
}

/** Resolves, and says so where React looks first: else it would wait for a moment all the same. */
function fulfil({ promise, resolve }: PromiseWithResolvers<void>): void {
  resolve();
  Object.assign(promise, { status: "fulfilled", value: undefined });
}
