/**
 * One loaded store: its state in memory, moved forward only by what the KV has
 * committed.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { HeadwaterError, unreachable } from "../../protocol/errors.ts";
import type { Patch } from "../../protocol/patch.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import type { StoreCommit } from "../log/commit.ts";
import { encodeStoreSnapshot, type History } from "../log/compaction.ts";
import type { FeedItem } from "../log/feed_slot.ts";
import { newId } from "../log/ids.ts";
import type { StoreId } from "../log/keys.ts";
import type { Lane, Participant } from "../log/lane.ts";
import { WriteNumbers } from "../log/numbers.ts";
import { applyLogged, type ReadHead, type ReadStore } from "../log/reader.ts";
import { entryVersion, type LogEntry } from "../log/records.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import { readNews } from "./catch_up.ts";
import {
  type Batch,
  type Changer,
  CommitQueue,
  type MutationSource,
  type QueueLimits,
  type Written,
} from "./commit_queue.ts";
import { Compactor } from "./compactor.ts";
import { Doubt } from "./doubt.ts";
import { Fanout, type Position } from "./fanout.ts";
import { sizeOf } from "./size.ts";
import { type NextHead, StoreWriter } from "./store_writer.ts";

/**
 * Clients that claim to be ahead can make a store begin a new epoch so often, and
 * not more: the claim can be false.
 */
const FORK_GAP_MS = 10_000;

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
  /** Called once, when the store's life or readability has ended. */
  readonly onEnded: (store: Store) => void;
}

/** What one store is made from. */
export interface StoreParts {
  readonly id: StoreId;
  readonly number: number;
  readonly lane: Lane;
  readonly history: History;
  /** What the KV holds, or the state that a store which is not born yet begins with. */
  readonly read: ReadStore | {
    readonly state: Json;
    readonly expiresAtMs?: number;
  };
}

/** See the module's documentation. */
export class Store implements Participant {
  readonly id: StoreId;
  readonly fanout: Fanout;
  readonly #env: StoreEnvironment;
  readonly #lane: Lane;
  readonly #queue: CommitQueue;
  readonly #compactor: Compactor;
  readonly #writer: StoreWriter;
  readonly #doubt: Doubt;
  #expiresAtMs: number | undefined;
  #epoch: string;
  #state: Json;
  /** The state's encoded size is not above it. */
  #stateBound: number;
  #numbers: WriteNumbers;
  #head: NextHead | undefined;
  /** Version stamp of the head; undefined: it must be read before the next commit. */
  #stamp: string | null | undefined;
  #batch: Batch | undefined;
  /** The KV said so while a commit was in flight, of which it is not known yet if it came before. */
  #isGone = false;
  #refreshing: Promise<void> | undefined;
  /** The KV was found set back: the next commit begins a new epoch, which settles it. */
  #fork: PromiseWithResolvers<void> | undefined;
  #forkedAtMs = -Infinity;
  #ended: HeadwaterError | undefined;

  /** Takes over what was read, or begins as a store that is not in the KV yet. */
  constructor(
    env: StoreEnvironment,
    { id, number, lane, history, read }: StoreParts,
  ) {
    this.id = id;
    this.#env = env;
    this.#lane = lane;
    this.#queue = new CommitQueue(id.name, env.limits);
    this.#compactor = new Compactor(env, {
      id,
      history,
      commit: () => lane.add(this),
    });
    this.#writer = new StoreWriter(env, id);
    this.#doubt = new Doubt(env.clock, {
      look: () => this.check(),
      commit: () => lane.add(this),
    });
    this.#state = read.state;
    if ("head" in read) {
      this.#epoch = read.head.epoch;
      this.#head = read.head;
      this.#stamp = read.stamp;
      this.#numbers = read.numbers;
      this.#stateBound = boundOf(read);
      this.#expiresAtMs = read.head.expiresAtMs;
    } else {
      this.#epoch = newId(env.random);
      this.#stamp = null;
      this.#numbers = new WriteNumbers();
      this.#stateBound = sizeOf(read.state);
      this.#expiresAtMs = read.expiresAtMs;
    }
    this.fanout = this.#createFanout(number, "head" in read ? read : undefined);
  }

  /** The newest committed state that this server knows; frozen. */
  get state(): Json {
    return this.#state;
  }

  /** The life of the store that this is. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Number of mutations since the epoch began. */
  get version(): number {
    return this.#head?.version ?? 0;
  }

  /** Where the store is kept. */
  get kv(): Kv {
    return this.#env.kv;
  }

  /** Whether `onCreate` has taken effect. */
  get isInitialized(): boolean {
    return this.#head?.initialized ?? false;
  }

  /** When the store ends by itself. */
  get expiresAtMs(): number | undefined {
    return this.#expiresAtMs;
  }

  /** Why the store has ended, if it has. */
  get ended(): HeadwaterError | undefined {
    return this.#ended;
  }

  /** Whether it may be unloaded. */
  get isIdle(): boolean {
    return this.fanout.size === 0 && !this.hasWork() && !this.#batch &&
      !this.#compactor.isBusy;
  }

  /** Queues a change; resolves when it is committed and every subscriber's frame is queued. */
  mutate(change: Changer, source: MutationSource = {}): Promise<Written> {
    if (this.#ended) return Promise.reject(this.#ended);
    const written = this.#queue.push(change, source);
    this.#lane.add(this);
    return written;
  }

  /** Deletes the store, after what is queued already. */
  delete(source: MutationSource = {}): Promise<Written> {
    if (this.#ended) return Promise.reject(this.#ended);
    const deleted = this.#queue.pushDeletion(source);
    this.#lane.add(this);
    return deleted;
  }

  /** Ends what goes on in the background; what is queued is committed all the same. */
  async close(): Promise<void> {
    this.#doubt.close();
    await this.#compactor.close();
  }

  /** Begins with what was replayed: those who come back after a restart missed just that. */
  #createFanout(number: number, read: ReadStore | undefined): Fanout {
    const [first] = read?.replayed ?? [];
    const epoch = this.#epoch;
    const fanout = new Fanout({
      number,
      name: this.id.name,
      clock: this.#env.clock,
      maxWindowMs: this.#env.limits.fanoutMs,
      position: first
        ? { epoch, version: first.from, writer: first.previous }
        : this.#position(),
      state: this.#state,
    });
    for (const entry of read?.replayed ?? []) {
      const patches = entry.mutations.map(({ patch }) => ({
        patch,
        bytes: sizeOf(patch),
      }));
      const { writer } = entry;
      const position = { epoch, version: entryVersion(entry), writer };
      fanout.push(patches, { position, state: this.#state });
    }
    return fanout;
  }

  /** Takes what another server announced. */
  async receive(item: FeedItem): Promise<void> {
    if (item.isDeleted && item.epoch === this.#epoch) return this.#gone();
    const isKnown = item.epoch === this.#epoch;
    const { entry } = item;
    if (isKnown && item.version <= this.version) {
      const writer = this.fanout.writerOf(item.version);
      if (!entry || !writer || writer === entry.writer) return;
      // That version is known with another past: the KV was set back.
      await this.check();
    } else if (isKnown && entry && !this.#fork && this.#follows(entry)) {
      this.#stamp = undefined;
      try {
        this.advance(entry);
      } catch {
        // Whether the log is corrupt, too, is seen in the log.
        await this.check();
      }
    } else {
      await this.check();
    }
  }

  /** Reads the head, and what was committed before this was called. */
  async check(): Promise<void> {
    // A read that is under way may have passed the head already.
    await this.#refreshing?.catch(() => {});
    if (this.#ended) return;
    this.#stamp = undefined;
    await this.refresh();
    await this.#fork?.promise;
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
    const now = this.#env.clock.monotonic();
    if (now - this.#forkedAtMs < FORK_GAP_MS) {
      const message =
        `Cannot resume store "${this.id.name}" from version ${version}: it is at ${this.version}`;
      throw new HeadwaterError("unavailable", message);
    }
    this.#forkedAtMs = now;
    this.#beginFork();
    await this.#fork?.promise;
    if (this.#ended) throw this.#ended;
  }

  /** The single way by which a store moves forward: a committed entry on top of its version. */
  advance(
    entry: LogEntry,
    result?: { state: Json; sizes: readonly number[] },
  ): void {
    const { id } = this;
    const { from, mutations, writer, timeMs } = entry;
    let state = this.#state;
    let initialized = this.isInitialized;
    const patches: { patch: Patch; bytes: number }[] = [];
    for (const [index, mutation] of mutations.entries()) {
      const { patch } = mutation;
      if (!result) state = applyLogged(state, patch, { id, freeze: true });
      const bytes = result?.sizes[index] ?? sizeOf(patch);
      patches.push({ patch, bytes });
      this.#stateBound += bytes;
      this.#numbers.add(mutation, from + index + 1);
      initialized = mutation.initialized ?? initialized;
    }
    this.#state = result?.state ?? state;
    const version = entryVersion(entry);
    // The first entry of an epoch has no head before it; committed() sets it whole.
    if (this.#head) {
      this.#head = { ...this.#head, version, writer, timeMs, initialized };
    }
    // Subscribers are past this version, of an epoch that ends: they need a snapshot.
    if (this.#fork) return;
    this.fanout.push(patches, {
      position: { epoch: this.#epoch, version, writer },
      state: this.#state,
    });
  }

  // --- Participant: called by the lane, one at a time -----------------------

  /** @inheritdoc */
  hasWork(): boolean {
    if (this.#ended) return false;
    return this.#queue.length > 0 || this.#fork !== undefined ||
      this.#compactor.hasHeadChange || this.#doubt.isDue;
  }

  /** @inheritdoc */
  async refresh(): Promise<void> {
    if (this.#stamp !== undefined || this.#ended) return;
    // Feed, poll and lane may ask at once: one read serves them all.
    this.#refreshing ??= this.#catchUp().finally(() =>
      this.#refreshing = undefined
    );
    await this.#refreshing;
  }

  /** @inheritdoc */
  async prepare(maxBytes: number): Promise<StoreCommit | undefined> {
    // What was prepared before and did not fit into its atomic is run again.
    this.#batch = undefined;
    if (this.#isGone) this.#end(deletedError(this.id));
    await this.#compactor.verify();
    if (this.#ended || this.#stamp === undefined) return undefined;
    if (this.#fork) return await this.#prepareNewEpoch(this.#stamp);
    const base = { id: this.id, epoch: this.#epoch, stamp: this.#stamp };
    const deletion = this.#queue.nextDeletion;
    if (deletion) return this.#prepareDeletion(base, deletion);
    const batch = this.#queue.run(
      {
        state: this.#state,
        stateBound: this.#stateBound,
        version: this.version,
        initialized: this.isInitialized,
      },
      this.#numbers,
      maxBytes,
    );
    const change = this.#head && this.#compactor.headChange(this.#head);
    if (batch.mutations.length === 0) {
      this.#queue.settle(batch.outcomes);
      if (!this.#head || (!change && !this.#doubt.isDue)) return undefined;
      return { ...base, ...change, head: { ...this.#head, ...change?.head } };
    }
    this.#batch = batch;
    const next = await this.#writer.entry(this.#head, batch, {
      epoch: this.#epoch,
      expiresAtMs: this.#expiresAtMs,
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
    const batch = this.#batch;
    this.#batch = undefined;
    this.#doubt.end();
    if (!commit.head) {
      const deletion = this.#queue.shift();
      this.#end(deletedError(this.id));
      return deletion?.resolve({ version: this.version, value: undefined });
    }
    if (commit.endedEpoch !== undefined) {
      return this.#begin(commit.head.epoch, commit.head, stamp);
    }
    const { entry } = commit;
    // Another server's commit on top of this one may have been read already.
    const isNewest = this.version <= commit.head.version;
    if (entry && batch && this.version < entryVersion(entry)) {
      this.advance(entry, batch);
      this.#stateBound = batch.stateBound;
    }
    if (isNewest) {
      this.#head = commit.head;
      this.#stamp = stamp;
    } else {
      this.#stamp = undefined;
    }
    if (batch) this.#queue.settle(batch.outcomes);
    if (this.#isGone) return this.#end(deletedError(this.id));
    this.#compactor.committed(
      commit,
      this.#head!,
      () => this.#encodeSnapshot(),
    ); // set above
  }

  /** @inheritdoc */
  conflicted(): void {
    this.#batch = undefined;
    this.#stamp = undefined;
    this.#compactor.conflicted();
    if (this.#isGone) this.#end(deletedError(this.id));
  }

  /** @inheritdoc */
  failed(commit: StoreCommit | undefined, error: HeadwaterError): void {
    // Not the number of mutations: some of those that ran made none.
    const tried = !commit ? 0 : commit.head ? this.#batch?.outcomes.length : 1;
    this.#batch = undefined;
    this.#compactor.abandon();
    // What was shown to clients is not what the KV has: the next load settles it.
    if (error.code === "store_unreadable" || this.#fork) {
      return this.#end(error);
    }
    this.#queue.reject(error, tried ?? 0);
    if (this.#head && (commit || this.#doubt.isDue)) this.#doubt.begin();
  }

  // --- reading what others committed ----------------------------------------

  async #catchUp(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      const isCorrupt = error instanceof HeadwaterError &&
        error.code === "store_unreadable";
      // Subscribers have to know that nothing will come any more.
      if (isCorrupt) this.#end(error);
      throw error;
    }
  }

  async #look(): Promise<void> {
    const news = await readNews(
      this.#env.kv,
      this.id,
      this.#head && this.#position(),
    );
    if (this.#ended) return;
    switch (news.kind) {
      case "absent":
        if (this.#head) this.#gone();
        else this.#stamp = null;
        return;
      case "replaced":
        return this.#gone();
      case "entries":
        return this.#follow(news.read, news.entries);
      case "jump":
        if (this.#isPast(news.store)) return;
        this.#adopt(news.store);
        return this.#jump();
      case "fork":
        this.#adopt(news.store);
        this.#beginFork();
        return this.#env.onError(setBackError(this.id, this.version), this.id);
      default:
        return unreachable(news);
    }
  }

  #follow(read: ReadHead, entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      // The feed may have been quicker while this was read.
      if (this.#follows(entry)) this.advance(entry);
    }
    if (read.head.version !== this.version) return;
    this.#head = read.head;
    this.#stamp = read.stamp;
  }

  #follows(entry: LogEntry): boolean {
    return entry.from === this.version &&
      entry.previous === (this.#head?.writer ?? "");
  }

  #adopt(read: ReadStore): void {
    this.#epoch = read.head.epoch;
    this.#head = read.head;
    this.#stamp = read.stamp;
    this.#state = freezeDeep(read.state);
    this.#stateBound = boundOf(read);
    this.#expiresAtMs = read.head.expiresAtMs;
    this.#numbers = read.numbers;
    this.#compactor.abandon();
  }

  #beginFork(): void {
    this.#fork ??= Promise.withResolvers();
    this.#lane.add(this);
  }

  /** Shows subscribers a state that no patch leads to. */
  #jump(): void {
    this.fanout.jump(this.#position(), this.#state);
    this.#fork?.resolve();
    this.#fork = undefined;
  }

  async #prepareNewEpoch(
    stamp: string | null,
  ): Promise<StoreCommit | undefined> {
    if (!this.#head) return undefined;
    const next = await this.#writer.newEpoch(
      this.#head,
      this.#encodeSnapshot(),
    );
    return { id: this.id, stamp, ...next };
  }

  #begin(epoch: string, head: NextHead, stamp: string | undefined): void {
    this.#epoch = epoch;
    this.#head = head;
    this.#stamp = stamp;
    this.#jump();
  }

  #encodeSnapshot() {
    this.#numbers.prune(this.#env.clock.now() - this.#env.limits.sessionMs);
    // Until a fork is settled, subscribers have the state of the past that was lost.
    const state = this.#fork
      ? encodeJson(this.#state)
      : this.fanout.stateBytes();
    return encodeStoreSnapshot(state, this.#numbers);
  }

  #prepareDeletion(
    base: Pick<StoreCommit, "id" | "epoch" | "stamp">,
    { origin }: MutationSource,
  ): StoreCommit | undefined {
    if (!this.#head) {
      this.#queue.shift()?.reject(deletedError(this.id));
      return undefined;
    }
    const keptMs = this.#env.limits.sessionMs;
    return {
      ...base,
      head: null,
      ...(origin && { deletion: { origin, keptMs } }),
    };
  }

  #position(): Position {
    return {
      epoch: this.#epoch,
      version: this.version,
      writer: this.#head?.writer ?? "",
    };
  }

  /** Whether the feed was quicker than this read. */
  #isPast({ head }: ReadStore): boolean {
    return !this.#fork && head.epoch === this.#epoch &&
      head.version < this.version;
  }

  /** The KV has no such life of the store any more. */
  #gone(): void {
    // A commit in flight may have come before: its writes must not be made again.
    if (this.#batch) this.#isGone = true;
    else this.#end(deletedError(this.id));
  }

  #end(reason: HeadwaterError): void {
    if (this.#ended) return;
    this.#doubt.close();
    this.#ended = reason;
    this.#queue.reject(reason, this.#batch?.outcomes.length ?? 0);
    this.fanout.end(reason.code === "store_deleted" ? "deleted" : reason);
    this.#fork?.resolve();
    this.#fork = undefined;
    this.#env.onEnded(this);
  }
}

/** No state is larger than its snapshot and everything that was added since. */
function boundOf({ head, replayed }: ReadStore): number {
  let bytes = head.snapshot?.stateBytes ?? 0;
  for (const { mutations } of replayed) {
    for (const { patch } of mutations) bytes += sizeOf(patch);
  }
  return bytes;
}

function deletedError({ name }: StoreId): HeadwaterError {
  return new HeadwaterError("store_deleted", `Store "${name}" was deleted`, {
    outcome: "notApplied",
  });
}

function setBackError({ name }: StoreId, version: number): HeadwaterError {
  const message =
    `Store "${name}" was set back to version ${version}: it goes on in a new epoch`;
  return new HeadwaterError("store_unreadable", message);
}
