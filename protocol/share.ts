/**
 * Makes a value share with an earlier one what both have in common. This module is
 * browser compatible.
 *
 * @module
 */
import type { Json } from "./value.ts";

/**
 * Returns a value that is equal to `next`, and in which every part that is equal to
 * what stood at its place in `previous` is that very part. Neither is changed.
 *
 * - Items of arrays have the same place from the front as far as they are equal, from
 *   the back as far as they are, and by their index in between.
 * - What is the same object in both is not looked into.
 *
 * @example
 * ```ts
 * import { shareValue } from "./share.ts";
 * import assert from "node:assert/strict";
 *
 * const before = { items: [{ id: 1 }, { id: 2 }] };
 * const after = shareValue(before, { items: [{ id: 0 }, { id: 1 }, { id: 2 }] });
 * assert.deepEqual(after, { items: [{ id: 0 }, { id: 1 }, { id: 2 }] });
 * assert.ok((after as typeof before).items[2] === before.items[1]);
 * ```
 */
export function shareValue(previous: Json | undefined, next: Json): Json {
  if (previous === next || previous === undefined) return next;
  if (typeof previous !== "object" || typeof next !== "object") return next;
  if (previous === null || next === null) return next;
  if (Array.isArray(previous)) {
    return Array.isArray(next) ? shareArray(previous, next) : next;
  }
  // Neither is an array from here on.
  return Array.isArray(next)
    ? next
    : shareObject(previous as Members, next as Members);
}

type Members = { readonly [key: string]: Json };

function shareObject(previous: Members, next: Members): Json {
  const keys = Object.keys(next);
  const shared: Record<string, Json> = {};
  let isSame = keys.length === Object.keys(previous).length;
  let isNext = true;
  for (const key of keys) {
    const before = Object.hasOwn(previous, key) ? previous[key] : undefined;
    const value = next[key]!; // one of its own keys
    const member = shared[key] = shareValue(before, value);
    if (member !== before) isSame = false;
    if (member !== value) isNext = false;
  }
  if (isSame) return previous;
  return isNext ? next : shared;
}

function shareArray(previous: readonly Json[], next: readonly Json[]): Json {
  const shorter = Math.min(previous.length, next.length);
  const shared = [...next];
  /** Puts the earlier item in the place of one that is equal. */
  const isEqual = (before: number, after: number) => {
    const item = shareValue(previous[before], next[after]!); // both are in range
    if (item !== previous[before]) return false;
    shared[after] = item;
    return true;
  };
  let head = 0;
  while (head < shorter && isEqual(head, head)) head++;
  if (head === previous.length && head === next.length) return previous;
  let tail = 0;
  while (
    tail < shorter - head &&
    isEqual(previous.length - 1 - tail, next.length - 1 - tail)
  ) tail++;
  for (let index = head; index < shorter - tail; index++) {
    shared[index] = shareValue(previous[index], next[index]!); // in range by the loop's condition
  }
  return shared.every((item, index) => item === next[index]) ? next : shared;
}
