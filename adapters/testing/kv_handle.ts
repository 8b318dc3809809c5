/**
 * What one process has of a simulated KV: its handle.
 *
 * @module
 */
import type {
  Clock,
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
  OpenedKv,
} from "../../server/ports.ts";
import type { KvFaultSettings } from "./kv_faults.ts";
import { KvOperations } from "./kv_operations.ts";
import { readRange } from "./kv_range.ts";
import { badResource, type KvRoute } from "./kv_route.ts";
import type { KvRecord, KvTable } from "./kv_table.ts";
import {
  encodeReadable,
  KV_LIMITS,
  type KvAtomicRequest,
  type KvCommitResult,
  refuseOver,
  SimulatedAtomic,
} from "./simulated_atomic.ts";
import { SimulatedWatch } from "./simulated_watch.ts";

/** Which operation of a handle is meant; each step of a list is one. */
export type KvOperationKind = "get" | "list" | "commit" | "watch";

/** When in its life: it begins, or it has just taken effect and is not answered yet. */
export type KvOperationMoment = "asked" | "applied";

/** What a handle needs of its database. */
export interface KvHandleOptions {
  readonly isLocal: boolean;
  readonly maxChecks: number;
  readonly clock: Clock;
  readonly route: KvRoute;
  /** What the database holds now. */
  readonly table: () => KvTable;
  /** Lets an atomic operation take effect. */
  readonly apply: (
    handle: KvHandle,
    request: KvAtomicRequest,
  ) => KvCommitResult;
  /** Rings the watch when one of its keys is written; returns how to stop that. */
  readonly listen: (
    handle: KvHandle,
    keys: readonly string[],
    watch: SimulatedWatch,
  ) => () => void;
}

/** A handle; made by `KvDatabase.open()`. */
export class KvHandle implements Kv {
  /**
   * Called when an operation begins, and again when it has taken effect and is
   * not answered yet. May kill the handle.
   */
  onOperation:
    | ((kind: KvOperationKind, moment: KvOperationMoment) => void)
    | undefined;
  /** Whether it stands for a handle on a local file. */
  readonly isLocal: boolean;
  readonly #options: KvHandleOptions;
  readonly #operations: KvOperations;
  readonly #watches = new Set<SimulatedWatch>();
  #isClosed = false;
  #isDead = false;

  /** A handle that is open. */
  constructor(options: KvHandleOptions) {
    this.#options = options;
    this.isLocal = options.isLocal;
    this.#operations = new KvOperations(options.route, {
      isLocal: options.isLocal,
      onApplied: (kind) => this.onOperation?.(kind, "applied"),
    });
  }

  /** Knobs for this handle alone; one that is not set is the database's. */
  get faults(): Partial<KvFaultSettings> {
    return this.#options.route.faults;
  }

  /** Operations under way, with commits that were given up and may still land. */
  get pending(): number {
    return this.#operations.size;
  }

  /** Watches open. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Whether nothing can come of it any more. */
  get isOver(): boolean {
    return (this.#isClosed || this.#isDead) &&
      this.#operations.size + this.#watches.size === 0;
  }

  /** @inheritdoc */
  async get(key: KvKey): Promise<KvEntry> {
    const encoded = encodeReadable(key);
    return await this.#run("get", () => this.#entry(key, encoded));
  }

  /** @inheritdoc */
  async getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]> {
    refuseOver("ranges", keys.length, KV_LIMITS.keysAtOnce);
    const encoded = keys.map(encodeReadable);
    return await this.#run("get", () => this.#entries(keys, encoded));
  }

  /** @inheritdoc */
  list(
    selector: KvSelector,
    options: { limit?: number; reverse?: boolean; batchSize?: number } = {},
  ): AsyncIterableIterator<KvEntry> {
    return readRange(
      selector,
      options,
      (range, batch) =>
        this.#run(
          "list",
          () => this.#options.table().range(range, batch).map(toEntry),
        ),
    );
  }

  /** @inheritdoc */
  atomic(): KvAtomic {
    const { apply, maxChecks, clock } = this.#options;
    return new SimulatedAtomic(
      (request) => this.#run("commit", () => apply(this, request)),
      { maxChecks, clock },
    );
  }

  /** @inheritdoc */
  watch(
    keys: readonly (readonly KvKeyPart[])[],
    _options?: { raw?: boolean },
  ): ReadableStream<KvEntry[]> {
    refuseOver("keys", keys.length, KV_LIMITS.keysAtOnce);
    const encoded = keys.map(encodeReadable);
    if (this.#begin("watch") === "dead") return new ReadableStream();
    let unlisten = (): void => {};
    const watch = new SimulatedWatch({
      route: this.#options.route,
      read: () => this.#entries(keys, encoded),
      onOpen: () => {
        unlisten = this.#options.listen(this, encoded, watch);
        this.onOperation?.("watch", "applied");
      },
      onEnd: () => {
        unlisten();
        this.#watches.delete(watch);
      },
    });
    this.#watches.add(watch);
    return watch.stream;
  }

  /**
   * Frees the handle: what is under way rejects, and a commit of that may still
   * take effect; watches end.
   *
   * @throws {Error} if it was closed before.
   */
  close(): void {
    if (this.#isDead) return;
    if (this.#isClosed) throw badResource();
    this.#isClosed = true;
    this.#operations.close();
    for (const watch of [...this.#watches]) watch.end();
  }

  /**
   * The process has died: nothing that it asked is answered any more, what has not
   * arrived at the database never does (but where `outlives` says so), what has
   * taken effect stays, and its watches and timers are gone.
   */
  kill(): void {
    this.#isDead = true;
    this.#operations.kill();
    for (const watch of [...this.#watches]) watch.silence();
  }

  /** Ends the watches that are open, as a connection that is lost does; new ones work. */
  breakWatches(): void {
    for (const watch of [...this.#watches]) watch.break();
  }

  /** Nothing goes wrong any more by its own knobs; what was held back goes on. */
  heal(): void {
    this.#options.route.faults = {};
    this.#operations.goOn();
    for (const watch of [...this.#watches]) watch.goOn();
  }

  /** As the port that opens a KV gives it. */
  toOpened(location = "simulated"): OpenedKv {
    let isClosed = false;
    return {
      kv: this,
      isLocal: this.isLocal,
      location,
      close: () => {
        if (!isClosed) this.close();
        isClosed = true;
        return Promise.resolve();
      },
    };
  }

  #begin(kind: KvOperationKind): "alive" | "dead" {
    if (this.#isClosed && !this.#isDead) throw badResource();
    if (!this.#isDead) this.onOperation?.(kind, "asked");
    return this.#isDead ? "dead" : "alive";
  }

  async #run<T>(kind: KvOperationKind, effect: () => T): Promise<T> {
    if (this.#begin(kind) === "dead") return await new Promise(() => {});
    return await this.#operations.run(kind, effect);
  }

  #entries(
    keys: readonly (readonly KvKeyPart[])[],
    encoded: readonly string[],
  ): KvEntry[] {
    return keys.map((key, i) => this.#entry(key, encoded[i]!)); // as many
  }

  #entry(key: KvKey, encoded: string): KvEntry {
    const record = this.#options.table().find(encoded);
    if (record) return toEntry(record);
    return { key, value: null, versionstamp: null };
  }
}

/** What a reader gets: bytes of its own. */
export function toEntry({ key, value, versionstamp }: KvRecord): KvEntry {
  return {
    key,
    value: value instanceof Uint8Array ? value.slice() : value,
    versionstamp,
  };
}
