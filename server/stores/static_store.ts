/**
 * The public handle of one store.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import type { JsonPatchOperation } from "../../protocol/json_patch.ts";
import type { StoreAccess } from "./access.ts";
import { recipeChange, setChange, type Written } from "./change.ts";
import type { StoreDefinition } from "./definition.ts";
import {
  diffMoments,
  type HistoryPage,
  type HistoryRange,
  listHistory,
  type Moment,
  readPastStates,
  restoreVersion,
} from "./history.ts";
import {
  checkRecipe,
  StoreHandle,
  type UpdateOptions,
  writerOf,
} from "./store_handle.ts";

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
  update<R = undefined>(
    recipe: Recipe<T, R>,
    options?: UpdateOptions,
  ): Promise<Written<R>> {
    return this.#access.begin(async () => {
      if (typeof recipe === "string") throw takesNoKey("update", this);
      checkRecipe(recipe, this);
      // The value is the copy of what the recipe returned.
      return await this.#access.mutate(
        this.name,
        recipeChange(recipe),
        writerOf(options, this),
      ) as Written<R>;
    });
  }

  /** Replaces the whole state, and resolves when that is committed. */
  set(
    state: T,
    options?: UpdateOptions,
  ): Promise<Written<undefined>> {
    return this.#access.begin(async () => {
      if (typeof state === "string") throw takesNoKey("set", this);
      const change = setChange(state, `state of store "${this.name}"`);
      const written = this.#access.mutate(
        this.name,
        change,
        writerOf(options, this),
      );
      return await written as Written<undefined>;
    });
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

  /**
   * Ends this life of the store; subscribers are told. False where there was none.
   *
   * A store that cannot be read (`store_unreadable`) is deleted, too, with what there is of
   * it: its `onTerminate` does not run, and the server's `error` tells of it. One that a
   * newer server has given a version that is not known here is refused.
   */
  delete(): Promise<boolean> {
    return this.#access.begin(async () => {
      // Else who takes it for one of many would lose all there is.
      if (arguments.length > 0) throw takesNoKey("delete", this);
      return await this.#access.delete(this.name);
    });
  }

  /** Goes back to the initial state, uninitialised; subscribers stay. */
  reset(): Promise<void> {
    return this.#access.begin(async () => {
      if (arguments.length > 0) throw takesNoKey("reset", this); // as delete()
      await this.#access.reset(this.name);
    });
  }

  /** Creates the store now, if it is not. */
  init(): Promise<void> {
    return this.#access.begin(async () => {
      await this.#access.open(this.name);
    });
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
   * It takes no time, as {@linkcode StaticStore.at} does.
   *
   * @example Back to where it was
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const plan = server.createStore("Plan", { title: "Ship it" });
   * const { version } = await plan.set({ title: "Wait" });
   * assert.deepEqual(await plan.at(version - 1), { title: "Ship it" });
   * assert.deepEqual(await plan.diff(version - 1, version), [
   *   { op: "replace", path: "/title", value: "Wait" },
   * ]);
   * await plan.restore(version - 1);
   * assert.deepEqual(await plan.get(), { title: "Ship it" });
   * ```
   *
   * @throws {HeadwaterError} As {@linkcode StaticStore.at} and
   * {@linkcode StaticStore.update}; `refused` if the store was migrated since.
   */
  restore(version: number): Promise<Written<undefined>> {
    return this.#access.begin(async () => {
      return await restoreVersion(this.#access, this.name, version);
    });
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(): number {
    return this.#access.loaded(this.name)?.fanout.size ?? 0;
  }
}

function takesNoKey(
  action: string,
  { name }: { readonly name: string },
): TypeError {
  return new TypeError(
    `Cannot ${action} store "${name}" by a key: it takes no key, as it is one store, and not many such as "${name}:*"`,
  );
}
