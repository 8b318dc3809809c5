/**
 * A KV that counts what it is asked for.
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

/** What a server asked its KV for. */
export interface KvCounts {
  /** Atomics that took effect. */
  commits: number;
  /** Atomics that met another server's. */
  conflicts: number;
  /** Atomics that threw. */
  failures: number;
  /** Reads: each `get`, `getMany` and range is one. */
  reads: number;
  /** Entries that ranges gave. */
  entries: number;
  /** What its watches told. */
  rings: number;
}

/** See the module's documentation. */
export class CountingKv implements Kv {
  readonly counts: KvCounts = {
    commits: 0,
    conflicts: 0,
    failures: 0,
    reads: 0,
    entries: 0,
    rings: 0,
  };
  readonly #kv: Kv;

  /** Counts, and passes on to `kv`. */
  constructor(kv: Kv) {
    this.#kv = kv;
  }

  get(key: KvKey): Promise<KvEntry> {
    this.counts.reads++;
    return this.#kv.get(key);
  }

  getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]> {
    this.counts.reads++;
    return this.#kv.getMany(keys);
  }

  async *list(
    selector: KvSelector,
    options?: { limit?: number; reverse?: boolean; batchSize?: number },
  ): AsyncIterableIterator<KvEntry> {
    this.counts.reads++;
    for await (const entry of this.#kv.list(selector, options)) {
      this.counts.entries++;
      yield entry;
    }
  }

  atomic(): KvAtomic {
    const atomic = this.#kv.atomic();
    const commit = atomic.commit.bind(atomic);
    atomic.commit = async () => {
      try {
        const result = await commit();
        this.counts[result.ok ? "commits" : "conflicts"]++;
        return result;
      } catch (error) {
        this.counts.failures++;
        throw error;
      }
    };
    return atomic;
  }

  watch(
    keys: readonly (readonly KvKeyPart[])[],
    options?: { raw?: boolean },
  ): ReadableStream<KvEntry[]> {
    return this.#kv.watch(keys, options).pipeThrough(
      new TransformStream({
        transform: (entries, controller) => {
          this.counts.rings++;
          controller.enqueue(entries);
        },
      }),
    );
  }

  close(): void {
    this.#kv.close();
  }
}
