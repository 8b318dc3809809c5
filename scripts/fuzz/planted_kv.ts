/**
 * A KV of a few entries that gives exactly the bytes that were put into it, in
 * microseconds: a real one would take most of the time of every input.
 *
 * @module
 */
import type {
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvSelector,
} from "../../server/ports.ts";

/** One key and its value. */
export type Planted = readonly [key: KvKey, value: unknown];

/** See the module's documentation. Keys hold strings and numbers, in the order of the real one. */
export class PlantedKv implements Kv {
  readonly #entries: KvEntry[];

  /** A KV of these entries, in key order. */
  constructor(entries: readonly Planted[]) {
    this.#entries = entries.map(([key, value]) => ({
      key,
      value,
      versionstamp: "00000000000000010000",
    }));
  }

  /** @inheritdoc */
  get(key: KvKey): Promise<KvEntry> {
    const found = this.#entries.find((entry) => compare(entry.key, key) === 0);
    return Promise.resolve(found ?? { key, value: null, versionstamp: null });
  }

  /** @inheritdoc */
  getMany(keys: readonly KvKey[]): Promise<KvEntry[]> {
    return Promise.all(keys.map((key) => this.get(key)));
  }

  /** @inheritdoc */
  async *list(selector: KvSelector): AsyncIterableIterator<KvEntry> {
    if (!("prefix" in selector) && compare(selector.start, selector.end) > 0) {
      throw new TypeError("Start key is greater than end key");
    }
    for (const entry of this.#entries) {
      if (isSelected(entry.key, selector)) yield entry;
    }
  }

  /** @inheritdoc */
  atomic(): KvAtomic {
    const atomic: KvAtomic = {
      check: () => atomic,
      set: () => atomic,
      delete: () => atomic,
      sum: () => atomic,
      commit: () => Promise.resolve({ ok: true, versionstamp: "1" }),
    };
    return atomic;
  }

  /** @inheritdoc */
  watch(): ReadableStream<KvEntry[]> {
    return new ReadableStream();
  }

  /** @inheritdoc */
  close(): void {}
}

function isSelected(key: KvKey, selector: KvSelector): boolean {
  if ("prefix" in selector) {
    const { prefix } = selector;
    return key.length > prefix.length &&
      compare(key.slice(0, prefix.length), prefix) === 0;
  }
  return compare(key, selector.start) >= 0 && compare(key, selector.end) < 0;
}

function compare(a: KvKey, b: KvKey): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left, right] = [a[i]!, b[i]!];
    if (left === right) continue;
    if (typeof left !== typeof right) return typeof left === "string" ? -1 : 1;
    // Of one type, and strings or numbers: see above.
    return (left as string) < (right as string) ? -1 : 1;
  }
  return a.length - b.length;
}
