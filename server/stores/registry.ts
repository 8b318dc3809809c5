/**
 * The stores of a server: what is defined, what is loaded, and how a name
 * becomes a loaded store, once, whoever asks at the same time.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanName, freezeDeep } from "../../protocol/value.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Lane, LaneFigures } from "../log/lane.ts";
import {
  listHeads,
  readHead,
  type ReadStore,
  readStore,
} from "../log/reader.ts";
import type { FeedItem } from "../log/feed_slot.ts";
import type { Recorded } from "../log/numbers.ts";
import { type Past, readPast } from "../log/past.ts";
import type { Origin } from "../log/records.ts";
import type { Timer } from "../ports.ts";
import {
  type Definitions,
  type StateObject,
  type StoreDefinition,
  toState,
} from "./definition.ts";
import { initialization } from "./initialization.ts";
import { Store, type StoreEnvironment } from "./store.ts";

/** An end that could not be committed is tried again after so long. */
const EXPIRE_AGAIN_MS = 1_000;

/** What a registry needs beside what its stores share. */
export interface RegistryOptions {
  readonly env: Omit<StoreEnvironment, "onEnded">;
  readonly lanes: readonly Lane[];
  readonly definitions: Definitions;
  /** How long a store without subscribers stays loaded. */
  readonly idleMs: number;
  /** Runs a hook outside of the call, if any, that made it necessary. */
  readonly runHook: <T>(run: () => T) => T;
}

interface Opening {
  readonly creates: boolean;
  readonly store: Promise<Store | undefined>;
  /** The feed spoke of the store while it was being read. */
  isTouched: boolean;
}

/** See the module's documentation. */
export class StoreRegistry {
  readonly #options: RegistryOptions;
  readonly #env: StoreEnvironment;
  readonly #stores = new Map<string, Store>();
  readonly #opening = new Map<string, Opening>();
  readonly #idleSince = new Map<string, { ms: number; version: number }>();
  readonly #expiries = new Map<string, Timer>();
  #nextNumber = 1;
  #sweep: Timer | undefined;
  #isClosed = false;

  /** An empty registry. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#env = { ...options.env, onEnded: (store) => this.#drop(store) };
  }

  /** How many stores are loaded. */
  get size(): number {
    return this.#stores.size;
  }

  /** Figures of all lanes together. */
  get figures(): LaneFigures {
    const sum = { commits: 0, mutations: 0, conflicts: 0, retries: 0 };
    for (const { figures } of this.#options.lanes) {
      for (const key of Object.keys(sum) as (keyof LaneFigures)[]) {
        sum[key] += figures[key];
      }
    }
    return sum;
  }

  /** The store, if it is loaded. */
  loaded(id: StoreId): Store | undefined {
    return this.#stores.get(storeKey(id));
  }

  /** The store, loaded, created and initialised if need be. */
  async open(id: StoreId): Promise<Store> {
    const store = await this.#get(id, true);
    if (store) return store;
    throw new HeadwaterError(
      "store_missing",
      `No store is defined for the name "${id.name}"`,
    );
  }

  /** The store, loaded if it exists; undefined if it does not. */
  async find(id: StoreId): Promise<Store | undefined> {
    return await this.#get(id, false);
  }

  /** Whether the store exists. */
  async has(id: StoreId): Promise<boolean> {
    const read = await readHead(this.#env.kv, id);
    return read !== undefined && !this.#isExpired(read.head.expiresAtMs);
  }

  /** What became of a write to a life of the store that has ended; undefined where there was none. */
  async findPast(id: StoreId, origin: Origin): Promise<Recorded | undefined> {
    return (await readPast(this.#env.kv, id)).numbers.find(origin, true);
  }

  /** Names of the stores that exist. */
  async list(namespace: string): Promise<string[]> {
    const names: string[] = [];
    for await (const { name, head } of listHeads(this.#env.kv, namespace)) {
      if (!this.#isExpired(head.expiresAtMs)) names.push(name);
    }
    return names;
  }

  /** Runs the store's `onTerminate`, if it has one. */
  async terminate(id: StoreId): Promise<void> {
    const definition = this.#options.definitions.find(id.name);
    const hook = definition?.onTerminate;
    if (hook) {
      await this.#options.runHook(() =>
        hook(definition.keyOf(id.name) ?? null)
      );
    }
  }

  /** The state that the store begins its life with, before `onCreate`. */
  initialOf(id: StoreId): StateObject {
    return this.#definitionOf(id).initial;
  }

  /** Hands what another server announced to the store, if it is here. */
  async receive(item: FeedItem): Promise<void> {
    const key = storeKey(item);
    const opening = this.#opening.get(key);
    if (opening) opening.isTouched = true;
    await this.#stores.get(key)?.receive(item);
  }

  /** Checks every loaded store against the KV. */
  async checkAll(): Promise<void> {
    for (const opening of this.#opening.values()) opening.isTouched = true;
    const failures: unknown[] = [];
    for (const store of [...this.#stores.values()]) {
      // One that cannot be read must not keep the others behind.
      await store.check().catch((error) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Waits for what is queued, and lets go of everything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(
      [...this.#opening.values()].map(({ store }) => store),
    );
    // Not before: a store that was being opened has set its timers with that.
    this.#sweep?.cancel();
    for (const timer of this.#expiries.values()) timer.cancel();
    // A compaction that ends later would ask for a commit when the KV is closed.
    await Promise.all([...this.#stores.values()].map((store) => store.close()));
    await Promise.all(this.#options.lanes.map((lane) => lane.idle()));
    this.#stores.clear();
    this.#expiries.clear();
  }

  async #get(id: StoreId, creates: boolean): Promise<Store | undefined> {
    const key = storeKey(id);
    for (;;) {
      if (this.#isClosed) throw closedError();
      const store = this.#stores.get(key);
      if (store && (!creates || store.isInitialized)) return store;
      const current = this.#opening.get(key);
      if (current) {
        if (current.creates || !creates) return await current.store;
        await current.store.catch(() => undefined);
        continue;
      }
      const definition = this.#options.definitions.find(id.name);
      if (!definition) return undefined;
      const opening: Opening = {
        creates,
        isTouched: false,
        store: Promise.resolve().then(() =>
          this.#open(id, { definition, creates, store })
        )
          .finally(() => this.#opening.delete(key)),
      };
      this.#opening.set(key, opening);
      return await opening.store;
    }
  }

  async #open(
    id: StoreId,
    { definition, creates, store }: {
      definition: StoreDefinition;
      creates: boolean;
      store: Store | undefined;
    },
  ): Promise<Store | undefined> {
    cleanName(id.name, "store", this.#env.limits.nameLength);
    store ??= await this.#load(id, definition);
    if (!store && creates) {
      const { initial: state, ttlMs } = definition;
      const expiresAtMs = ttlMs === undefined
        ? undefined
        // A head with a fraction in it could not be read again.
        : Math.ceil(this.#env.clock.now() + ttlMs);
      const past = await this.#readPast(id);
      const read = {
        state,
        past,
        ...(expiresAtMs !== undefined && { expiresAtMs }),
      };
      store = this.#make(id, definition, read);
    }
    if (!store) return undefined;
    if (creates && !store.isInitialized) {
      try {
        await this.#initialize(store, definition);
      } catch (error) {
        if (this.loaded(id) !== store) await store.close();
        throw error;
      }
    }
    if (store.ended) throw store.ended;
    this.#hold(store);
    // From here on the feed finds it; what it said before has to be made good.
    if (this.#opening.get(storeKey(id))?.isTouched) await store.checkOrEnd();
    if (store.ended) throw store.ended;
    return store;
  }

  async #load(
    id: StoreId,
    definition: StoreDefinition,
  ): Promise<Store | undefined> {
    for (;;) {
      const read = await this.#read(id);
      if (!read) return undefined;
      const state = freezeDeep(read.state);
      const store = this.#make(id, definition, { ...read, state });
      if (!this.#isExpired(read.head.expiresAtMs)) return store;
      // Until this commit it lives. Another server may be quicker, and begin the next life.
      await store.delete().catch(async (error) => {
        if (store.ended?.code === "store_deleted") return;
        // Nobody holds it: what it would still settle would outlive the server.
        await store.close();
        throw error;
      });
    }
  }

  #read(id: StoreId): Promise<ReadStore | undefined> {
    return refuseFailure(id, readStore(this.#env.kv, id));
  }

  #readPast(id: StoreId): Promise<Past> {
    return refuseFailure(id, readPast(this.#env.kv, id));
  }

  #make(
    id: StoreId,
    definition: StoreDefinition,
    read: ConstructorParameters<typeof Store>[1]["read"],
  ): Store {
    const { lanes } = this.#options;
    const lane = lanes[hash(storeKey(id)) % lanes.length]!; // at least one
    return new Store(this.#env, {
      id,
      number: this.#nextNumber++,
      lane,
      history: definition.history,
      read,
    });
  }

  /** Runs `onCreate`; it takes effect only if no other server's has. */
  async #initialize(store: Store, definition: StoreDefinition): Promise<void> {
    const { name } = store.id;
    const hook = definition.onCreate;
    const returned = hook &&
      await this.#options.runHook(() => hook(definition.keyOf(name) ?? null));
    const overrides = toState(
      returned ?? {},
      `what onCreate of store "${name}" returned`,
    );
    await store.mutate(initialization(overrides));
  }

  #hold(store: Store): void {
    const key = storeKey(store.id);
    this.#stores.set(key, store);
    this.#sweep ??= this.#scheduleSweep();
    const { expiresAtMs } = store;
    if (expiresAtMs === undefined || this.#expiries.has(key)) return;
    const { clock } = this.#env;
    const waitMs = Math.min(
      2 ** 31 - 1,
      Math.max(0, expiresAtMs - clock.now()),
    );
    this.#expiries.set(key, clock.setTimer(waitMs, () => this.#expire(store)));
  }

  #expire(store: Store): void {
    this.#expiries.delete(storeKey(store.id));
    if (!this.#isExpired(store.expiresAtMs)) return this.#hold(store);
    store.delete().catch((error) => {
      if (store.ended || this.#isClosed) return;
      this.#env.onError(error, store.id);
      const later = this.#env.clock.setTimer(
        EXPIRE_AGAIN_MS,
        () => this.#expire(store),
      );
      this.#expiries.set(storeKey(store.id), later);
    });
  }

  #drop(store: Store): void {
    const key = storeKey(store.id);
    // Another load of the store may have taken its place.
    if (this.#stores.get(key) !== store) return;
    this.#stores.delete(key);
    this.#idleSince.delete(key);
    this.#expiries.get(key)?.cancel();
    this.#expiries.delete(key);
  }

  /** Unloads what nobody has used for a while. */
  #scheduleSweep(): Timer {
    const { clock } = this.#env;
    return clock.setTimer(this.#options.idleMs / 2, () => {
      const now = clock.monotonic();
      for (const [key, store] of this.#stores) {
        const since = this.#idleSince.get(key);
        if (!store.isIdle || since?.version !== store.version) {
          this.#idleSince.set(key, { ms: now, version: store.version });
        } else if (now - since.ms >= this.#options.idleMs) {
          this.#drop(store);
        }
      }
      this.#sweep = this.#stores.size > 0 ? this.#scheduleSweep() : undefined;
    });
  }

  #definitionOf(id: StoreId): StoreDefinition {
    const definition = this.#options.definitions.find(id.name);
    if (definition) return definition;
    throw new HeadwaterError(
      "store_missing",
      `No store is defined for the name "${id.name}"`,
    );
  }

  #isExpired(expiresAtMs: number | undefined): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#env.clock.now();
  }
}

/** Whoever writes to a store is told that it could not be read, and that nothing was written. */
async function refuseFailure<T>(id: StoreId, read: Promise<T>): Promise<T> {
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

function closedError(): HeadwaterError {
  return new HeadwaterError("closed", "The server is closed", {
    outcome: "notApplied",
  });
}

/** FNV-1a: spreads stores over lanes, the same on every server. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
