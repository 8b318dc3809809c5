/**
 * What a server keeps in memory of one loaded store: the state and what belongs
 * to it, moved forward only by what the KV has committed, and shown to the
 * subscribers as it moves.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import {
  type EncodedSnapshot,
  encodeStoreSnapshot,
} from "../log/compaction.ts";
import { newId } from "../log/ids.ts";
import type { StoreId } from "../log/keys.ts";
import type { WriteNumbers } from "../log/numbers.ts";
import type { Past } from "../log/past.ts";
import { applyLogged, type ReadHead, type ReadStore } from "../log/reader.ts";
import { entryVersion, type LogEntry } from "../log/log_entry.ts";
import type { Origin } from "../log/mutation.ts";
import type { Clock, Random } from "../ports.ts";
import type { Batch, RunStart } from "./batch.ts";
import { Fanout } from "./fanout.ts";
import type { Position, SentChange } from "./recent_patches.ts";
import type { Fork } from "./fork.ts";
import type { Rendezvous } from "./rendezvous.ts";
import { sizeOf } from "./size.ts";
import type { NextHead } from "./store_writer.ts";

/** What a memory needs of its surroundings. */
export interface MemoryEnvironment {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: { readonly fanoutMs: number; readonly sessionMs: number };
  /** Where it waits for the other stores of a transaction. */
  readonly rendezvous?: Rendezvous;
}

/** A state that the KV does not hold yet, with which a store is born. */
export interface FirstState {
  readonly state: Json;
  /** What is remembered of the lives before. */
  readonly past: Past;
  readonly expiresAtMs?: number;
  /** Which shape it has. */
  readonly schema: number;
}

/** What one memory is made from. */
export interface MemoryParts {
  readonly id: StoreId;
  /** Stands for the store in frames. */
  readonly number: number;
  readonly read: ReadStore | FirstState;
  /** While it is pending, subscribers are shown nothing. */
  readonly fork: Fork;
  /** Called when it has other subscribers, with how many of them have left. */
  readonly watch: (departed: number) => void;
}

/** See the module's documentation. */
export class StoreMemory {
  readonly fanout: Fanout;
  readonly #env: MemoryEnvironment;
  readonly #id: StoreId;
  readonly #fork: Fork;
  #expiresAtMs: number | undefined;
  /** Shape of the state with which the store is born. */
  readonly #firstSchema: number;
  #epoch: string;
  #state: Json;
  #stateBound: number;
  #numbers: WriteNumbers;
  #head: NextHead | undefined;
  #stamp: string | null | undefined;
  #pastStamp: string | null = null;

  /** Takes over what was read, or begins as a store that is not in the KV yet. */
  constructor(
    env: MemoryEnvironment,
    { id, number, read, fork, watch }: MemoryParts,
  ) {
    this.#env = env;
    this.#id = id;
    this.#fork = fork;
    this.#state = read.state;
    this.#firstSchema = "head" in read ? 1 : read.schema;
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
      this.#numbers = read.past.numbers;
      this.#pastStamp = read.past.stamp;
      this.#stateBound = sizeOf(read.state);
      this.#expiresAtMs = read.expiresAtMs;
    }
    this.fanout = this.#createFanout(
      number,
      "head" in read ? read.replayed : [],
      watch,
    );
  }

  /** The newest committed state that this server knows; frozen. */
  get state(): Json {
    return this.#state;
  }

  /** The state's encoded size is not above it. */
  get stateBound(): number {
    return this.#stateBound;
  }

  /** The life of the store that this is. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Number of mutations since the epoch began. */
  get version(): number {
    return this.#head?.version ?? 0;
  }

  /** What a run of the queue begins with. */
  toRunStart(): RunStart {
    return {
      state: this.#state,
      stateBound: this.#stateBound,
      epoch: this.#epoch,
      version: this.version,
      initialized: this.isInitialized,
      schema: this.schema,
      numbers: this.#numbers,
      since: (version) => this.fanout.frames.since(version),
    };
  }

  /** Where the store is. */
  get position(): Position {
    return {
      epoch: this.#epoch,
      version: this.version,
      writer: this.#head?.writer ?? "",
    };
  }

  /** Whether `onCreate` has taken effect. */
  get isInitialized(): boolean {
    return this.#head?.initialized ?? false;
  }

  /** Version stamp of what is remembered of the lives before; checked by the commit that begins this. */
  get pastStamp(): string | null {
    return this.#pastStamp;
  }

  /** Which shape the state has. */
  get schema(): number {
    return this.#head ? this.#head.schema ?? 1 : this.#firstSchema;
  }

  /** When the store ends by itself. */
  get expiresAtMs(): number | undefined {
    return this.#expiresAtMs;
  }

  /** The numbered writes that took effect. */
  get numbers(): WriteNumbers {
    return this.#numbers;
  }

  /** The newest head that this server knows; undefined where the KV has none yet. */
  get head(): NextHead | undefined {
    return this.#head;
  }

  /** Version stamp of the head; undefined: it must be read before the next commit. */
  get stamp(): string | null | undefined {
    return this.#stamp;
  }

  /** Whether `entry` leads on from here. */
  isNext(entry: LogEntry): boolean {
    return entry.from === this.version &&
      entry.previous === (this.#head?.writer ?? "");
  }

  /** The single way by which a store moves forward: a committed entry on top of its version. */
  advance(
    entry: LogEntry,
    result?: Pick<Batch, "state" | "stateBound" | "sizes">,
  ): void {
    const { from, mutations, writer, timeMs } = entry;
    let state = this.#state;
    let initialized = this.isInitialized;
    const changes: SentChange[] = [];
    for (const [index, mutation] of mutations.entries()) {
      const { patch, origin, isOpaque } = mutation;
      if (!result) {
        state = applyLogged(state, patch, { id: this.#id, freeze: true });
      }
      const bytes = result?.sizes[index] ?? sizeOf(patch);
      changes.push({ patch, bytes, origin, isOpaque });
      this.#stateBound += bytes;
      this.#numbers.add(mutation, from + index + 1);
      initialized = mutation.initialized ?? initialized;
    }
    this.#state = result?.state ?? state;
    if (result) this.#stateBound = result.stateBound;
    const version = entryVersion(entry);
    // The first entry of an epoch has no head before it; take() sets it whole.
    if (this.#head) {
      this.#head = { ...this.#head, version, writer, timeMs, initialized };
    }
    // Subscribers are past this version, of an epoch that ends: they need a snapshot.
    if (this.#fork.isPending) return;
    const { rendezvous } = this.#env;
    const { together } = entry;
    if (together) rendezvous?.arrive(this.#id, this.fanout, together);
    this.fanout.push(changes, {
      position: { epoch: this.#epoch, version, writer },
      state: this.#state,
    });
    rendezvous?.moved();
  }

  /** Takes the head that an own commit made, after the entry that it may have had. */
  take(head: NextHead, stamp: string | undefined): void {
    // Another server's commit on top of this one may have been read already.
    if (this.version <= head.version) {
      this.#head = head;
      this.#stamp = stamp;
    } else {
      this.#stamp = undefined;
    }
  }

  /** Takes the head to which the entries that were read have led. */
  arrive({ head, stamp }: ReadHead): void {
    if (head.version !== this.version) return;
    this.#head = head;
    this.#stamp = stamp;
  }

  /** Lets the head be read before the next commit. */
  forgetStamp(): void {
    this.#stamp = undefined;
  }

  /** Takes it that the KV has no such store at the moment, but this past. */
  takeAbsence({ numbers, stamp }: Past): void {
    this.#stamp = null;
    this.#numbers = numbers;
    this.#pastStamp = stamp;
  }

  /** What the next life has to remember, where `deletion` ends this one. */
  toPast(deletion: Origin | undefined): WriteNumbers {
    this.#pruneNumbers();
    return this.#numbers.toPast(deletion, this.version);
  }

  /** Takes a state that no patch leads to; subscribers are not shown it yet. */
  adopt(read: ReadStore): void {
    this.#epoch = read.head.epoch;
    this.#head = read.head;
    this.#stamp = read.stamp;
    this.#state = freezeDeep(read.state);
    this.#stateBound = boundOf(read);
    this.#expiresAtMs = read.head.expiresAtMs;
    this.#numbers = read.numbers;
  }

  /** Goes on in the epoch that was committed. */
  begin(head: NextHead, stamp: string | undefined): void {
    this.#epoch = head.epoch;
    this.#head = head;
    this.#stamp = stamp;
    this.jump();
  }

  /** Shows subscribers a state that no patch leads to. */
  jump(): void {
    this.fanout.jump(this.position, this.#state);
    this.#fork.settle();
    this.#env.rendezvous?.moved();
  }

  /** The snapshot of this version, as it is kept in the KV. */
  encodeSnapshot(): EncodedSnapshot {
    this.#pruneNumbers();
    // Until a fork is settled, subscribers have the state of the past that was lost.
    const state = this.#fork.isPending
      ? encodeJson(this.#state)
      : this.fanout.frames.stateBytes();
    return encodeStoreSnapshot(state, this.#numbers);
  }

  #pruneNumbers(): void {
    const { clock, limits } = this.#env;
    this.#numbers.prune(clock.now() - limits.sessionMs);
  }

  /** Begins with what was replayed: those who come back after a restart missed just that. */
  #createFanout(
    number: number,
    replayed: readonly LogEntry[],
    watch: (departed: number) => void,
  ): Fanout {
    const [first] = replayed;
    const epoch = this.#epoch;
    const fanout = new Fanout({
      number,
      name: this.#id.name,
      clock: this.#env.clock,
      maxWindowMs: this.#env.limits.fanoutMs,
      position: first
        ? { epoch, version: first.from, writer: first.previous }
        : this.position,
      state: this.#state,
      watch,
    });
    for (const entry of replayed) {
      const changes = entry.mutations.map(({ patch, origin, isOpaque }) => ({
        patch,
        bytes: sizeOf(patch),
        origin,
        isOpaque,
      }));
      const { writer } = entry;
      const position = { epoch, version: entryVersion(entry), writer };
      fanout.push(changes, { position, state: this.#state });
    }
    return fanout;
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
