/**
 * The commits of one loaded store: what waits is prepared when its lane asks for
 * it, and taken into the memory when the KV has committed it.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { StoreCommit } from "../log/commit.ts";
import type { History } from "../log/compaction.ts";
import type { StoreId } from "../log/keys.ts";
import type { Lane } from "../log/lane.ts";
import { entryVersion } from "../log/log_entry.ts";
import type { Participant } from "../log/participant.ts";
import { encodePast } from "../log/past.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import type { Batch } from "./batch.ts";
import type {
  Changer,
  Guard,
  MutationSource,
  Settled,
  Written,
} from "./change.ts";
import { CommitQueue, type QueueLimits } from "./commit_queue.ts";
import { Compactor } from "./compactor.ts";
import { Doubt } from "./doubt.ts";
import type { Follower } from "./follower.ts";
import type { Fork } from "./fork.ts";
import { type HeldResult, HeldStore } from "./held_store.ts";
import type { StoreMemory } from "./store_memory.ts";
import { StoreWriter } from "./store_writer.ts";

/** What a committer needs of its surroundings. */
export interface CommitterEnvironment {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: QueueLimits & { readonly sessionMs: number };
  /** Called with what failed in the background. */
  readonly onError: (error: unknown, id: StoreId) => void;
  /** Called when this server's commit has begun or ended the life of a store. */
  readonly onLife: (
    what: "storeCreated" | "storeDeleted",
    id: StoreId,
  ) => void;
}

/** What one committer is made from. */
export interface CommitterParts {
  readonly id: StoreId;
  readonly lane: Lane;
  readonly history: History;
  readonly guard: Guard | undefined;
  readonly memory: StoreMemory;
  readonly fork: Fork;
  readonly follower: Follower;
  /** Ends the store, and with it this: {@linkcode Committer.end} is called in it. */
  readonly end: (reason: HeadwaterError) => void;
}

/** See the module's documentation. */
export class Committer implements Participant {
  readonly #id: StoreId;
  readonly #lane: Lane;
  readonly #memory: StoreMemory;
  readonly #fork: Fork;
  readonly #follower: Follower;
  readonly #end: (reason: HeadwaterError) => void;
  readonly #onLife: CommitterEnvironment["onLife"];
  readonly #sessionMs: number;
  readonly #queue: CommitQueue;
  readonly #compactor: Compactor;
  readonly #writer: StoreWriter;
  readonly #doubt: Doubt;
  #held: HeldStore | undefined;
  #batch: Batch | undefined;
  /** The KV said so while a commit was in flight, of which it is not known yet if it came before. */
  #isGone = false;
  #hasEnded = false;

  /** A committer with nothing to commit. */
  constructor(
    env: CommitterEnvironment,
    { id, lane, history, guard, memory, fork, follower, end }: CommitterParts,
  ) {
    this.#id = id;
    this.#lane = lane;
    this.#memory = memory;
    this.#fork = fork;
    this.#follower = follower;
    this.#end = end;
    this.#onLife = env.onLife;
    this.#sessionMs = env.limits.sessionMs;
    const commit = () => lane.add(this);
    const look = () => follower.check();
    this.#queue = new CommitQueue(id.name, env.limits, guard);
    this.#compactor = new Compactor(env, { id, history, commit });
    this.#writer = new StoreWriter(env, id);
    this.#doubt = new Doubt(env.clock, { look, commit });
  }

  /** Whether anything is to be committed, or under way. */
  get isBusy(): boolean {
    return this.#queue.isHeld || this.hasWork() || this.#batch !== undefined ||
      this.#compactor.isBusy || this.#doubt.isPending;
  }

  /** Whether the KV has another life of the store, or none, and only a commit in flight keeps this one. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** The store, for whoever holds it; most are never held. */
  get held(): HeldStore {
    return this.#held ??= this.#createHeld();
  }

  /** Queues a change; resolves when it is committed and every subscriber's frame is queued. */
  mutate(change: Changer, source: MutationSource): Promise<Settled> {
    const written = this.#queue.push(change, source);
    this.#lane.add(this);
    return written;
  }

  /** Queues the deletion of the store. */
  delete(source: MutationSource): Promise<Written> {
    const deleted = this.#queue.pushDeletion(source);
    this.#lane.add(this);
    return deleted;
  }

  /** Another server wrote to the store, or says that it finds no turn. */
  heard(isStarving: boolean): void {
    if (!this.#hasEnded) this.#lane.heard(this, isStarving);
  }

  /** The state was replaced: a compaction of the old one is void. */
  replaced(): void {
    this.#compactor.abandon();
  }

  /** The KV has no such life of the store any more. */
  gone(): void {
    // A commit in flight may have come before: its writes must not be made again.
    if (this.#batch) this.#isGone = true;
    else this.#end(deletedError(this.#id));
  }

  /** The store has ended: rejects what waits, and commits nothing more. */
  end(reason: HeadwaterError): void {
    this.#doubt.close();
    this.#hasEnded = true;
    this.#queue.reject(reason, this.#batch?.outcomes.length ?? 0);
  }

  /** Ends what goes on in the background; what is queued is committed all the same. */
  async close(): Promise<void> {
    this.#doubt.close();
    await this.#compactor.close();
  }

  /** @inheritdoc */
  hasWork(): boolean {
    if (this.#hasEnded || this.#queue.isHeld) return false;
    return this.#queue.length > 0 || this.#fork.isPending ||
      this.#compactor.hasHeadChange || this.#doubt.isDue;
  }

  /** @inheritdoc */
  refresh(): Promise<void> {
    return this.#follower.refresh();
  }

  /** @inheritdoc */
  async prepare(maxBytes: number): Promise<StoreCommit | undefined> {
    if (this.#queue.isHeld) return undefined;
    // What was prepared before and did not fit into its atomic is run again.
    this.#batch = undefined;
    if (this.#isGone) this.#end(deletedError(this.#id));
    await this.#compactor.verify();
    const { stamp, epoch, head } = this.#memory;
    if (this.#hasEnded || stamp === undefined) return undefined;
    if (this.#fork.isPending) return await this.#prepareNewEpoch(stamp);
    if (this.#queue.grant()) return undefined;
    const base = { id: this.#id, epoch, stamp };
    const deletion = this.#queue.nextDeletion;
    if (deletion) return this.#prepareDeletion(base, deletion);
    const batch = this.#queue.run(this.#memory.toRunStart(), maxBytes);
    const change = head && this.#compactor.headChange(head);
    if (batch.mutations.length === 0) {
      this.#queue.settle(batch.outcomes);
      if (!head || (!change && !this.#doubt.isDue)) return undefined;
      return { ...base, ...change, head: { ...head, ...change?.head } };
    }
    this.#batch = batch;
    const { expiresAtMs, pastStamp, schema } = this.#memory;
    const next = await this.#writer.entry(head, batch, {
      epoch,
      expiresAtMs,
      pastStamp,
      schema,
    });
    return {
      ...base,
      ...change,
      ...next,
      head: { ...next.head, ...change?.head },
    };
  }

  /** @inheritdoc */
  committed(commit: StoreCommit, stamp: string | undefined): void {
    this.#committed(commit, stamp);
  }

  /** @inheritdoc */
  conflicted(): void {
    // A lane that breaks down says so to all of its stores, also to one that is held.
    if (!this.#queue.isHeld) this.#conflicted();
  }

  /** @inheritdoc */
  failed(commit: StoreCommit | undefined, error: HeadwaterError): void {
    if (this.#queue.isHeld) return this.#queue.reject(error, 0);
    // Not the number of mutations: some of those that ran made none.
    const tried = !commit ? 0 : commit.head ? this.#batch?.outcomes.length : 1;
    this.#batch = undefined;
    this.#compactor.abandon();
    // What was shown to clients is not what the KV has: the next load settles it.
    if (error.code === "store_unreadable" || this.#fork.isPending) {
      return this.#end(error);
    }
    this.#queue.reject(error, tried ?? 0);
    this.#beginDoubt(commit);
  }

  #createHeld(): HeldStore {
    return new HeldStore({
      id: this.#id,
      queue: this.#queue,
      memory: this.#memory,
      fork: this.#fork,
      follower: this.#follower,
      writer: this.#writer,
      commits: {
        isOver: () => this.#hasEnded || this.#isGone,
        wake: () => this.#wake(),
        begin: (batch) => this.#beginHeld(batch),
        settle: (commit, result) => this.#settleHeld(commit, result),
      },
    });
  }

  #wake(): void {
    if (this.hasWork()) this.#lane.add(this);
  }

  #committed(commit: StoreCommit, stamp: string | undefined): void {
    const batch = this.#batch;
    this.#batch = undefined;
    this.#doubt.end();
    if (!commit.head) {
      this.#onLife("storeDeleted", this.#id);
      const deletion = this.#queue.shift();
      this.#end(deletedError(this.#id));
      return deletion?.resolve({
        version: this.#memory.version,
        value: undefined,
      });
    }
    if (commit.endedEpoch !== undefined) {
      return this.#memory.begin(commit.head, stamp);
    }
    if (commit.stamp === null) this.#onLife("storeCreated", this.#id);
    const { entry } = commit;
    // It may have been read already.
    if (entry && batch && this.#memory.version < entryVersion(entry)) {
      this.#memory.advance(entry, batch);
    }
    this.#memory.take(commit.head, stamp);
    if (batch) this.#queue.settle(batch.outcomes);
    if (this.#isGone) return this.#end(deletedError(this.#id));
    this.#compactor.committed(
      commit,
      this.#memory.head!, // take() has set it
      () => this.#memory.encodeSnapshot(),
    );
  }

  /** The commit of that batch is about to be tried. */
  #beginHeld(batch: Batch): void {
    if (batch.mutations.length === 0) return;
    // Those who wait for it are told by the holder, and not by the queue.
    this.#batch = { ...batch, outcomes: [] };
  }

  /** Takes what became of a commit of whoever holds the store. */
  #settleHeld(commit: StoreCommit, result: HeldResult): void {
    if (result.ok) {
      if (!commit.isCheckOnly) this.#committed(commit, result.stamp);
      return;
    }
    if ("isInDoubt" in result && result.isInDoubt && !commit.isCheckOnly) {
      this.#beginDoubt(commit);
    }
    this.#conflicted();
  }

  #conflicted(): void {
    this.#batch = undefined;
    this.#memory.forgetStamp();
    this.#compactor.conflicted();
    if (this.#isGone) this.#end(deletedError(this.#id));
  }

  #beginDoubt(commit: StoreCommit | undefined): void {
    if (this.#memory.head && (commit || this.#doubt.isDue)) this.#doubt.begin();
  }

  async #prepareNewEpoch(
    stamp: string | null,
  ): Promise<StoreCommit | undefined> {
    const { head } = this.#memory;
    if (!head) return undefined;
    const snapshot = this.#memory.encodeSnapshot();
    const next = await this.#writer.newEpoch(head, snapshot);
    return { id: this.#id, stamp, ...next };
  }

  #prepareDeletion(
    base: Pick<StoreCommit, "id" | "epoch" | "stamp">,
    { origin, isResent }: MutationSource,
  ): StoreCommit | undefined {
    if (!this.#memory.head) {
      this.#queue.shift()?.reject(deletedError(this.#id));
      return undefined;
    }
    if (isResent && origin && this.#memory.numbers.hasLater(origin)) {
      // The call has run before and found no store here. This life is not the one to
      // delete: it may be the one that the call wrote to afterwards.
      const { version } = this.#memory;
      this.#queue.shift()?.resolve({ version, value: undefined });
      return undefined;
    }
    const past = this.#memory.toPast(origin);
    return {
      ...base,
      head: null,
      ...(past.size > 0 && {
        past: { bytes: encodePast(past), keptMs: this.#sessionMs },
      }),
    };
  }
}

function deletedError({ name }: StoreId): HeadwaterError {
  return new HeadwaterError("store_deleted", `Store "${name}" was deleted`, {
    outcome: "notApplied",
  });
}
