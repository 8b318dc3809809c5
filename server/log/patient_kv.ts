/**
 * A KV that another process may lock, or that may not answer: what finds the
 * database locked is tried again, and given up when it takes too long. What became
 * of a commit that failed otherwise is for its maker to find out.
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
} from "../ports.ts";
import { retry, type Waiting } from "./patience.ts";

/** See the module's documentation. */
export class PatientKv implements Kv {
  readonly #kv: Kv;
  readonly #waiting: Waiting;
  readonly #limitMs: number;

  /** Reads of `kv` that end within `limitMs`. */
  constructor(kv: Kv, waiting: Waiting, limitMs: number) {
    this.#kv = kv;
    this.#waiting = waiting;
    this.#limitMs = limitMs;
  }

  /** @inheritdoc */
  get(key: KvKey): Promise<KvEntry> {
    return this.#try(() => this.#kv.get(key));
  }

  /** @inheritdoc */
  getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]> {
    return this.#try(() => this.#kv.getMany(keys));
  }

  /** @inheritdoc */
  async *list(
    selector: KvSelector,
    options: { limit?: number; reverse?: boolean; batchSize?: number } = {},
  ): AsyncIterableIterator<KvEntry> {
    const { limit = Infinity } = options;
    let rest = selector;
    let count = 0;
    let entries = this.#kv.list(selector, options);
    for (;;) {
      const { done, value } = await this.#try(() => entries.next(), () => {
        // A range cannot go on after an error: another one begins behind its last entry.
        const left = limit === Infinity ? {} : { limit: limit - count };
        entries = this.#kv.list(rest, { ...options, ...left });
      });
      if (done) return;
      count++;
      rest = restOf(selector, value.key, options.reverse);
      yield value;
    }
  }

  /** @inheritdoc */
  atomic(): KvAtomic {
    const atomic = this.#kv.atomic();
    const commit = atomic.commit.bind(atomic);
    atomic.commit = async () => {
      let tries = 0;
      const result = await this.#try(() => {
        tries++;
        return commit();
      });
      if (result.ok || tries === 1) return result;
      // Its own first try may be what is in the way: `ok: false` would say that nothing was written.
      throw new Error(
        "The outcome of a commit is not known: the database was locked",
      );
    };
    return atomic;
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

  async #try<T>(read: () => Promise<T>, again?: () => void): Promise<T> {
    const waiting = { ...this.#waiting, limitMs: this.#limitMs };
    return await whileLocked(waiting, read, again);
  }
}

/** Runs `run`, and again while another process has locked the database. */
export async function whileLocked<T>(
  waiting: Waiting & { readonly limitMs: number },
  run: () => Promise<T>,
  again: () => void = () => {},
): Promise<T> {
  return await retry(waiting, run, { when: isLocked, again });
}

/** SQLite's answer while another process writes; Deno and Node have no class for it. */
function isLocked(error: unknown): boolean {
  return error instanceof Error &&
    /database (table )?is locked/i.test(error.message);
}

function restOf(
  selector: KvSelector,
  last: KvKey,
  reverse = false,
): KvSelector {
  if (reverse) return { ...selector, end: last };
  // No key lies between a key and the one that has an empty part behind it.
  return { ...selector, start: [...last, new Uint8Array()] };
}
