/**
 * The public handle of many stores of one kind.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { JsonPatchOperation } from "../../protocol/json_patch.ts";
import { shown } from "../../protocol/shown.ts";
import { checkKinds, type Kind } from "../option_kinds.ts";
import type { StoreAccess } from "./access.ts";
import { recipeChange, setChange, type Written } from "./change.ts";
import { isKey, type StoreDefinition } from "./definition.ts";
import {
  diffMoments,
  type HistoryPage,
  type HistoryRange,
  listHistory,
  type Moment,
  readPastStates,
  restoreVersion,
} from "./history.ts";
import { toState } from "./state.ts";
import type { StaticStore } from "./static_store.ts";
import { checkTtl } from "./time_to_live.ts";
import {
  checkRecipe,
  StoreHandle,
  type UpdateOptions,
  writerOf,
} from "./store_handle.ts";

/** With what a store of a dynamic definition is created. */
export interface CreateOptions<T> {
  /** Merged into the definition's initial state; stands above what `onCreate` returns. */
  readonly initial?: Partial<T>;
  /**
   * The store ends by itself so many milliseconds later: a whole number, at most 100
   * years. `Infinity`: never, whatever the definition says.
   *
   * @default that of the definition
   */
  readonly ttlMs?: number;
}

const CREATE_OPTIONS: Readonly<Record<keyof CreateOptions<unknown>, Kind>> = {
  initial: "any",
  ttlMs: "any",
};

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
   * The key is what comes behind the prefix: the store `"Game:42"` of `"Game:*"` has the
   * key `"42"`, and the key `"Game:42"` would be that of a store `"Game:Game:42"`.
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
   * @throws {RangeError} if `ttlMs` is neither a whole number from 0 to 100 years nor
   * `Infinity`.
   * @throws {TypeError} if there is no such option, or it is of another kind.
   * @throws {HeadwaterError} as {@linkcode StaticStore.update}.
   */
  create(
    key?: string,
    options: CreateOptions<T> = {},
  ): Promise<string | null> {
    return this.#access.begin(async () => {
      const { pattern } = this.definition;
      const action = `Cannot create a store of "${pattern}"`;
      checkKinds(action, options, CREATE_OPTIONS);
      const { initial = {}, ttlMs } = options;
      checkTtl(action, ttlMs);
      key ??= await this.#access.newKey();
      const name = this.nameOf(key);
      const isCreated = await this.#access.create(name, {
        initial: toState(initial, `initial state of store "${name}"`),
        ttlMs,
      });
      return isCreated ? key : null;
    });
  }

  /**
   * Keys of the stores that exist, in order; those that cannot be read are among them, and
   * the server's `error` tells of each.
   */
  async list(): Promise<string[]> {
    const { prefix } = this.definition;
    const names = await this.#access.list(this.definition);
    return names.map((name) => name.slice(prefix.length));
  }

  /**
   * Deletes all stores of this definition that exist when it is called, and resolves
   * with how many it deleted. One that cannot be deleted keeps no other; one that cannot
   * be read is deleted as by {@linkcode StaticStore.delete}.
   *
   * @throws {AggregateError} with why some could not be deleted, once the others are.
   */
  removeAll(): Promise<number> {
    return this.#access.begin(async () => {
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
    });
  }

  /** See {@linkcode StaticStore.update}. */
  update<R = undefined>(
    key: string,
    recipe: Recipe<T, R>,
    options?: UpdateOptions,
  ): Promise<Written<R>> {
    return this.#access.begin(async () => {
      const name = this.nameOf(key);
      checkRecipe(recipe, { name });
      // The value is the copy of what the recipe returned.
      return await this.#access.mutate(
        name,
        recipeChange(recipe),
        writerOf(options, { name }),
      ) as Written<R>;
    });
  }

  /** See {@linkcode StaticStore.set}. */
  set(
    key: string,
    state: T,
    options?: UpdateOptions,
  ): Promise<Written<undefined>> {
    return this.#access.begin(async () => {
      const name = this.nameOf(key);
      const change = setChange(state, `state of store "${name}"`);
      const written = this.#access.mutate(
        name,
        change,
        writerOf(options, { name }),
      );
      return await written as Written<undefined>;
    });
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
  delete(key: string): Promise<boolean> {
    return this.#access.begin(async () => {
      return await this.#access.delete(this.nameOf(key));
    });
  }

  /** See {@linkcode StaticStore.reset}. */
  reset(key: string): Promise<void> {
    return this.#access.begin(async () => {
      await this.#access.reset(this.nameOf(key));
    });
  }

  /** Creates the store now, if it is not. */
  init(key: string): Promise<void> {
    return this.#access.begin(async () => {
      await this.#access.open(this.nameOf(key));
    });
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
  restore(key: string, version: number): Promise<Written<undefined>> {
    return this.#access.begin(async () => {
      return await restoreVersion(this.#access, this.nameOf(key), version);
    });
  }

  /** Connections of this server that are subscribed. */
  subscriberCount(key: string): number {
    return this.#access.loaded(this.nameOf(key))?.fanout.size ?? 0;
  }
}

/** The handle of the store, or of the stores, that a contract calls `Name`. */
export type StoreOf<Name, T> = Name extends `${string}:*` ? DynamicStore<T>
  : StaticStore<T>;
