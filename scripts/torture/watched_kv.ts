/**
 * A real KV that shows each atomic operation, and each entry that a range
 * gives, to whoever watches.
 *
 * @module
 */
import type {
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
} from "../../server/ports.ts";

/** What a commit gives. */
export type CommitResult = Awaited<ReturnType<KvAtomic["commit"]>>;

/** What an atomic operation would do, as it is when `commit()` is called. */
export interface AtomicParts {
  readonly checks: readonly { key: KvKey; versionstamp: string | null }[];
  readonly sets: readonly { key: KvKey; value: unknown }[];
  readonly deletes: readonly KvKey[];
}

/** Who watches. */
export interface KvWatcher {
  /** A range has given an entry. */
  listed(entry: KvEntry): void;
  /** Stands in for a commit; `run` makes the real one. */
  commit(
    parts: AtomicParts,
    run: () => Promise<CommitResult>,
  ): Promise<CommitResult>;
}

/** See the module's documentation. */
export class WatchedKv implements Kv {
  readonly #kv: Kv;
  readonly #watcher: KvWatcher;

  /** Passes on to `kv`. */
  constructor(kv: Kv, watcher: KvWatcher) {
    this.#kv = kv;
    this.#watcher = watcher;
  }

  /** @inheritdoc */
  get(key: KvKey): Promise<KvEntry> {
    return this.#kv.get(key);
  }

  /** @inheritdoc */
  getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]> {
    return this.#kv.getMany(keys);
  }

  /** @inheritdoc */
  async *list(
    selector: KvSelector,
    options?: { limit?: number; reverse?: boolean; batchSize?: number },
  ): AsyncIterableIterator<KvEntry> {
    for await (const entry of this.#kv.list(selector, options)) {
      this.#watcher.listed(entry);
      yield entry;
    }
  }

  /** @inheritdoc */
  atomic(): KvAtomic {
    return new WatchedAtomic(this.#kv.atomic(), this.#watcher);
  }

  /** @inheritdoc */
  watch(
    keys: readonly (readonly KvKeyPart[])[],
    options?: { raw?: boolean },
  ): ReadableStream<KvEntry[]> {
    return this.#kv.watch(keys, options);
  }

  /** @inheritdoc */
  close(): void {
    this.#kv.close();
  }
}

class WatchedAtomic implements KvAtomic {
  readonly #real: KvAtomic;
  readonly #watcher: KvWatcher;
  readonly #checks: { key: KvKey; versionstamp: string | null }[] = [];
  readonly #sets: { key: KvKey; value: unknown }[] = [];
  readonly #deletes: KvKey[] = [];

  constructor(real: KvAtomic, watcher: KvWatcher) {
    this.#real = real;
    this.#watcher = watcher;
  }

  check(...checks: { key: KvKey; versionstamp: string | null }[]): this {
    this.#checks.push(...checks);
    this.#real.check(...checks);
    return this;
  }

  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this {
    this.#sets.push({ key, value });
    this.#real.set(key, value, options);
    return this;
  }

  delete(key: KvKey): this {
    this.#deletes.push(key);
    this.#real.delete(key);
    return this;
  }

  sum(key: KvKey, n: bigint): this {
    this.#real.sum(key, n);
    return this;
  }

  commit(): Promise<CommitResult> {
    const parts = {
      checks: this.#checks,
      sets: this.#sets,
      deletes: this.#deletes,
    };
    return this.#watcher.commit(parts, () => this.#real.commit());
  }
}
