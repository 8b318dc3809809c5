/**
 * What the handles of stores do, for any store of a namespace.
 *
 * @module
 */
import {
  type ErrorCode,
  HeadwaterError,
  LimitError,
} from "../../protocol/errors.ts";
import { cleanName } from "../../protocol/value.ts";
import type { CallScope, CallScopes } from "../call_scope.ts";
import type { StoreId } from "../log/keys.ts";
import {
  type Changer,
  type MutationSource,
  repeat,
  type Settled,
  type Written,
} from "./commit_queue.ts";
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
    try {
      // Asked first: opening the store could begin another life of it.
      const known = await this.#madeBefore(id, source);
      if (known) return known;
      return await this.#mutate(id, change, { scope, source });
    } catch (error) {
      throw source.isResent ? inDoubt(error) : error;
    }
  }

  /** Deletes the store; false where there is none. */
  async delete(name: string): Promise<boolean> {
    const id = this.idOf(name);
    const { source } = this.#source(id);
    const registry = await this.#registry();
    const found = await registry.find(id);
    // Asked when the store is found: else a call that is run again, or twice at once,
    // would delete the next life of the store.
    if (await this.#madeBefore(id, source)) return true;
    if (!found) return false;
    await registry.terminate(id);
    // Found again: the hook may have taken so long that the store was unloaded meanwhile.
    const store = await registry.find(id);
    if (store?.epoch !== found.epoch) {
      return await this.#madeBefore(id, source) !== undefined;
    }
    try {
      await store.delete(source);
      // It lives on where the call has run before, and there was none for it to delete.
      return store.ended !== undefined;
    } catch (error) {
      // Another server was quicker: it is gone as asked, but not by this call.
      if (error instanceof HeadwaterError && error.code === "store_deleted") {
        return await this.#madeBefore(id, source) !== undefined;
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
    if (await this.#madeBefore(id, source)) return;
    if (await registry.find(id)) await registry.terminate(id);
    // A call creates it where it is missing: a number that leaves no record would shift
    // those of the writes behind it when the call is run again.
    const store = await registry.find(id) ??
      (scope && await registry.open(id));
    if (!store) return;
    const initial = registry.initialOf(id);
    const written = await store.mutate(() => ({
      state: initial,
      patch: [{ op: "replace", path: [], value: initial }],
      value: undefined,
      initialized: false,
    }), source);
    noteWritten(scope, store, written);
  }

  async #mutate(
    id: StoreId,
    change: Changer,
    { scope, source }: {
      scope: CallScope | undefined;
      source: MutationSource;
    },
  ): Promise<Written> {
    for (let attempt = 1;; attempt++) {
      const loaded = this.#opened()?.loaded(id);
      const store = loaded?.isInitialized ? loaded : await this.open(id.name);
      try {
        const written = await store.mutate(change, source);
        noteWritten(scope, store, written);
        return { version: written.version, value: written.value };
      } catch (error) {
        // A store that is deleted begins another life with the next write.
        const isGone = error instanceof HeadwaterError &&
          error.code === "store_deleted" && error.outcome === "notApplied";
        if (!isGone || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** What a write gave that was made to a life of the store which has ended. */
  async #madeBefore(
    id: StoreId,
    { origin, isResent }: MutationSource,
  ): Promise<Written | undefined> {
    if (!isResent || !origin) return undefined;
    const recorded = await (await this.#registry()).findPast(id, origin);
    if (!recorded) return undefined;
    const known = repeat(recorded);
    if ("error" in known) throw known.error;
    this.#scopes.current()?.wrotePast(id);
    return { version: known.written.version, value: known.written.value };
  }

  /** Who writes to the store now, and the number of that write. */
  #source(id: StoreId): { scope?: CallScope; source: MutationSource } {
    const scope = this.#scopes.current();
    if (!scope) return { source: {} };
    const { clientId: author, isResent } = scope;
    return {
      scope,
      source: { origin: scope.nextOrigin(id), author, isResent },
    };
  }
}

/** The caller's subscriptions have to show it before there is an answer. */
function noteWritten(
  scope: CallScope | undefined,
  { id, epoch }: Store,
  { version, isPast }: Settled,
): void {
  if (isPast) scope?.wrotePast(id);
  else scope?.wrote({ id, epoch, version });
}

/** Errors of a write that was not made now, whatever became of it before. */
export const NOT_NOW: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "unavailable",
  "closed",
  "store_deleted",
  "store_unreadable",
]);

/** A write of a call that is run again may have been made the first time, though not now. */
function inDoubt(error: unknown): unknown {
  if (!(error instanceof HeadwaterError)) return error;
  const { code, message, path, data, outcome } = error;
  const isRecorded = !NOT_NOW.has(code) && !(error instanceof LimitError);
  if (outcome !== "notApplied" || isRecorded) return error;
  const options = { path, data, cause: error, outcome: "unknown" } as const;
  return new HeadwaterError(code, message, options);
}
