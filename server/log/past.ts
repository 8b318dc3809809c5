/**
 * What a store remembers of the lives before its present one. Its numbers end with
 * a life, but a call that wrote to it may be sent again afterwards: the next life
 * must know that, or the write would be made twice.
 *
 * The record is written by the atomic that deletes the store, and read with a life
 * that has one before it. The commit that begins a life checks it: between reading
 * that there is no store and creating it, others may have created and deleted it.
 *
 * @module
 */
import type { Kv } from "../ports.ts";
import { pastKey, type StoreId } from "./keys.ts";
import { WriteNumbers } from "./numbers.ts";
import { decodeRecord, encodeRecord, uint } from "./record.ts";

/** A KV value holds 64 KiB; the rest is margin. */
const PAST_BYTES = 60 * 1024;

/** What was read. */
export interface Past {
  readonly numbers: WriteNumbers;
  /** What the commit that begins a life must check; null: nothing is remembered. */
  readonly stamp: string | null;
}

/** Reads what is remembered of ended lives. */
export async function readPast(kv: Kv, id: StoreId): Promise<Past> {
  const { value, versionstamp } = await kv.get(pastKey(id));
  if (versionstamp === null) {
    return { numbers: new WriteNumbers(), stamp: null };
  }
  const { n: table = [], c: cut } = decodeRecord(value, "past");
  const cutMs = cut === undefined ? undefined : uint(cut);
  return {
    numbers: WriteNumbers.fromJson(table, cutMs),
    stamp: versionstamp,
  };
}

/**
 * The record of what is to be remembered. Where there is too much, the oldest
 * sessions are cut: what they send again is then answered by `unknown`.
 */
export function encodePast(numbers: WriteNumbers): Uint8Array<ArrayBuffer> {
  for (;;) {
    const { cutMs } = numbers;
    const bytes = encodeRecord({
      n: numbers.toJson(),
      ...(cutMs > -Infinity && { c: cutMs }),
    });
    if (bytes.byteLength <= PAST_BYTES || numbers.size === 0) return bytes;
    numbers.cut(Math.floor(numbers.size * PAST_BYTES / bytes.byteLength / 2));
  }
}
