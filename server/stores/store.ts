/**
 * One loaded store: its life, and what others may ask of it. What it knows is in
 * its memory, which the committer and the follower move forward.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import type { History } from "../log/compaction.ts";
import type { FeedItem } from "../log/feed_slot.ts";
import type { StoreId } from "../log/keys.ts";
import type { Lane } from "../log/lane.ts";
import type { TogetherRef } from "../log/log_entry.ts";
import type { ReadStore } from "../log/reader.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import type {
  Changer,
  Guard,
  MutationSource,
  Settled,
  Written,
} from "./change.ts";
import type { Hold, QueueLimits } from "./commit_queue.ts";
import { Committer } from "./committer.ts";
import type { Fanout } from "./fanout.ts";
import { Follower } from "./follower.ts";
import { Fork } from "./fork.ts";
import type { HeldStore } from "./held_store.ts";
import type { Rendezvous } from "./rendezvous.ts";
import { type FirstState, StoreMemory } from "./store_memory.ts";
import { type ViewRules, Views } from "./views.ts";

/** What every store of a server shares. */
export interface StoreEnvironment {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: QueueLimits & {
    readonly fanoutMs: number;
    readonly nameLength: number;
    readonly sessionMs: number;
  };
  /** Called with what failed in the background. */
  readonly onError: (error: unknown, id: StoreId) => void;
  /** Called when this server's commit has begun or ended the life of a store. */
  readonly onLife: (
    what: "storeCreated" | "storeDeleted",
    id: StoreId,
  ) => void;
  /** Called when a store has other subscribers, with how many of them have left. */
  readonly onSubscribers?: (store: Store, departed: number) => void;
  /** Where a store waits for the others of a transaction. */
  readonly rendezvous?: Rendezvous;
  /** Called once, when the store's life or readability has ended. */
  readonly onEnded: (store: Store) => void;
}

/** What one store is made from. */
export interface StoreParts {
  readonly id: StoreId;
  readonly number: number;
  readonly lane: Lane;
  readonly history: History;
  /** Number of the shape that the definition gives to states. */
  readonly schema: number;
  /** What looks at every change before it counts. */
  readonly guard?: Guard | undefined;
  /** What subscribers see, where that is not the state. */
  readonly view?: ViewRules | undefined;
  /** What the KV holds, or the state that a store which is not born yet begins with. */
  readonly read: ReadStore | FirstState;
}

/** See the module's documentation. */
export class Store {
  readonly id: StoreId;
  /** What its subscribers see, where that is not the state. */
  readonly views: Views | undefined;
  readonly #env: StoreEnvironment;
  readonly #fork: Fork;
  readonly #memory: StoreMemory;
  readonly #follower: Follower;
  readonly #committer: Committer;
  #ended: HeadwaterError | undefined;
  /** Transactions whose effects were loaded with it. */
  #loaded: readonly (readonly TogetherRef[])[];

  /** Takes over what was read, or begins as a store that is not in the KV yet. */
  constructor(
    env: StoreEnvironment,
    { id, number, lane, history, schema, guard, view, read }: StoreParts,
  ) {
    this.id = id;
    this.#env = env;
    const replayed = "head" in read ? read.replayed : [];
    this.#loaded = replayed.flatMap(({ together }) =>
      together ? [together] : []
    );
    const fork = this.#fork = new Fork(
      env.clock,
      () => lane.add(this.#committer),
    );
    const memory = this.#memory = new StoreMemory(env, {
      id,
      number,
      read,
      fork,
      watch: (departed) => env.onSubscribers?.(this, departed),
    });
    this.views = view && new Views({
      store: memory.fanout,
      rules: view,
      clock: env.clock,
      random: env.random,
      onError: (error) => env.onError(error, id),
      watch: (departed) => env.onSubscribers?.(this, departed),
    });
    memory.fanout.relay = this.views;
    const end = (reason: HeadwaterError) => this.#end(reason);
    const follower = this.#follower = new Follower(env, {
      id,
      memory,
      fork,
      schema,
      replaced: () => this.#committer.replaced(),
      gone: () => this.#committer.gone(),
      unreadable: end,
    });
    this.#committer = new Committer(env, {
      id,
      lane,
      history,
      guard,
      memory,
      fork,
      follower,
      end,
    });
  }

  /** The newest committed state that this server knows; frozen. */
  get state(): Json {
    return this.#memory.state;
  }

  /** The life of the store that this is. */
  get epoch(): string {
    return this.#memory.epoch;
  }

  /** Whether it is that life, or goes on with it in an epoch that had to be begun. */
  isLife(epoch: string): boolean {
    return epoch === this.epoch || epoch === this.#memory.head?.mintedFrom;
  }

  /** Number of mutations since the epoch began. */
  get version(): number {
    return this.#memory.version;
  }

  /** Its subscribers. */
  get fanout(): Fanout {
    return this.#memory.fanout;
  }

  /** Where the store is kept. */
  get kv(): Kv {
    return this.#env.kv;
  }

  /** Whether `onCreate` has taken effect. */
  get isInitialized(): boolean {
    return this.#memory.isInitialized;
  }

  /** Which shape the state has. */
  get schema(): number {
    return this.#memory.schema;
  }

  /** When the store ends by itself. */
  get expiresAtMs(): number | undefined {
    return this.#memory.expiresAtMs;
  }

  /** Calls of a session, from its `oldest` on, whose writes are in a version. */
  callsOf(
    session: { readonly id: string; readonly oldest: number },
    version: number,
  ): readonly number[] {
    return this.#memory.numbers.callsOf(session, version);
  }

  /** Why the store has ended, if it has. */
  get ended(): HeadwaterError | undefined {
    return this.#ended;
  }

  /** Whether its life is over, though what is in flight has still to be settled. */
  get isGone(): boolean {
    return this.#committer.isGone;
  }

  /** Whether it may be unloaded. */
  get isIdle(): boolean {
    return this.fanout.size === 0 && !this.#committer.isBusy;
  }

  /** Queues a change; resolves when it is committed and every subscriber's frame is queued. */
  mutate(change: Changer, source: MutationSource = {}): Promise<Settled> {
    if (this.#ended) return Promise.reject(this.#ended);
    return this.#committer.mutate(change, source);
  }

  /** Deletes the store, after what is queued already. */
  delete(source: MutationSource = {}): Promise<Written> {
    if (this.#ended) return Promise.reject(this.#ended);
    return this.#committer.delete(source);
  }

  /** Waits for what is queued; then nobody but the holder commits, until it lets go. */
  hold(): Hold {
    if (this.#ended) throw this.#ended;
    return this.held.hold();
  }

  /** For whoever holds it. */
  get held(): HeldStore {
    return this.#committer.held;
  }

  /** Transactions whose effects were loaded with it; told once. */
  takeLoadedTransactions(): readonly (readonly TogetherRef[])[] {
    const loaded = this.#loaded;
    this.#loaded = [];
    return loaded;
  }

  /** Ends what goes on in the background; what is queued is committed all the same. */
  close(): Promise<void> {
    return this.#committer.close();
  }

  /** Takes what another server announced. */
  receive(item: FeedItem): Promise<void> {
    this.#committer.heard(this.#follower.isAsking(item));
    return this.#follower.receive(item);
  }

  /** Reads the head, and what was committed before this was called. */
  check(): Promise<void> {
    return this.#follower.check();
  }

  /** The same; where the KV fails the store ends, since it may be out of date and nobody would notice. */
  async checkOrEnd(): Promise<void> {
    try {
      await this.check();
    } catch (cause) {
      const message = `Cannot read store "${this.id.name}": the KV failed`;
      const outcome = "notApplied";
      this.#end(new HeadwaterError("unavailable", message, { cause, outcome }));
    }
  }

  /**
   * Begins a new epoch, since a client has seen a version of this one that the KV
   * does not hold: nobody may be shown an older version of the same epoch.
   */
  async refute(version: number): Promise<void> {
    if (!this.#fork.beginClaimed()) {
      const message =
        `Cannot resume store "${this.id.name}" from version ${version}: it is at ${this.version}`;
      throw new HeadwaterError("unavailable", message);
    }
    await this.#fork.settled;
    if (this.#ended) throw this.#ended;
  }

  #end(reason: HeadwaterError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#follower.close();
    this.#committer.end(reason);
    this.fanout.end(reason.code === "store_deleted" ? "deleted" : reason);
    this.#fork.settle();
    this.#env.onEnded(this);
  }
}
