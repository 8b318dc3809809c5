/**
 * What the handles of stores do, for any store of a namespace.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanName } from "../../protocol/value.ts";
import type { CallScope, CallScopes } from "../call_scope.ts";
import type { StoreId } from "../log/keys.ts";
import type { Changer, MutationSource, Written } from "./commit_queue.ts";
import type { StoreRegistry } from "./registry.ts";
import type { Store } from "./store.ts";

/** How often a write begins again because its store was deleted under it. */
const ATTEMPTS = 4;

/** See the module's documentation. */
export class StoreAccess {
  readonly #registry: () => Promise<StoreRegistry>;
  readonly #opened: () => StoreRegistry | undefined;
  readonly #scopes: CallScopes;
  readonly #namespace: string;
  readonly #nameLength: number;

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
    return await (await this.#registry()).find(this.idOf(name));
  }

  /** The store, created if need be. */
  async open(name: string): Promise<Store> {
    return await (await this.#registry()).open(this.idOf(name));
  }

  /** Whether the store exists. */
  async has(name: string): Promise<boolean> {
    return await (await this.#registry()).has(this.idOf(name));
  }

  /** Commits a change; within a function it is numbered, so that it applies once. */
  async mutate(name: string, change: Changer): Promise<Written> {
    const id = this.idOf(name);
    const { scope, source } = this.#source(id);
    for (let attempt = 1;; attempt++) {
      const loaded = this.#opened()?.loaded(id);
      const store = loaded?.isInitialized ? loaded : await this.open(name);
      try {
        const written = await store.mutate(change, source);
        scope?.wrote({ id, epoch: store.epoch, version: written.version });
        return written;
      } catch (error) {
        // A store that is deleted begins another life with the next write.
        const isGone = error instanceof HeadwaterError &&
          error.code === "store_deleted" && error.outcome === "notApplied";
        if (!isGone || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Deletes the store; false where there is none. */
  async delete(name: string): Promise<boolean> {
    const id = this.idOf(name);
    const { source } = this.#source(id);
    const registry = await this.#registry();
    // Else a call that is run again would delete the next life of the store.
    if (source.origin && await registry.isDeletedBy(id, source.origin)) {
      return true;
    }
    if (!await registry.find(id)) return false;
    await registry.terminate(id);
    // Found again: the hook may have taken so long that the store was unloaded meanwhile.
    const store = await registry.find(id);
    if (!store) return false;
    try {
      await store.delete(source);
      return true;
    } catch (error) {
      // Another server was quicker: it is gone as asked, but not by this call.
      if (error instanceof HeadwaterError && error.code === "store_deleted") {
        return false;
      }
      throw error;
    }
  }

  /** Puts the store back to its definition's state; `onCreate` runs again at its next use. */
  async reset(name: string): Promise<void> {
    const id = this.idOf(name);
    // Numbered like any write, at once: a call that is run again must not reset again.
    const { scope, source } = this.#source(id);
    const registry = await this.#registry();
    if (await registry.find(id)) await registry.terminate(id);
    // A call creates it where it is missing: a number that leaves no record would shift
    // those of the writes behind it when the call is run again.
    const store = await registry.find(id) ??
      (scope && await registry.open(id));
    if (!store) return;
    const initial = registry.initialOf(id);
    const { version } = await store.mutate(() => ({
      state: initial,
      patch: [{ op: "replace", path: [], value: initial }],
      value: undefined,
      initialized: false,
    }), source);
    scope?.wrote({ id, epoch: store.epoch, version });
  }

  /** Who writes to the store now, and the number of that write. */
  #source(id: StoreId): { scope?: CallScope; source: MutationSource } {
    const scope = this.#scopes.current();
    if (!scope) return { source: {} };
    const source = { origin: scope.nextOrigin(id), author: scope.clientId };
    return { scope, source };
  }
}
