/**
 * How a name becomes a loaded store: once, whoever asks at the same time.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanName } from "../../protocol/value.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Clock } from "../ports.ts";
import type { Settled } from "./change.ts";
import type { StoreDefinition } from "./definition.ts";
import type { Definitions } from "./definitions.ts";
import type { Creation, StoreOpener } from "./opener.ts";
import type { Store } from "./store.ts";

/** What openings need. */
export interface OpeningsOptions {
  readonly definitions: Definitions;
  readonly opener: StoreOpener;
  readonly nameLength: number;
  readonly clock: Clock;
  /** The store, if it is loaded. */
  readonly loaded: (id: StoreId) => Store | undefined;
  /** Keeps a store that was opened. */
  readonly hold: (store: Store) => void;
  /** Lets others catch up with what the store that is kept has come to together with them. */
  readonly join: (store: Store) => Promise<void>;
}

/** How long the end of the server waits for `onCreate`. */
const GRACE_MS = 2_000;

/** A store that was not there, and what its creation made. */
export interface Created {
  readonly store: Store;
  readonly settled: Settled;
}

/** How a store is opened. */
interface OpenOptions {
  readonly definition: StoreDefinition;
  readonly creates: boolean;
  /** The store where it is loaded, but not initialised. */
  readonly store?: Store | undefined;
  readonly creation?: Creation;
}

interface Opening {
  /** Whether the store will be initialised, whatever comes. */
  readonly initializes: boolean;
  readonly store: Promise<Store | undefined>;
  /** What came of a creation, where that is what was asked for. */
  settled?: Settled;
  /** The feed spoke of the store while it was being read. */
  isTouched: boolean;
}

/** See the module's documentation. */
export class Openings {
  readonly #options: OpeningsOptions;
  readonly #current = new Map<string, Opening>();
  /** Those who wait for a hook, and how they are told that it takes too long. */
  readonly #hooked = new Set<(reason: HeadwaterError) => void>();
  #isClosed = false;

  /** Nothing is being opened yet. */
  constructor(options: OpeningsOptions) {
    this.#options = options;
  }

  /** The store, loaded if it exists, or if it is to be created; else undefined. */
  async get(id: StoreId, creates: boolean): Promise<Store | undefined> {
    const key = storeKey(id);
    for (;;) {
      if (this.#isClosed) throw closedError();
      const store = this.#options.loaded(id);
      if (store && (!creates || store.isInitialized)) return store;
      const current = this.#current.get(key);
      if (current) {
        if (current.initializes || !creates) return await current.store;
        await current.store.catch(() => undefined);
        continue;
      }
      const definition = this.#options.definitions.find(id.name);
      if (!definition) return undefined;
      return await this.#begin(id, { definition, creates, store }).store;
    }
  }

  /**
   * Creates the store; undefined where it exists, though perhaps only since a
   * moment ago: what was settled says whether it was this that created it.
   */
  async create(
    id: StoreId,
    definition: StoreDefinition,
    creation: Creation,
  ): Promise<Created | undefined> {
    for (;;) {
      if (await this.get(id, false)) return undefined;
      const current = this.#current.get(storeKey(id));
      if (current) {
        await current.store.catch(() => undefined);
        continue;
      }
      const opening = this.#begin(id, { definition, creates: true, creation });
      const store = await opening.store;
      const { settled } = opening;
      return store && settled && { store, settled };
    }
  }

  /** The feed speaks of the store. */
  touch(key: string): void {
    const opening = this.#current.get(key);
    if (opening) opening.isTouched = true;
  }

  /** The feed may have spoken of any. */
  touchAll(): void {
    for (const opening of this.#current.values()) opening.isTouched = true;
  }

  /** Opens nothing any more, and waits for what is under way, but not for ever for a hook. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const grace = this.#options.clock.setTimer(GRACE_MS, () => {
      for (const reject of this.#hooked) reject(closedError());
    });
    await Promise.allSettled(
      [...this.#current.values()].map(({ store }) => store),
    );
    grace.cancel();
  }

  #begin(id: StoreId, options: OpenOptions): Opening {
    const key = storeKey(id);
    const opening: Opening = {
      initializes: options.creates && !options.creation,
      isTouched: false,
      store: Promise.resolve()
        .then(() => this.#open(id, options, opening))
        .finally(() => this.#current.delete(key)),
    };
    this.#current.set(key, opening);
    return opening;
  }

  /** What a hook gives, unless nobody can wait for it any more. */
  async #unlessClosed<T>(hook: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#hooked.add(reject);
    try {
      return await Promise.race([hook, promise]);
    } finally {
      this.#hooked.delete(reject);
    }
  }

  async #open(
    id: StoreId,
    { definition, creates, creation, ...options }: OpenOptions,
    opening: Opening,
  ): Promise<Store | undefined> {
    const { opener, nameLength, loaded, hold, join } = this.#options;
    cleanName(id.name, "store", nameLength);
    let store = options.store ?? await opener.load(id, definition);
    const isNew = !store && creates;
    if (isNew) store = await opener.create(id, definition, creation);
    if (!store) return undefined;
    // A creation leaves a store that exists as it is.
    if (creates && !store.isInitialized && (isNew || !creation)) {
      try {
        const settled = await opener.initialize(store, definition, {
          creation,
          unlessClosed: (hook) => this.#unlessClosed(hook),
        });
        if (creation) opening.settled = settled;
      } catch (error) {
        if (loaded(id) !== store) await store.close();
        throw error;
      }
    }
    if (store.ended) throw store.ended;
    hold(store);
    // From here on the feed finds it; what it said before has to be made good.
    if (opening.isTouched) await store.checkOrEnd();
    await join(store);
    if (store.ended) throw store.ended;
    return store;
  }
}

function closedError(): HeadwaterError {
  return new HeadwaterError("closed", "The server is closed", {
    outcome: "notApplied",
  });
}
