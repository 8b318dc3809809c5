/**
 * The public handles of stores: what `createStore` returns.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { JsonPatchOperation } from "../../protocol/json_patch.ts";
import { checkFunction, shown } from "../../protocol/shown.ts";
import type { StoreAccess } from "./access.ts";
import { recipeChange, setChange, type Written } from "./commit_queue.ts";
import {
  type CreateHook,
  type Definitions,
  type IdleHook,
  isKey,
  type StoreDefinition,
  type TerminateHook,
} from "./definition.ts";
import { toState } from "./state.ts";
import {
  diffMoments,
  type HistoryPage,
  type HistoryRange,
  listHistory,
  type Moment,
  readPastStates,
  restoreVersion,
} from "./history.ts";

import type { Writer } from "./writer.ts";

export type { Written };

/** How the server writes. */
export interface UpdateOptions {
  /**
   * On whose behalf: what an interceptor sees, and the history names. By default the
   * caller of the function that writes, or nobody.
   */
  readonly as?: Writer;
}

/** Hooks of a definition; each returns the handle, so that they chain. */
export abstract class StoreHandle<T> {
  /** @ignore */
  protected readonly definition: StoreDefinition;

  /**
   * Made by {@linkcode Server.createStore}.
   *
   * @ignore
   */
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

  /**
   * Runs before a store is reset or deleted, by whomever, its time to live or
   * `selfDestruct` included; it may still read the state. It runs once for each time
   * that `onCreate` has run, also with several servers over one KV: others that end
   * the same life wait for it.
   *
   * - Where it throws, `delete()` or `reset()` is refused with that, and the store
   *   lives on; a store that ends by itself ends all the same. Either is reported.
   * - A server that dies in it has ended nothing. Whoever ends the store next runs it
   *   again, once the other was silent for `limits.leaseMs`.
   */
  onTerminate(hook: TerminateHook): this {
    this.definition.onTerminate = hook;
    return this;
  }

  /**
   * Runs when the last subscriber of a store has left, be it by closing its
   * connection; the store still exists. With several servers over one KV, that is the
   * last one on any of them, and the server that it has left runs the hook.
   *
   * - It runs a tenth of a second later, in the background: who comes back before has
   *   never left. Where it throws, that is reported, and nothing else comes of it.
   * - Clients of a server that was closed or killed count as its subscribers for
   *   another `limits.leaseMs`; another server, or the next one, then runs the hook,
   *   unless they have come back to it.
   * - It may run again where a server dies in it.
   *
   * @example
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const rooms = server.createStore("Room:*", { messages: [] as string[] })
   *   .onIdle(async (key) => {
   *     if (key !== null) await rooms.delete(key);
   *   });
   * ```
   */
  onIdle(hook: IdleHook): this {
    this.definition.onIdle = hook;
    return this;
  }
}

/** Whether a handle is of these definitions: of one server, and no other. */
export function isDefinedBy(
  handle: StoreHandle<unknown>,
  definitions: Definitions,
): boolean {
  return definitions.has(handle["definition"]);
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

  /**
   * Made by {@linkcode Server.createStore} and {@linkcode Server.store}.
   *
   * @ignore
   */
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
   * @throws {TypeError} if the recipe is no function, or returns a promise.
   */
  async update<R = undefined>(
    recipe: Recipe<T, R>,
    { as }: UpdateOptions = {},
  ): Promise<Written<R>> {
    checkRecipe(recipe, this);
    // The value is the copy of what the recipe returned.
    return await this.#access.mutate(
      this.name,
      recipeChange(recipe),
      as,
    ) as Written<R>;
  }

  /** Replaces the whole state, and resolves when that is committed. */
  async set(
    state: T,
    { as }: UpdateOptions = {},
  ): Promise<Written<undefined>> {
    if (typeof state === "string") throw takesNoKey("set", this);
    const change = setChange(state, `state of store "${this.name}"`);
    const written = this.#access.mutate(this.name, change, as);
    return await written as Written<undefined>;
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
    // Else who takes it for one of many would lose all there is.
    if (arguments.length > 0) throw takesNoKey("delete", this);
    return await this.#access.delete(this.name);
  }

  /** Goes back to the initial state, uninitialised; subscribers stay. */
  async reset(): Promise<void> {
    if (arguments.length > 0) throw takesNoKey("reset", this); // as delete()
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

  /**
   * Lists versions in order: who changed what, and when. The newest ones, or those
   * from `from` on. What is kept is decided by the store's `history` option.
   *
   * @example The last change, and the page after version 1
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const todos = server.createStore("Todos", { items: [] as string[] });
   * await todos.update((draft) => void draft.items.push("Write it down"));
   * const { entries: [last] } = await todos.history({ limit: 1 });
   * assert.deepEqual(last?.patch, [
   *   { op: "add", path: "/items/0", value: "Write it down" },
   * ]);
   * const page = await todos.history({ from: 2 });
   * assert.deepEqual([page.entries.length, page.newest, page.next], [1, 2, undefined]);
   * ```
   *
   * @throws {HeadwaterError} `limit` if `from` is not kept any more, with the `oldest`
   * version that is, or if more than 1,000 are wanted; `store_missing`; `unavailable`
   * where the KV cannot be read.
   */
  async history(range?: HistoryRange): Promise<HistoryPage> {
    return await listHistory(this.#access, this.name, range);
  }

  /**
   * The state as it was at a version, or at a time; frozen. It may be of an older
   * shape than `T`, where the definition has changed since.
   *
   * @throws {HeadwaterError} `limit` if that is not kept any more, or not there yet,
   * with the `oldest` and `newest` version; `store_missing`; `unavailable`.
   * @throws {TypeError} if it is neither a version nor a time.
   */
  async at(moment: Moment): Promise<T> {
    const [state] = await readPastStates(this.#access, this.name, [moment]);
    return state as T; // as get()
  }

  /**
   * What has to change in the state of `before` to make that of `after`, as a JSON
   * Patch (RFC 6902). Either may be the later one.
   *
   * @throws {HeadwaterError} As {@linkcode StaticStore.at}.
   */
  async diff(before: Moment, after: Moment): Promise<JsonPatchOperation[]> {
    return await diffMoments(this.#access, this.name, [before, after]);
  }

  /**
   * Makes the state what it was at `version`, as one new version: nothing of the
   * history is lost, and subscribers are sent what differs. Where nothing does,
   * there is no new version. Within a function it applies once, like any write.
   *
   * @throws {HeadwaterError} As {@linkcode StaticStore.at} and
   * {@linkcode StaticStore.update}; `refused` if the store was migrated since.
   */
  async restore(version: number): Promise<Written<undefined>> {
    return await restoreVersion(this.#access, this.name, version);
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(): number {
    return this.#access.loaded(this.name)?.fanout.size ?? 0;
  }
}

/** Callers without types may have forgotten the recipe, or given a key to a static store. */
function checkRecipe(
  recipe: unknown,
  store: { readonly name: string },
): void {
  if (typeof recipe === "string" && store instanceof StaticStore) {
    throw takesNoKey("update", store);
  }
  checkFunction(recipe, `Cannot update store "${store.name}": the recipe`);
}

function takesNoKey(
  action: string,
  { name }: { readonly name: string },
): TypeError {
  return new TypeError(
    `Cannot ${action} store "${name}" by a key: it takes no key, as it is one store, and not many such as "${name}:*"`,
  );
}

/** With what a store of a dynamic definition is created. */
export interface CreateOptions<T> {
  /** Merged into the definition's initial state; stands above what `onCreate` returns. */
  readonly initial?: Partial<T>;
  /** The store ends by itself so many milliseconds later. @default that of the definition */
  readonly ttlMs?: number;
}

/** How many stores {@linkcode DynamicStore.removeAll} deletes at the same time. */
const REMOVED_AT_ONCE = 64;

/** Many shared states of one kind; like {@linkcode StaticStore}, with the key first. */
export class DynamicStore<T> extends StoreHandle<T> {
  readonly #access: StoreAccess;

  /**
   * Made by {@linkcode Server.createStore}.
   *
   * @ignore
   */
  constructor(access: StoreAccess, definition: StoreDefinition) {
    super(definition);
    this.#access = access;
  }

  /**
   * The full name of a key.
   *
   * @throws {HeadwaterError} `bad_name` if it cannot be one: it must be a string, not
   * empty, and neither be `"*"` nor end with `":*"`.
   */
  nameOf(key: string): string {
    const { pattern } = this.definition;
    if (typeof key !== "string") {
      throw new HeadwaterError(
        "bad_name",
        `Cannot use a store of "${pattern}": pass its key first, a string, not ${
          shown(key)
        }`,
      );
    }
    if (!isKey(key)) {
      throw new HeadwaterError(
        "bad_name",
        `Cannot use ${shown(key)} as a key of "${pattern}": ${
          key === ""
            ? "it is empty"
            : 'it must neither be "*" nor end with ":*"'
        }`,
      );
    }
    return this.definition.nameOf(key);
  }

  /**
   * Creates a store that does not exist, and resolves with its key: the one that is
   * given, or a new one. Where the key is in use that store is left as it is, and
   * null is returned. In a function it takes effect once, like any write.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const games = server.createStore("Game:*", { board: [] as number[], level: 1 });
   * const key = await games.create(undefined, { initial: { level: 3 } });
   * assert.ok(key);
   * assert.deepEqual(await games.get(key), { board: [], level: 3 });
   * assert.equal(await games.create(key), null);
   * ```
   *
   * @throws {RangeError} if `ttlMs` is not 0 or more.
   * @throws {HeadwaterError} as {@linkcode StaticStore.update}.
   */
  async create(
    key?: string,
    options: CreateOptions<T> = {},
  ): Promise<string | null> {
    const { initial = {}, ttlMs } = options;
    if (ttlMs !== undefined && !(ttlMs >= 0)) {
      throw new RangeError(`ttlMs must be 0 or more, not ${ttlMs}`);
    }
    key ??= await this.#access.newKey();
    const name = this.nameOf(key);
    const isCreated = await this.#access.create(name, {
      initial: toState(initial, `initial state of store "${name}"`),
      ttlMs,
    });
    return isCreated ? key : null;
  }

  /** Keys of the stores that exist, in order. */
  async list(): Promise<string[]> {
    const { prefix } = this.definition;
    const names = await this.#access.list(this.definition);
    return names.map((name) => name.slice(prefix.length));
  }

  /**
   * Deletes all stores of this definition that exist when it is called, and resolves
   * with how many it deleted. One that cannot be deleted keeps no other.
   *
   * @throws {AggregateError} with why some could not be deleted, once the others are.
   */
  async removeAll(): Promise<number> {
    const names = await this.#access.list(this.definition);
    const errors: unknown[] = [];
    let count = 0;
    const remove = async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        try {
          if (await this.#access.delete(name)) count++;
        } catch (error) {
          errors.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: REMOVED_AT_ONCE }, remove));
    if (errors.length > 0) {
      const all = `${this.definition.prefix}*`;
      const message = `Cannot delete ${errors.length} stores of "${all}"`;
      throw new AggregateError(errors, message);
    }
    return count;
  }

  /** See {@linkcode StaticStore.update}. */
  async update<R = undefined>(
    key: string,
    recipe: Recipe<T, R>,
    { as }: UpdateOptions = {},
  ): Promise<Written<R>> {
    const name = this.nameOf(key);
    checkRecipe(recipe, { name });
    // The value is the copy of what the recipe returned.
    return await this.#access.mutate(
      name,
      recipeChange(recipe),
      as,
    ) as Written<R>;
  }

  /** See {@linkcode StaticStore.set}. */
  async set(
    key: string,
    state: T,
    { as }: UpdateOptions = {},
  ): Promise<Written<undefined>> {
    const name = this.nameOf(key);
    const change = setChange(state, `state of store "${name}"`);
    const written = this.#access.mutate(name, change, as);
    return await written as Written<undefined>;
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

  /** See {@linkcode StaticStore.history}. */
  async history(key: string, range?: HistoryRange): Promise<HistoryPage> {
    return await listHistory(this.#access, this.nameOf(key), range);
  }

  /** See {@linkcode StaticStore.at}. */
  async at(key: string, moment: Moment): Promise<T> {
    const name = this.nameOf(key);
    const [state] = await readPastStates(this.#access, name, [moment]);
    return state as T; // as StaticStore.get()
  }

  /** See {@linkcode StaticStore.diff}. */
  async diff(
    key: string,
    before: Moment,
    after: Moment,
  ): Promise<JsonPatchOperation[]> {
    return await diffMoments(this.#access, this.nameOf(key), [before, after]);
  }

  /** See {@linkcode StaticStore.restore}. */
  async restore(key: string, version: number): Promise<Written<undefined>> {
    return await restoreVersion(this.#access, this.nameOf(key), version);
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(key: string): number {
    return this.#access.loaded(this.nameOf(key))?.fanout.size ?? 0;
  }
}

/** The handle of the store, or of the stores, that a contract calls `Name`. */
export type StoreOf<Name, T> = Name extends `${string}:*` ? DynamicStore<T>
  : StaticStore<T>;
