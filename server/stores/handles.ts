/**
 * The public handles of stores: what `createStore` returns.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import type { StoreAccess } from "./access.ts";
import { recipeChange, setChange, type Written } from "./commit_queue.ts";
import type {
  CreateHook,
  StoreDefinition,
  TerminateHook,
} from "./definition.ts";

export type { Written };

/** Hooks of a definition; each returns the handle, so that they chain. */
export abstract class StoreHandle<T> {
  /** @ignore */
  protected readonly definition: StoreDefinition;

  /** Made by {@linkcode Server.createStore}. */
  constructor(definition: StoreDefinition) {
    this.definition = definition;
  }

  /**
   * Runs once per life of a store, at its first subscription, change or `init()`,
   * and again at the first use after a reset. What it returns is merged into the
   * initial state. It may be async; everybody who waits for the store waits for it.
   */
  onCreate(hook: CreateHook<T>): this {
    // Stored untyped: the definition does not know T.
    this.definition.onCreate = hook as CreateHook<unknown>;
    return this;
  }

  /** Runs before a store is reset or deleted; it may still read the state. */
  onTerminate(hook: TerminateHook): this {
    this.definition.onTerminate = hook;
    return this;
  }
}

/**
 * One shared state.
 *
 * States that come out of a store are frozen, and what goes in is copied: nobody
 * can change a store but through it.
 */
export class StaticStore<T> extends StoreHandle<T> {
  /** The store's full name. */
  readonly name: string;
  readonly #access: StoreAccess;

  /** Made by {@linkcode Server.createStore} and {@linkcode Server.store}. */
  constructor(
    access: StoreAccess,
    definition: StoreDefinition,
    name: string = definition.prefix,
  ) {
    super(definition);
    this.name = name;
    this.#access = access;
  }

  /**
   * Changes the state by a recipe on a draft, and resolves when that is committed
   * in the KV. The recipe must be synchronous; it may run more than once, when
   * others write at the same time. What it returns is the resolved `value`, and never
   * replaces the state; {@linkcode StaticStore.set} does that.
   *
   * - Other writes never interleave with a recipe.
   * - A recipe that throws changes nothing, and its error is passed on.
   *
   * @throws {HeadwaterError} `bad_value` for what cannot be shared, `limit`, or
   * `unavailable` while the KV takes no writes.
   */
  async update<R = undefined>(recipe: Recipe<T, R>): Promise<Written<R>> {
    // The value is the copy of what the recipe returned.
    return await this.#access.mutate(
      this.name,
      recipeChange(recipe),
    ) as Written<R>;
  }

  /** Replaces the whole state, and resolves when that is committed. */
  async set(state: T): Promise<Written<undefined>> {
    const change = setChange(state, `state of store "${this.name}"`);
    return await this.#access.mutate(this.name, change) as Written<undefined>;
  }

  /**
   * The newest committed state that this server knows; loads it if need be. Where
   * there is none it is the initial state, or undefined for a store of a dynamic
   * definition.
   */
  async get(): Promise<T> {
    const { isDynamic, initial } = this.definition;
    const state = (await this.#access.find(this.name))?.state ??
      (isDynamic ? undefined : initial);
    return state as T; // only createStore(), update() and set() make states
  }

  /** The state, if it is in memory. */
  peek(): T | undefined {
    return this.#access.loaded(this.name)?.state as T | undefined; // as get()
  }

  /** Whether the store was ever used and not deleted since. */
  async has(): Promise<boolean> {
    return await this.#access.has(this.name);
  }

  /** Ends this life of the store; subscribers are told. False where there was none. */
  async delete(): Promise<boolean> {
    return await this.#access.delete(this.name);
  }

  /** Goes back to the initial state, uninitialised; subscribers stay. */
  async reset(): Promise<void> {
    await this.#access.reset(this.name);
  }

  /** Creates the store now, if it is not. */
  async init(): Promise<void> {
    await this.#access.open(this.name);
  }

  /** Whether `onCreate` has taken effect since the creation or last reset. */
  async isInitialized(): Promise<boolean> {
    return (await this.#access.find(this.name))?.isInitialized ?? false;
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(): number {
    return this.#access.loaded(this.name)?.fanout.size ?? 0;
  }
}

/** Many shared states of one kind; like {@linkcode StaticStore}, with the key first. */
export class DynamicStore<T> extends StoreHandle<T> {
  readonly #access: StoreAccess;

  /** Made by {@linkcode Server.createStore}. */
  constructor(access: StoreAccess, definition: StoreDefinition) {
    super(definition);
    this.#access = access;
  }

  /** The full name of a key. */
  nameOf(key: string): string {
    if (typeof key !== "string" || key === "" || key === "*") {
      throw new TypeError(
        `A key of "${this.definition.prefix}*" must be a string, and neither "" nor "*"`,
      );
    }
    return this.definition.nameOf(key);
  }

  /** See {@linkcode StaticStore.update}. */
  async update<R = undefined>(
    key: string,
    recipe: Recipe<T, R>,
  ): Promise<Written<R>> {
    // The value is the copy of what the recipe returned.
    return await this.#access.mutate(
      this.nameOf(key),
      recipeChange(recipe),
    ) as Written<R>;
  }

  /** See {@linkcode StaticStore.set}. */
  async set(key: string, state: T): Promise<Written<undefined>> {
    const name = this.nameOf(key);
    const change = setChange(state, `state of store "${name}"`);
    return await this.#access.mutate(name, change) as Written<undefined>;
  }

  /** The newest committed state that this server knows; undefined where there is no such store. */
  async get(key: string): Promise<T | undefined> {
    return (await this.#access.find(this.nameOf(key)))?.state as T | undefined; // as StaticStore.get()
  }

  /** The state, if it is in memory. */
  peek(key: string): T | undefined {
    return this.#access.loaded(this.nameOf(key))?.state as T | undefined; // as StaticStore.get()
  }

  /** Whether there is such a store. */
  async has(key: string): Promise<boolean> {
    return await this.#access.has(this.nameOf(key));
  }

  /** See {@linkcode StaticStore.delete}. */
  async delete(key: string): Promise<boolean> {
    return await this.#access.delete(this.nameOf(key));
  }

  /** See {@linkcode StaticStore.reset}. */
  async reset(key: string): Promise<void> {
    await this.#access.reset(this.nameOf(key));
  }

  /** Creates the store now, if it is not. */
  async init(key: string): Promise<void> {
    await this.#access.open(this.nameOf(key));
  }

  /** See {@linkcode StaticStore.isInitialized}. */
  async isInitialized(key: string): Promise<boolean> {
    return (await this.#access.find(this.nameOf(key)))?.isInitialized ?? false;
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(key: string): number {
    return this.#access.loaded(this.nameOf(key))?.fanout.size ?? 0;
  }
}
