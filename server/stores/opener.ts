/**
 * How a store gets into memory: it is loaded, or its life begins.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { freezeDeep } from "../../protocol/value.ts";
import type { CallScopes } from "../call_scope.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Lane } from "../log/lane.ts";
import { readStore } from "../log/reader.ts";
import { readPast } from "../log/past.ts";
import type { MutationSource, Settled } from "./change.ts";
import type { StoreDefinition } from "./definition.ts";
import type { Expiries } from "./expiries.ts";
import { runWaited } from "./hooks.ts";
import { creation as creationOf, initialization } from "./initialization.ts";
import { migrate } from "./migration.ts";
import { type StateObject, toState } from "./state.ts";
import { Store, type StoreEnvironment } from "./store.ts";

/** A store that is asked for under the condition that there is none. */
export interface Creation {
  /** Merged into the state with which the life begins. */
  readonly initial: StateObject;
  /** Instead of the definition's. */
  readonly ttlMs: number | undefined;
  readonly source: MutationSource;
}

/** What an opener needs beside what its stores share. */
export interface OpenerOptions {
  readonly env: StoreEnvironment;
  readonly lanes: readonly Lane[];
  readonly scopes: CallScopes;
  readonly expiries: Expiries;
}

/** See the module's documentation. */
export class StoreOpener {
  readonly #options: OpenerOptions;
  #nextNumber = 1;

  /** An opener that has opened nothing. */
  constructor(options: OpenerOptions) {
    this.#options = options;
  }

  /** Loads a store that exists. One that has expired is ended first. */
  async load(
    id: StoreId,
    definition: StoreDefinition,
  ): Promise<Store | undefined> {
    const { env, expiries } = this.#options;
    for (;;) {
      const read = await refuseFailure(id, readStore(env.kv, id));
      if (!read) return undefined;
      const state = freezeDeep(read.state);
      const store = this.#make(id, definition, { ...read, state });
      if (!expiries.isExpired(read.head.expiresAtMs)) {
        if (await migrate(store, definition)) return store;
        continue;
      }
      // Until this commit it lives. Another server may be quicker, and begin the next life.
      await expiries.end(store).catch(async (error) => {
        if (store.ended?.code === "store_deleted") return;
        // Nobody holds it: what it would still settle would outlive the server.
        await store.close();
        throw error;
      });
    }
  }

  /** A store that is not in the KV before its first commit. */
  async create(
    id: StoreId,
    definition: StoreDefinition,
    { ttlMs = definition.ttlMs }: Partial<Creation> = {},
  ): Promise<Store> {
    const { env } = this.#options;
    const expiresAtMs = ttlMs === undefined || ttlMs === Infinity
      ? undefined
      // A head with a fraction in it could not be read again.
      : Math.ceil(env.clock.now() + ttlMs);
    const past = await refuseFailure(id, readPast(env.kv, id));
    return this.#make(id, definition, {
      state: definition.initial,
      schema: definition.version,
      past,
      ...(expiresAtMs !== undefined && { expiresAtMs }),
    });
  }

  /** Runs `onCreate`; it takes effect only if no other server's has. */
  async initialize(
    store: Store,
    definition: StoreDefinition,
    { creation, unlessClosed }: {
      readonly creation: Creation | undefined;
      /** Waits for the hook, as long as anybody can. */
      readonly unlessClosed: <T>(hook: Promise<T>) => Promise<T>;
    },
  ): Promise<Settled> {
    const { name } = store.id;
    const hook = definition.onCreate;
    const key = definition.keyOf(name) ?? null;
    const place = { hook: "onCreate", store } as const;
    const returned = hook && await unlessClosed(
      runWaited(this.#options.scopes, place, () => hook(key)),
    );
    const overrides = toState(
      returned ?? {},
      `what onCreate of store "${name}" returned`,
    );
    if (!creation) return await store.mutate(initialization(overrides));
    const { initial, source } = creation;
    const first = { ...overrides, ...initial };
    return await store.mutate(creationOf(first), source);
  }

  #make(
    id: StoreId,
    definition: StoreDefinition,
    read: ConstructorParameters<typeof Store>[1]["read"],
  ): Store {
    const { env, lanes } = this.#options;
    const lane = lanes[hash(storeKey(id)) % lanes.length]!; // at least one
    return new Store(env, {
      id,
      number: this.#nextNumber++,
      lane,
      history: definition.history,
      schema: definition.version,
      guard: definition.guardOf(id.name),
      view: definition.view,
      read,
    });
  }
}

/** Whoever writes to a store is told that it could not be read, and that nothing was written. */
export async function refuseFailure<T>(
  id: StoreId,
  read: Promise<T>,
): Promise<T> {
  try {
    return await read;
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot read store "${id.name}": the KV failed: ${reason}`;
    const outcome = "notApplied";
    throw new HeadwaterError("unavailable", message, { cause, outcome });
  }
}

/** FNV-1a: spreads stores over lanes, the same on every server. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
