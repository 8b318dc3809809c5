/**
 * The stores of a server: which there are, which are loaded, and how they get
 * into memory and out of it again.
 *
 * @module
 */
import type { CallScopes } from "../call_scope.ts";
import type { AtomicWriter } from "../log/atomic_writer.ts";
import type { FeedItem } from "../log/feed_slot.ts";
import { newId } from "../log/ids.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Lane, LaneFigures } from "../log/lane.ts";
import type { Recorded } from "../log/numbers.ts";
import { readPast } from "../log/past.ts";
import { listHeads, readHead } from "../log/reader.ts";
import type { Origin } from "../log/mutation.ts";
import { Claims } from "./claims.ts";
import type { StoreDefinition } from "./definition.ts";
import type { Definitions } from "./definitions.ts";
import { Endings } from "./endings.ts";
import { Expiries } from "./expiries.ts";
import { IdleSweep } from "./idle_sweep.ts";
import { Interest } from "./interest.ts";
import { JointCommits } from "./joint_commit.ts";
import type { JointPart, JointWritten } from "./joint_part.ts";
import type { OpenStore } from "./joint_seats.ts";
import { type Creation, refuseFailure, StoreOpener } from "./opener.ts";
import { type Created, Openings } from "./openings.ts";
import { Rendezvous } from "./rendezvous.ts";
import type { StateObject } from "./state.ts";
import {
  isUnreadable,
  removedError,
  removeUnreadable,
  unreadableError,
} from "./removal.ts";
import type { Store, StoreEnvironment } from "./store.ts";
import { WriterPool } from "./writer_pool.ts";

/** A lease must last until it can be renewed. */
const LEASE_MIN_MS = 40;

/** What a registry needs beside what its stores share. */
export interface RegistryOptions {
  readonly env: Omit<StoreEnvironment, "onEnded" | "onSubscribers">;
  readonly lanes: readonly Lane[];
  /** They commit what concerns several stores. */
  readonly jointWriters: readonly AtomicWriter[];
  /** How long a commit is tried. */
  readonly commitMs: number;
  readonly definitions: Definitions;
  /** How long a store without subscribers stays loaded. */
  readonly idleMs: number;
  /** How long a server may be silent before others take over what it had to do. */
  readonly leaseMs: number;
  /** Hooks run outside of the call, if any, that made them necessary. */
  readonly scopes: CallScopes;
}

/** See the module's documentation. */
export class StoreRegistry {
  readonly #options: RegistryOptions;
  readonly #env: StoreEnvironment;
  readonly #stores = new Map<string, Store>();
  readonly #claims: Claims;
  readonly #endings: Endings;
  readonly #expiries: Expiries;
  readonly #idleSweep: IdleSweep;
  readonly #interest: Interest;
  readonly #openings: Openings;
  readonly #rendezvous: Rendezvous;
  readonly #joint: JointCommits;
  readonly #writers: WriterPool;

  /** An empty registry. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    const { lanes, definitions, idleMs, scopes } = options;
    const leaseMs = Math.max(LEASE_MIN_MS, options.leaseMs);
    const rendezvous = this.#rendezvous = new Rendezvous({
      clock: options.env.clock,
      limitMs: options.commitMs,
      find: (id) => this.loaded(id),
    });
    const env = this.#env = {
      ...options.env,
      rendezvous,
      onEnded: (store) => this.#drop(store),
      onSubscribers: (store, departed) =>
        this.#interest.changed(store, departed),
    };
    const { kv, clock, random, onError } = env;
    const find = (id: StoreId) => this.find(id);
    const claims = this.#claims = new Claims({ kv, clock, random, leaseMs });
    const endings = { kv, definitions, scopes, claims, onError };
    this.#endings = new Endings(endings);
    this.#expiries = new Expiries({
      kv,
      clock,
      endings: this.#endings,
      find,
      onError,
    });
    const expiries = this.#expiries;
    const { nameLength } = env.limits;
    this.#openings = new Openings({
      definitions,
      opener: new StoreOpener({ env, lanes, scopes, expiries }),
      nameLength,
      clock,
      loaded: (id) => this.loaded(id),
      hold: (store) => this.#hold(store),
      join: (store) =>
        rendezvous.join(store.id, store.takeLoadedTransactions()),
    });
    const writers = this.#writers = new WriterPool({
      clock,
      writers: options.jointWriters,
      commitMs: options.commitMs,
    });
    this.#joint = new JointCommits({
      clock,
      random,
      writers,
      commitMs: options.commitMs,
      recipeValueBytes: env.limits.recipeValueBytes,
      loaded: (id) => this.loaded(id),
      find,
      findPast: (id, origin) => this.findPast(id, origin),
    });
    this.#idleSweep = new IdleSweep({
      clock,
      idleMs,
      stores: this.#stores,
      unload: (store) => this.#drop(store),
    });
    this.#interest = new Interest({
      kv,
      clock,
      random,
      leaseMs,
      definitions,
      scopes,
      onError,
      destroy: (id, epoch) => this.#destroy(id, epoch),
    });
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
    const store = await this.#openings.get(id, true);
    if (store) return store;
    throw this.#options.definitions.missingError(id.name);
  }

  /** The store, loaded if it exists; undefined if it does not. */
  async find(id: StoreId): Promise<Store | undefined> {
    return await this.#openings.get(id, false);
  }

  /** Whether the store exists. */
  async has(id: StoreId): Promise<boolean> {
    try {
      const read = await readHead(this.#env.kv, id);
      return read !== undefined &&
        !this.#expiries.isExpired(read.head.expiresAtMs);
    } catch (error) {
      // There is something of that name, as whoever reads or creates it is told.
      if (isUnreadable(error)) return true;
      throw error;
    }
  }

  /** What became of a write to a life of the store that has ended; undefined where there was none. */
  async findPast(id: StoreId, origin: Origin): Promise<Recorded | undefined> {
    const past = await refuseFailure(id, readPast(this.#env.kv, id));
    return past.numbers.find(origin, true);
  }

  /**
   * Names of the stores that exist, in order; of one definition where it is given. Those
   * that cannot be read are among them, and reported.
   */
  async list(
    namespace: string,
    definition?: StoreDefinition,
  ): Promise<string[]> {
    const { definitions } = this.#options;
    const { kv, onError } = this.#env;
    const names: string[] = [];
    const add = (name: string): boolean => {
      // Another definition may cover a longer prefix.
      if (definition && definitions.find(name) !== definition) return false;
      names.push(name);
      return true;
    };
    const heads = listHeads(kv, namespace, {
      prefix: definition?.prefix,
      unreadable: (name, error) => {
        const id = { namespace, name };
        if (add(name)) onError(unreadableError(id, error), id);
      },
    });
    for await (const { name, head } of heads) {
      if (!this.#expiries.isExpired(head.expiresAtMs)) add(name);
    }
    return names;
  }

  /**
   * Creates the store; undefined where it exists, though perhaps only since a
   * moment ago: what was settled says whether it was this that created it.
   */
  async create(id: StoreId, creation: Creation): Promise<Created | undefined> {
    return await this.#openings.create(id, this.#definitionOf(id), creation);
  }

  /**
   * Runs the store's `onTerminate`, if it has one, and then what ends its life;
   * undefined where that has ended otherwise.
   */
  async end<T>(
    store: Store,
    act: (store: Store) => Promise<T>,
  ): Promise<T | undefined> {
    const find = () => this.find(store.id);
    return await this.#endings.end(store, act, { find, isAsked: true });
  }

  /**
   * Removes a store that could not be read, and reports it; false where it is gone, or not
   * to be removed, as it can be read here after all or by a newer server.
   */
  async remove(id: StoreId, origin?: Origin): Promise<boolean> {
    const { kv, clock, limits, onError, onLife } = this.#env;
    const { commitMs } = this.#options;
    const writers = this.#writers;
    const { sessionMs } = limits;
    const isRemoved = await refuseFailure(
      id,
      removeUnreadable({ kv, clock, writers, commitMs, sessionMs }, {
        id,
        schema: this.#definitionOf(id).version,
        origin,
      }),
    );
    if (!isRemoved) return false;
    onError(removedError(id), id);
    onLife("storeDeleted", id);
    return true;
  }

  /** Makes all these changes in one commit, or none of them; gives what each has made. */
  async commitTogether(
    parts: readonly JointPart[],
    open: OpenStore = (id) => this.open(id),
  ): Promise<JointWritten[]> {
    return await this.#joint.commit(parts, open);
  }

  /** Takes over, from now on, what servers that died had to do. */
  start(): void {
    this.#interest.start();
  }

  /** Clients that leave from now on may come back to another server. */
  beginClose(): void {
    this.#interest.beginClose();
  }

  /** Ends what has expired and is in nobody's memory. */
  async sweepExpired(): Promise<void> {
    await this.#expiries.sweep();
  }

  /** A key that no store has. */
  newKey(): string {
    return newId(this.#env.random);
  }

  /** The state that the store begins its life with, before `onCreate`. */
  initialOf(id: StoreId): StateObject {
    return this.#definitionOf(id).initial;
  }

  /** Hands what another server announced to the store, if it is here. */
  async receive(item: FeedItem): Promise<void> {
    const key = storeKey(item);
    this.#openings.touch(key);
    await this.#stores.get(key)?.receive(item);
  }

  /** Checks every loaded store against the KV. */
  async checkAll(): Promise<void> {
    this.#openings.touchAll();
    const failures: unknown[] = [];
    for (const store of [...this.#stores.values()]) {
      // One that cannot be read must not keep the others behind.
      await store.check().catch((error) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Waits for what is queued, and lets go of everything. */
  async close(): Promise<void> {
    this.#claims.close();
    this.#expiries.close();
    this.#idleSweep.close();
    await this.#interest.close();
    await this.#openings.close();
    await this.#joint.idle();
    // A compaction that ends later would ask for a commit when the KV is closed.
    await Promise.all([...this.#stores.values()].map((store) => store.close()));
    await Promise.all(this.#options.lanes.map((lane) => lane.idle()));
    this.#rendezvous.close();
    this.#stores.clear();
  }

  #hold(store: Store): void {
    this.#stores.set(storeKey(store.id), store);
    this.#idleSweep.start();
    this.#expiries.watch(store);
  }

  #drop(store: Store): void {
    const key = storeKey(store.id);
    // Another load of the store may have taken its place.
    if (this.#stores.get(key) !== store) return;
    this.#stores.delete(key);
    this.#idleSweep.forget(key);
    this.#expiries.unwatch(store);
    this.#rendezvous.moved();
  }

  /** Ends that life of the store, because nobody is left who wants it. */
  async #destroy(id: StoreId, epoch: string): Promise<void> {
    const store = await this.find(id);
    if (store?.epoch !== epoch) return;
    const find = () => this.find(id);
    const options = { find, isAsked: false };
    await this.#endings.end(store, (store) => store.delete(), options);
  }

  #definitionOf(id: StoreId): StoreDefinition {
    const definition = this.#options.definitions.find(id.name);
    if (definition) return definition;
    throw this.#options.definitions.missingError(id.name);
  }
}
