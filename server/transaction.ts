/**
 * Transactions: changes of several stores that take effect together, or not at all.
 *
 * @module
 */
import type { Recipe } from "../protocol/draft.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { Json } from "../protocol/value.ts";
import { shown } from "../protocol/shown.ts";
import { checkKinds, type Kind } from "./option_kinds.ts";
import type { StoreAccess } from "./stores/access.ts";
import {
  type Changer,
  recipeChange,
  setChange,
  type Written,
} from "./stores/change.ts";
import type { Definitions } from "./stores/definitions.ts";
import { DynamicStore } from "./stores/dynamic_store.ts";
import { StaticStore } from "./stores/static_store.ts";
import {
  checkRecipe,
  isDefinedBy,
  type UpdateOptions,
  writerOf,
} from "./stores/store_handle.ts";
import type { Writer } from "./stores/writer.ts";

/** A change of a transaction, and what came of it. */
export interface TransactionChange<R> {
  /**
   * Version and value, once the transaction has resolved.
   *
   * @throws {TypeError} before.
   */
  readonly written: Written<R>;
}

/** One store, as a transaction changes it. */
export interface TransactionStore<T> {
  /** Adds a change by a recipe; see {@linkcode StaticStore.update}. */
  update<R = undefined>(
    recipe: Recipe<T, R>,
    options?: UpdateOptions,
  ): TransactionChange<R>;
  /** Adds the replacement of the whole state. */
  set(state: T, options?: UpdateOptions): TransactionChange<undefined>;
}

/**
 * Takes the changes of a transaction, store by store. A store that is named and not changed
 * is no part of it.
 */
export interface Transaction {
  /** A store of a dynamic definition, by its key. */
  <T>(store: DynamicStore<T>, key: string): TransactionStore<T>;
  /** One store. */
  <T>(store: StaticStore<T>): TransactionStore<T>;
}

/** A change of one store, where a transaction is given as a list: by `update`, or by `set`. */
export interface TransactionPart<T> {
  /** Which store; with its `key` where there are many of a kind. */
  readonly store: StaticStore<T> | DynamicStore<T>;
  /** Key of a store of a dynamic definition. */
  readonly key?: string;
  /** Changes the state on a draft; see {@linkcode StaticStore.update}. */
  readonly update?: (draft: T) => unknown;
  /** Replaces the whole state. */
  readonly set?: NoInfer<T>;
}

/** What collects transactions, and commits them. */
export interface TransactionsOptions {
  readonly access: StoreAccess;
  readonly definitions: Definitions;
}

interface Planned {
  readonly name: string;
  readonly change: Changer;
  readonly writer?: Writer | undefined;
  written?: Written<unknown>;
}

/** See the module's documentation. */
export class Transactions {
  readonly #options: TransactionsOptions;

  /** Transactions over the stores of a server. */
  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Commits what `run` adds. */
  async run(
    run: (tx: Transaction) => unknown,
  ): Promise<readonly Written<Json | undefined>[]> {
    const planned: Planned[] = [];
    let isOver = false;
    // Of any store: the handle tells what its state is.
    const tx = (
      store: StaticStore<unknown> | DynamicStore<unknown>,
      key?: string,
    ): TransactionStore<unknown> => {
      const name = this.#nameOf(store, key);
      const add = (change: Changer, options: UpdateOptions | undefined) => {
        const writer = writerOf(options, { name });
        if (isOver) {
          throw new TypeError("Cannot add to it: the transaction is over");
        }
        const plan: Planned = { name, change, writer };
        planned.push(plan);
        return changeOf(plan);
      };
      return {
        update: <R>(recipe: Recipe<unknown, R>, options?: UpdateOptions) => {
          checkRecipe(recipe, { name });
          // The value is the copy of what the recipe returned.
          return add(recipeChange(recipe), options) as TransactionChange<R>;
        },
        set: (state, options) => {
          const change = setChange(state, `state of store "${name}"`);
          return add(change, options) as TransactionChange<undefined>; // a set returns nothing
        },
      };
    };
    try {
      await run(tx as Transaction);
    } finally {
      isOver = true;
    }
    return await this.#commit(planned);
  }

  /** Commits the changes of a list. */
  async all(
    parts: readonly TransactionPart<unknown>[],
  ): Promise<readonly Written<Json | undefined>[]> {
    const given: unknown = parts;
    if (!Array.isArray(given)) {
      throw new TypeError(
        `Cannot run a transaction: it takes a function or a list of changes, not ${
          shown(given)
        }`,
      );
    }
    return await this.#commit(parts.map((part, index): Planned => {
      checkPart(part, index);
      const name = this.#nameOf(part.store, part.key);
      const { update } = part;
      const change = update === undefined
        ? setChange(part.set, `state of store "${name}"`)
        : recipeChange(update);
      return { name, change };
    }));
  }

  async #commit(
    planned: readonly Planned[],
  ): Promise<readonly Written<Json | undefined>[]> {
    if (planned.length === 0) return [];
    const written = await this.#options.access.mutateTogether(planned);
    for (const [index, plan] of planned.entries()) {
      const made = written[index];
      if (made) plan.written = made;
    }
    return written;
  }

  #nameOf(
    store: StaticStore<unknown> | DynamicStore<unknown>,
    key: string | undefined,
  ): string {
    if (!(store instanceof StaticStore) && !(store instanceof DynamicStore)) {
      throw new TypeError(
        `Cannot change ${
          shown(store)
        } in a transaction: it is no store; pass what createStore() has returned`,
      );
    }
    if (store instanceof StaticStore && key !== undefined) {
      throw new TypeError(
        `Cannot change key "${key}" of store "${store.name}": it is a single store`,
      );
    }
    const name = store instanceof StaticStore
      ? store.name
      : store.nameOf(key as string); // which checks it
    if (!isDefinedBy(store, this.#options.definitions)) {
      throw new HeadwaterError(
        "store_missing",
        `Cannot change store "${name}" in a transaction: it is another server's`,
        { outcome: "notApplied" },
      );
    }
    return name;
  }
}

const PART: Readonly<Record<keyof TransactionPart<unknown>, Kind>> = {
  store: "any",
  key: "any",
  update: "function",
  set: "any",
};

/** Callers without types may have left out what is to be done, or given two things at once. */
function checkPart(part: TransactionPart<unknown>, index: number): void {
  const action = `Cannot run a transaction: change ${index + 1}`;
  checkKinds(action, part, PART, { what: "it", each: "field" });
  const isUpdate = part.update !== undefined;
  if (isUpdate !== ("set" in part && part.set !== undefined)) return;
  throw new TypeError(
    `${action} must have ${
      isUpdate ? "either update or set, not both" : "update or set"
    }`,
  );
}

function changeOf(plan: Planned): TransactionChange<unknown> {
  return {
    get written() {
      if (plan.written) return plan.written;
      throw new TypeError(
        "Nothing is written yet: the transaction has not resolved",
      );
    },
  };
}
