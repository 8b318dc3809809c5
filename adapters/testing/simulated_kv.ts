/**
 * A database that behaves like Deno KV, in memory, on virtual time, with chance
 * from a seed: the same seed gives the same run. Every operation travels to the
 * database, takes effect there at one moment, and its answer travels back; what goes
 * wrong on the way is set by knobs.
 *
 * @example A commit takes two ways
 * ```ts
 * import { KvDatabase } from "./simulated_kv.ts";
 * import { VirtualClock } from "./virtual_clock.ts";
 * import { SeededRandom } from "./seeded_random.ts";
 * import assert from "node:assert/strict";
 *
 * const time = new VirtualClock();
 * const database = new KvDatabase({
 *   clock: time.createHost(),
 *   random: new SeededRandom(1),
 * });
 * database.faults.latencyMs = [1, 5];
 * const kv = database.open();
 * const committing = kv.atomic().set(["a"], new Uint8Array([1])).commit();
 * await time.advance(10);
 * assert.ok((await committing).ok);
 * ```
 *
 * @module
 */
import type { Clock, KvEntry, KvKey } from "../../server/ports.ts";
import { createKvFaults, type KvDelay, type KvFaults } from "./kv_faults.ts";
import { KvHandle, toEntry } from "./kv_handle.ts";
import { after, encodeKey, endOfPrefix } from "./kv_key_order.ts";
import { KvListeners } from "./kv_listeners.ts";
import { KvRoute } from "./kv_route.ts";
import { type KvStored, KvTable, KvU64 } from "./kv_table.ts";
import {
  KV_LIMITS,
  type KvAtomicRequest,
  type KvCommitResult,
  type KvWrite,
} from "./simulated_atomic.ts";

export type {
  KvDelay,
  KvFaults,
  KvFaultSettings,
  KvWatchMode,
} from "./kv_faults.ts";
export type {
  KvHandle,
  KvOperationKind,
  KvOperationMoment,
} from "./kv_handle.ts";
export { type KvStored, KvU64 } from "./kv_table.ts";

/** Where the database gets time and chance from. */
export interface SimulatedKvOptions {
  /** The database's own clock. */
  readonly clock: Clock;
  /** Numbers from 0 up to but not 1. */
  readonly random: { float(): number };
  /** How long after its time an entry with `expireIn` is removed; up to a minute by default. */
  readonly expiryLateMs?: KvDelay;
  /** Checks that an atomic operation may have; 100 by default, `denokv` takes 10. */
  readonly maxChecks?: number;
}

/** One key that a commit wrote. Its bytes are the database's own: they must not be changed. */
export interface AppliedWrite {
  readonly key: KvKey;
  /** What the key holds now; null: nothing. */
  readonly value: KvStored | null;
}

/** A commit, at the moment at which it has taken effect. */
export interface AppliedCommit {
  /** Whose it is; may be dead or closed by now. */
  readonly handle: KvHandle;
  readonly versionstamp: string;
  /** One for each key, in the order in which they were first named. */
  readonly writes: readonly AppliedWrite[];
}

/** What a database held at one moment. Made by {@linkcode KvDatabase.backup}. */
export interface KvBackup {
  /**
   * Its entries.
   *
   * @ignore
   */
  readonly table: KvTable;
  /** Number of its last commit; what is committed after a restore counts on from it. */
  readonly stamp: number;
}

/**
 * The data of a simulation, and what goes wrong on the way to it. It outlives the
 * servers that use it, as a file does. Deno KV's limits hold.
 */
export class KvDatabase {
  /** What goes wrong, for every server. */
  readonly faults: KvFaults;
  /**
   * Told of every commit at the moment at which it takes effect.
   *
   * @ignore
   */
  onCommit: ((commit: AppliedCommit) => void) | undefined;
  /**
   * Told of entries whose time is over; they are removed when the database is next looked at.
   *
   * @ignore
   */
  onExpire: ((keys: readonly KvKey[]) => void) | undefined;
  readonly #options: Required<SimulatedKvOptions>;
  #table = new KvTable();
  readonly #handles = new Set<KvHandle>();
  readonly #listeners = new KvListeners();
  #stamp = 0;

  /**
   * An empty database.
   *
   * @ignore
   */
  constructor(options: SimulatedKvOptions) {
    this.#options = {
      expiryLateMs: [0, 60_000],
      maxChecks: KV_LIMITS.checks,
      ...options,
    };
    this.faults = createKvFaults(() => this.#heal());
  }

  /** Operations under way, with commits that were given up and may still land. */
  get pending(): number {
    return this.#sum((handle) => handle.pending);
  }

  /** Watches that are open: one for each server that runs. */
  get watches(): number {
    return this.#sum((handle) => handle.watches);
  }

  /**
   * A handle for one process.
   *
   * `clock` is that process's own: answers come by its timers, and `expireIn`
   * counts from what its wall shows, as with Deno KV.
   *
   * @ignore
   */
  open(
    { isLocal = false, clock = this.#options.clock }: {
      isLocal?: boolean;
      clock?: Clock;
    } = {},
  ): KvHandle {
    const route = new KvRoute({
      databaseClock: this.#options.clock,
      processClock: clock,
      random: this.#options.random,
      faults: this.faults,
    });
    const handle = new KvHandle({
      isLocal,
      maxChecks: this.#options.maxChecks,
      clock,
      route,
      table: () => this.#current(),
      apply: (handle, request) => this.#apply(handle, request),
      listen: (handle, keys, watch) =>
        this.#listeners.add(keys, watch, { handle, route }),
    });
    this.#handles.add(handle);
    return handle;
  }

  /**
   * What lies below the prefix, in order: a direct look, without latency and faults.
   *
   * @ignore
   */
  entries(prefix: KvKey = []): KvEntry[] {
    const start = encodeKey(prefix);
    return this.#current()
      .range({ start: after(start), end: endOfPrefix(start) })
      .map(toEntry);
  }

  /** What it holds now, to be restored later, as often as wanted. Takes no time. */
  backup(): KvBackup {
    return { table: this.#current().copy(), stamp: this.#stamp };
  }

  /**
   * Holds again what it held then. Takes no time, and rings no watch.
   *
   * Versionstamps are then given a second time, as by a file that is restored: end
   * every server before. Under servers that run, restore
   * `{ ...backup, stamp: kv.backup().stamp }`; each finds out at its next write to a
   * store.
   */
  restore({ table, stamp }: KvBackup): void {
    this.#table = table.copy();
    this.#stamp = stamp;
  }

  /** Ends the watches that are open, as a connection that is lost does; new ones work. */
  breakWatches(): void {
    for (const handle of this.#handles) handle.breakWatches();
  }

  #sum(count: (handle: KvHandle) => number): number {
    let sum = 0;
    for (const handle of this.#handles) {
      sum += count(handle);
      // Else a long run would carry every process that ever was.
      if (handle.isOver) this.#handles.delete(handle);
    }
    return sum;
  }

  #heal(): void {
    for (const handle of this.#handles) handle.heal();
  }

  /** The table without what has expired: removed when looked at, it needs no timer. */
  #current(): KvTable {
    const expired = this.#table.removeDue(this.#options.clock.now());
    if (expired.length > 0) this.onExpire?.(expired);
    return this.#table;
  }

  #apply(
    handle: KvHandle,
    { checks, writes }: KvAtomicRequest,
  ): KvCommitResult {
    const table = this.#current();
    for (const { key, versionstamp } of checks) {
      if ((table.find(key)?.versionstamp ?? null) !== versionstamp) {
        return { ok: false };
      }
    }
    // They grow by more than one, as Deno's: nothing may count on the next.
    this.#stamp += 1 + this.#stamp % 3;
    const versionstamp = `${this.#stamp.toString(16).padStart(16, "0")}0000`;
    const done: KvWrite[] = [];
    try {
      for (const write of writes) {
        this.#write(table, write, versionstamp);
        done.push(write);
      }
    } finally {
      // A sum that throws leaves what was named before it, as SQLite's does.
      this.onCommit?.({ handle, versionstamp, writes: this.#outcome(done) });
    }
    this.#listeners.ring(handle, writes);
    return { ok: true, versionstamp };
  }

  #write(
    table: KvTable,
    { key, parts, change }: KvWrite,
    versionstamp: string,
  ): void {
    if (change.kind === "delete") return table.remove(key);
    let value = change.value;
    if (change.kind === "sum") {
      const old = table.find(key)?.value ?? new KvU64(0n);
      if (!(old instanceof KvU64)) {
        throw new TypeError(
          "Failed to perform 'sum' mutation on a non-U64 value in the database",
        );
      }
      value = new KvU64(BigInt.asUintN(64, old.value + change.value.value));
    }
    const removeAtMs = change.kind === "set" && change.expiresAtMs !== undefined
      ? change.expiresAtMs + this.#expiryLateMs()
      : Infinity;
    table.put(key, { key: parts, value, versionstamp }, removeAtMs);
  }

  /** Of several writes to one key the last counts. */
  #outcome(writes: readonly KvWrite[]): AppliedWrite[] {
    const keys = new Map(writes.map(({ key, parts }) => [key, parts]));
    return Array.from(keys, ([encoded, key]) => {
      return { key, value: this.#table.find(encoded)?.value ?? null };
    });
  }

  #expiryLateMs(): number {
    const [minMs, maxMs] = this.#options.expiryLateMs;
    if (maxMs <= minMs) return minMs;
    return minMs + (maxMs - minMs) * this.#options.random.float();
  }
}
