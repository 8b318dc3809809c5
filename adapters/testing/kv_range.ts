/**
 * Reads a range in batches, each at a moment of its own.
 *
 * @module
 */
import type { KvEntry, KvKey, KvSelector } from "../../server/ports.ts";
import { after, encodeKey, endOfPrefix } from "./kv_key_order.ts";
import type { KvRange } from "./kv_table.ts";
import { KV_LIMITS, refuseOver, refuseToRead } from "./simulated_atomic.ts";

/** Reads one batch. */
export type ReadBatch = (
  range: KvRange,
  options: { limit: number; reverse: boolean },
) => Promise<KvEntry[]>;

/** The entries of a range; what the selector or the options have wrong is thrown by the first step. */
export async function* readRange(
  selector: KvSelector,
  { limit = Infinity, reverse = false, batchSize = 100 }: {
    limit?: number;
    reverse?: boolean;
    batchSize?: number;
  },
  readBatch: ReadBatch,
): AsyncIterableIterator<KvEntry> {
  if (!(batchSize > 0)) {
    throw new Error(
      `batchSize must be a positive integer: received ${batchSize}`,
    );
  }
  refuseOver("entries", batchSize, KV_LIMITS.batch);
  let range = toRange(selector);
  refuseToRead(range.start);
  refuseToRead(range.end);
  for (let left = limit; left > 0;) {
    const count = Math.min(batchSize, left);
    const entries = await readBatch(range, { limit: count, reverse });
    yield* entries;
    left -= entries.length;
    const last = entries.at(-1);
    if (!last || entries.length < count) return;
    const key = encodeKey(last.key);
    range = reverse
      ? { start: range.start, end: key }
      : { start: after(key), end: range.end };
  }
}

/**
 * The encoded range of a selector; the prefix's own key is not in it.
 *
 * @throws {TypeError} if its start is after its end, or outside of its prefix.
 */
export function toRange(selector: KvSelector): KvRange {
  if (!("prefix" in selector)) {
    const start = encodeKey(selector.start);
    const end = encodeKey(selector.end);
    if (start <= end) return { start, end };
    throw new TypeError("Start key is greater than end key");
  }
  const { start, end } = selector;
  const prefix = encodeKey(selector.prefix);
  if (start && end) {
    throw new TypeError(
      "Selector can not specify both 'start' and 'end' key when specifying 'prefix'",
    );
  }
  return {
    start: start ? within(prefix, start, "Start") : after(prefix),
    end: end ? within(prefix, end, "End") : endOfPrefix(prefix),
  };
}

function within(prefix: string, key: KvKey, what: string): string {
  const encoded = encodeKey(key);
  if (encoded.startsWith(prefix) && encoded !== prefix) return encoded;
  throw new TypeError(`${what} key is not in the keyspace defined by prefix`);
}
