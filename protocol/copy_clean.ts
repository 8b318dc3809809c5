/**
 * `cleanValue` for who needs no reasons. This module is browser compatible.
 *
 * @module
 */
import { isForbiddenKey, type Json } from "./json.ts";
import { DEFAULT_DEPTH, MOST_NODES } from "./limits.ts";

/**
 * The copy that `cleanValue` makes of a value; undefined where that would refuse it.
 */
export function copyClean(value: unknown): Json | undefined {
  let nodes = 0;
  const copy = (value: unknown, depth: number): Json | undefined => {
    if (typeof value === "string") {
      return value.isWellFormed() ? value : undefined;
    }
    // −0 is not the same on the wire and in JSON.
    if (typeof value === "number") {
      return Number.isFinite(value) ? value + 0 : undefined;
    }
    if (typeof value === "boolean" || value === null) return value;
    if (typeof value !== "object" || depth === 0) return undefined;
    const prototype = Object.getPrototypeOf(value);
    if (Array.isArray(value)) {
      if (prototype !== Array.prototype) return undefined;
      // Counted before anything is made, since `length = 4294967295` costs its author nothing.
      if ((nodes += value.length) > MOST_NODES) return undefined;
      const items: Json[] = [];
      for (const item of value) {
        const clean = copy(item, depth - 1);
        if (clean === undefined) return undefined;
        items.push(clean);
      }
      return items;
    }
    if (prototype !== Object.prototype && prototype !== null) return undefined;
    if (Object.getOwnPropertySymbols(value).length > 0) return undefined;
    const keys = Object.keys(value);
    if ((nodes += keys.length) > MOST_NODES) return undefined;
    const members: Record<string, Json> = {};
    for (const key of keys) {
      const isFine = !isForbiddenKey(key) && key.isWellFormed() &&
        !Object.getOwnPropertyDescriptor(value, key)?.get;
      if (!isFine) return undefined;
      const member = (value as Record<string, unknown>)[key]; // one of its own keys
      if (member === undefined) continue;
      const clean = copy(member, depth - 1);
      if (clean === undefined) return undefined;
      members[key] = clean;
    }
    return members;
  };
  return copy(value, DEFAULT_DEPTH);
}
