/**
 * What the handles of stores do, for any store of a namespace.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanName } from "../../protocol/value.ts";
import type { CallScope, CallScopes } from "../call_scope.ts";
import type { StoreId } from "../log/keys.ts";
import type { Changer, MutationSource, Settled, Written } from "./change.ts";
import type { StoreDefinition } from "./definition.ts";
import { hookOf, inHookError } from "./hooks.ts";
import { noteWritten, NumberedWrites } from "./numbered_writes.ts";
import type { Creation } from "./opener.ts";
import type { StoreRegistry } from "./registry.ts";
import { isUnreadable } from "./removal.ts";
import { refuseFailure } from "./opener.ts";
import type { Store } from "./store.ts";
import type { Writer } from "./writer.ts";

/** How often a write begins again because its store was deleted under it. */
const ATTEMPTS = 4;

/** See the module's documentation. */
export class StoreAccess {
  readonly #registry: () => Promise<StoreRegistry>;
  readonly #opened: () => StoreRegistry | undefined;
  readonly #scopes: CallScopes;
  readonly #namespace: string;
  readonly #nameLength: number;
  readonly #writes: NumberedWrites;

  /** Access to the stores of one namespace. */
  constructor(
    { registry, opened, scopes, namespace, nameLength }: {
      registry: () => Promise<StoreRegistry>;
      opened: () => StoreRegistry | undefined;
      scopes: CallScopes;
      namespace: string;
      nameLength: number;
    },
  ) {
    this.#registry = registry;
    this.#opened = opened;
    this.#scopes = scopes;
    this.#namespace = namespace;
    this.#nameLength = nameLength;
    this.#writes = new NumberedWrites({ registry, scopes });
  }

  /** Begins what a handle was asked for; see {@linkcode CallScopes.begin}. */
  begin<T>(run: () => Promise<T>): Promise<T> {
    return this.#scopes.begin(run);
  }

  /** The id of a full name. */
  idOf(name: string): StoreId {
    return {
      namespace: this.#namespace,
      name: cleanName(name, "store", this.#nameLength),
    };
  }

  /** The store in memory, if it is there. */
  loaded(name: string): Store | undefined {
    return this.#opened()?.loaded(this.idOf(name));
  }

  /** The store, loaded if it exists. */
  async find(name: string): Promise<Store | undefined> {
    const id = this.idOf(name);
    const registry = await this.#registry();
    const hook = hookOf(this.#scopes, id);
    if (!hook) return await registry.find(id);
    // Others wait for the end of the hook: it would wait for itself.
    const store = registry.loaded(id) ?? hook.store;
    return store.version > 0 ? store : undefined;
  }

  /** The store, created if need be. */
  async open(name: string): Promise<Store> {
    const id = this.idOf(name);
    const registry = await this.#registry();
    const hook = hookOf(this.#scopes, id);
    if (!hook) return await registry.open(id);
    if (hook.hook === "onCreate") throw inHookError("write to", hook);
    return registry.loaded(id) ?? hook.store;
  }

  /**
   * The store in that life of it, for whoever means that and no other: nothing is
   * created, unless somebody deletes it at this very moment.
   *
   * @throws {HeadwaterError} `store_deleted` if that life is over.
   */
  async openLife(id: StoreId, life: string): Promise<Store> {
    const registry = await this.#registry();
    let store = await registry.find(id);
    if (store && !store.isLife(life)) {
      // Another server may have begun a life that this one has not heard of.
      await refuseFailure(id, store.check());
      // What is written to one that is about to end is refused, and tried again.
      if (store.isGone) return store;
      if (store.ended) store = await registry.find(id);
    }
    if (!store?.isLife(life)) {
      const message =
        `Cannot write to store "${id.name}": it was deleted; subscribe again`;
      throw new HeadwaterError("store_deleted", message, {
        outcome: "notApplied",
      });
    }
    return store.isInitialized ? store : await registry.open(id);
  }

  /** Whether the store exists. */
  async has(name: string): Promise<boolean> {
    return await (await this.#registry()).has(this.idOf(name));
  }

  /**
   * Commits a change; within a function it is numbered, so that it applies once.
   * `writer`: on whose behalf, where it is not that of the function's caller.
   */
  async mutate(
    name: string,
    change: Changer,
    writer?: Writer,
  ): Promise<Written> {
    const id = this.idOf(name);
    const { scope, source } = this.#writes.source(id);
    const { version, value } = await this.write(id, change, {
      scope,
      source: writer ? { ...source, writer } : source,
    });
    return { version, value };
  }

  /**
   * Commits a change of that source, in that `life` of the store where one is given;
   * `queued` is called once its place among the writes is sure.
   */
  async write(
    id: StoreId,
    change: Changer,
    options: {
      scope?: CallScope | undefined;
      source: MutationSource;
      life?: string | undefined;
      queued?: (() => void) | undefined;
    },
  ): Promise<Settled & { readonly epoch?: string }> {
    return await this.#writes.once(
      id,
      options.source,
      () => this.#mutate(id, () => change, options),
    );
  }

  /**
   * Commits a change of a store that exists, which takes reading to make: `prepare`
   * is called for each life of the store that it is tried on. Undefined where there
   * is no such store.
   */
  async amend(
    name: string,
    prepare: (store: Store) => Promise<Changer>,
  ): Promise<Written | undefined> {
    const id = this.idOf(name);
    // Numbered at once, as what else the call writes meanwhile must not take its number.
    const { scope, source } = this.#writes.source(id);
    return await this.#writes.once(id, source, async () => {
      // As in reset(): a call creates it where it is missing.
      if (!scope && !await this.find(id.name)) return undefined;
      return await this.#mutate(id, prepare, { scope, source });
    });
  }

  /**
   * Commits changes of several stores together, all or none; within a function they
   * are numbered, so that they apply once.
   */
  async mutateTogether(
    changes: readonly {
      readonly name: string;
      readonly change: Changer;
      readonly writer?: Writer | undefined;
    }[],
  ): Promise<Written[]> {
    // Numbered at once, as what else the call writes meanwhile must not take their numbers.
    const parts = changes.map(({ name, change, writer }) => {
      const id = this.idOf(name);
      const { scope, source } = this.#writes.source(id);
      return {
        id,
        change,
        scope,
        source: writer ? { ...source, writer } : source,
      };
    });
    try {
      const registry = await this.#registry();
      const written = await registry.commitTogether(
        parts,
        (id) => this.open(id.name),
      );
      return written.map((settled, index) => {
        noteWritten(parts[index]?.scope, settled, settled);
        return { version: settled.version, value: settled.value };
      });
    } catch (error) {
      throw this.#writes.notMade(error);
    }
  }

  /** Deletes the store, also one that cannot be read; false where there is none. */
  async delete(name: string): Promise<boolean> {
    const id = this.idOf(name);
    this.#refuseInHook("delete", id);
    const { source } = this.#writes.source(id);
    const registry = await this.#registry();
    try {
      return await this.#delete(registry, id, source);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      // A call that is run again, or twice at once, may have removed it before.
      if (await this.#writes.madeBefore(id, source)) return true;
      if (await registry.remove(id, source.origin)) return true;
      throw error;
    }
  }

  async #delete(
    registry: StoreRegistry,
    id: StoreId,
    source: MutationSource,
  ): Promise<boolean> {
    const found = await registry.find(id);
    // Asked when the store is found: else a call that is run again, or twice at once,
    // would delete the next life of the store.
    if (await this.#writes.madeBefore(id, source)) return true;
    if (!found) return false;
    const isDeleted = await registry.end(found, async (store) => {
      try {
        await store.delete(source);
        // It lives on where the call has run before, and there was none for it to delete.
        return store.ended !== undefined;
      } catch (error) {
        // Another server was quicker: it is gone as asked, but not by this call.
        if (error instanceof HeadwaterError && error.code === "store_deleted") {
          return undefined;
        }
        throw error;
      }
    });
    return isDeleted ?? await this.#writes.madeBefore(id, source) !== undefined;
  }

  /**
   * Begins the life of a store that does not exist; false where it does. What
   * `initial` has stands above what the definition and its `onCreate` say.
   */
  async create(
    name: string,
    { initial, ttlMs }: Omit<Creation, "source">,
  ): Promise<boolean> {
    const id = this.idOf(name);
    this.#refuseInHook("create", id);
    const { scope, source } = this.#writes.source(id);
    const registry = await this.#registry();
    const created = await this.#writes.once(id, source, async () => {
      for (;;) {
        const made = await registry.create(id, { initial, ttlMs, source });
        if (made) {
          noteWritten(scope, made.store, made.settled);
          return made.settled;
        }
        if (!scope) return undefined;
        // A call that is run again has to be told the same, whatever there is by then.
        const store = await registry.find(id);
        if (!store) continue;
        const settled = await store.mutate(nothing, source);
        noteWritten(scope, store, settled);
        return settled;
      }
    });
    return created?.value === true;
  }

  /** Full names of the stores of a definition that exist, in order. */
  async list(definition: StoreDefinition): Promise<string[]> {
    return await (await this.#registry()).list(this.#namespace, definition);
  }

  /** A key that no store has; in a call the same in each run of it. */
  async newKey(): Promise<string> {
    const id = this.#scopes.current()?.newId;
    return id ? id() : (await this.#registry()).newKey();
  }

  /** Puts the store back to its definition's state; `onCreate` runs again at its next use. */
  async reset(name: string): Promise<void> {
    const id = this.idOf(name);
    this.#refuseInHook("reset", id);
    // Numbered like any write, at once: a call that is run again must not reset again.
    const { scope, source } = this.#writes.source(id);
    const registry = await this.#registry();
    if (await this.#writes.madeBefore(id, source)) return;
    const initial = registry.initialOf(id);
    const reset: Changer = () => ({
      state: initial,
      patch: [{ op: "replace", path: [], value: initial }],
      value: undefined,
      initialized: false,
    });
    const end = async (store: Store) => {
      noteWritten(scope, store, await store.mutate(reset, source));
      return true;
    };
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const found = await registry.find(id);
      if (!found) break;
      if (await registry.end(found, end)) return;
    }
    // A call creates it where it is missing: a number that leaves no record would shift
    // those of the writes behind it when the call is run again.
    if (scope) await end(await registry.open(id));
  }

  #refuseInHook(action: string, id: StoreId): void {
    const hook = hookOf(this.#scopes, id);
    if (hook) throw inHookError(action, hook);
  }

  async #mutate(
    id: StoreId,
    toChange: (store: Store) => Changer | Promise<Changer>,
    { scope, source, life, queued }: {
      scope?: CallScope | undefined;
      source: MutationSource;
      life?: string | undefined;
      queued?: (() => void) | undefined;
    },
  ): Promise<Settled & { readonly epoch: string }> {
    for (let attempt = 1;; attempt++) {
      const loaded = this.#opened()?.loaded(id);
      const isHere = loaded?.isInitialized &&
        (life === undefined || loaded.isLife(life));
      const store = isHere
        ? loaded
        : life === undefined
        ? await this.open(id.name)
        : await this.openLife(id, life);
      try {
        const made = toChange(store);
        const change = made instanceof Promise ? await made : made;
        const settled = store.mutate(change, source);
        queued?.();
        const written = await settled;
        noteWritten(scope, store, written);
        return { ...written, epoch: store.epoch };
      } catch (error) {
        // A store that is deleted begins another life with the next write.
        const isGone = error instanceof HeadwaterError &&
          error.code === "store_deleted" && error.outcome === "notApplied";
        if (!isGone || attempt === ATTEMPTS) throw error;
      }
    }
  }
}

/** Leaves a store as it is, and says so. */
const nothing: Changer = (state) => ({ state, patch: [], value: false });
