/**
 * What a simulated KV holds at this moment: entries in the order of their keys,
 * of which some are removed after their time.
 *
 * @module
 */
import type { KvKey } from "../../server/ports.ts";

/** A 64-bit counter, as `sum` makes it. */
export class KvU64 {
  /** Its number, from 0 to 2 to the 64 minus 1. */
  readonly value: bigint;

  /**
   * A counter that stands at `value`.
   *
   * @throws {RangeError} if it does not fit.
   */
  constructor(value: bigint) {
    if (value < 0n || value >= 2n ** 64n) {
      throw new RangeError(
        `Value must fit in a 64-bit unsigned integer: received ${value}`,
      );
    }
    this.value = value;
  }
}

/** What can be stored. */
export type KvStored = Uint8Array<ArrayBuffer> | KvU64;

/** One entry. */
export interface KvRecord {
  readonly key: KvKey;
  readonly value: KvStored;
  readonly versionstamp: string;
}

/** A range of encoded keys. */
export interface KvRange {
  /** First key that is in it. */
  readonly start: string;
  /** First key that is not. */
  readonly end: string;
}

/** See the module's documentation. Keys are those of `encodeKey()`. */
export class KvTable {
  #records = new Map<string, KvRecord>();
  #order: string[] = [];
  #removals = new Map<string, number>();
  #nextRemovalMs = Infinity;

  /** The entry of that key. */
  find(key: string): KvRecord | undefined {
    return this.#records.get(key);
  }

  /** Writes an entry, which is removed at that time of the database's wall clock. */
  put(key: string, record: KvRecord, removeAtMs: number = Infinity): void {
    if (!this.#records.has(key)) {
      this.#order.splice(this.#indexOf(key), 0, key);
    }
    this.#records.set(key, record);
    if (removeAtMs < Infinity) {
      this.#removals.set(key, removeAtMs);
      this.#nextRemovalMs = Math.min(this.#nextRemovalMs, removeAtMs);
    } else {
      this.#removals.delete(key);
    }
  }

  /** Removes an entry, if there is one. */
  remove(key: string): void {
    if (!this.#records.delete(key)) return;
    this.#order.splice(this.#indexOf(key), 1);
    this.#removals.delete(key);
  }

  /** Up to `limit` entries of the range, from its start or backwards from its end. */
  range(
    { start, end }: KvRange,
    { limit = Infinity, reverse = false }: {
      limit?: number;
      reverse?: boolean;
    } = {},
  ): KvRecord[] {
    let from = this.#indexOf(start);
    let to = this.#indexOf(end);
    if (reverse) from = Math.max(from, to - limit);
    else to = Math.min(to, from + limit);
    const keys = this.#order.slice(from, to);
    if (reverse) keys.reverse();
    return keys.map((key) => this.#records.get(key)!); // each key of the order has a record
  }

  /** Removes what is due, and says what that was. */
  removeDue(nowMs: number): KvKey[] {
    if (nowMs < this.#nextRemovalMs) return [];
    const removed: KvKey[] = [];
    this.#nextRemovalMs = Infinity;
    for (const [key, removeAtMs] of this.#removals) {
      if (removeAtMs > nowMs) {
        this.#nextRemovalMs = Math.min(this.#nextRemovalMs, removeAtMs);
        continue;
      }
      removed.push(this.#records.get(key)!.key); // a removal goes with its record
      this.remove(key);
    }
    return removed;
  }

  /** The same entries, on their own. */
  copy(): KvTable {
    const copy = new KvTable();
    copy.#records = new Map(this.#records);
    copy.#order = [...this.#order];
    copy.#removals = new Map(this.#removals);
    copy.#nextRemovalMs = this.#nextRemovalMs;
    return copy;
  }

  /** Where the key is in the order, or would be. */
  #indexOf(key: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
