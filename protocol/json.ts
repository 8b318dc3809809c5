/**
 * What may be shared, what may not, and names of things: what both ends need at
 * once. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError, LimitError } from "./errors.ts";
import { shown } from "./shown.ts";

/**
 * A value that can be shared. It is the same in memory, on the wire, in the KV
 * and over REST.
 */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** One step of a {@linkcode Path}: an index into an array or a key of an object. */
export type PathSegment = string | number;

/** Where something is within a value: `["items", 3, "text"]`; `[]` is the value itself. */
export type Path = readonly PathSegment[];

/** True if both are the same JSON value; the order of keys does not count. */
export function equalValues(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (
    typeof a !== "object" || typeof b !== "object" || a === null || b === null
  ) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((item, index) => equalValues(item, b[index]));
  }
  const [left, right] = [a, b] as Record<string, Json>[]; // neither is an array, nor null
  const keys = Object.keys(left!);
  return keys.length === Object.keys(right!).length &&
    keys.every((key) => equalValues(left![key]!, right![key]!));
}

/** True for the keys that reach an object's prototype instead of the object. */
export function isForbiddenKey(key: string): boolean {
  return key === "__proto__" || key === "constructor" || key === "prototype";
}

/** Freezes a value and all within it; stops where something is frozen already. */
export function freezeDeep<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) {
    return value;
  }
  Object.freeze(value);
  if (Array.isArray(value)) {
    for (const item of value) freezeDeep(item);
  } else {
    for (const key of Object.keys(value)) {
      freezeDeep((value as Record<string, unknown>)[key]);
    }
  }
  return value;
}

// C0 and C1 control characters, and the separators that end a line in a log.
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/**
 * Checks the name of something and returns it in Unicode normal form C, so that
 * names which look the same are the same.
 *
 * @throws {HeadwaterError} `bad_name` unless it is a well-formed, non-empty
 * string without control characters.
 * @throws {LimitError} If it is longer than `maxLength`.
 */
export function cleanName(
  name: unknown,
  what: string,
  maxLength: number,
): string {
  const action = `use ${what}`;
  if (typeof name !== "string") {
    throw new HeadwaterError(
      "bad_name",
      `Cannot ${action}: it must be a string, not ${shown(name)}`,
    );
  }
  // Before normalising, which takes long and can make a short name of a long one.
  if (name.length > maxLength) {
    throw new LimitError(action, "nameLength", maxLength, name.length);
  }
  if (name === "") {
    throw new HeadwaterError("bad_name", `Cannot ${action}: it is empty`);
  }
  // As part of a KV key a lone surrogate becomes U+FFFD: two names would be one key.
  if (!name.isWellFormed()) {
    throw new HeadwaterError(
      "bad_name",
      `Cannot ${action}: it has a lone surrogate`,
    );
  }
  if (CONTROL.test(name)) {
    throw new HeadwaterError(
      "bad_name",
      `Cannot ${action}: it has a control character`,
    );
  }
  const normal = name.normalize("NFC");
  if (normal.length > maxLength) {
    throw new LimitError(action, "nameLength", maxLength, normal.length);
  }
  return normal;
}

/** Writes a path as a JSON Pointer (RFC 6901). */
export function pointer(path: Path): string {
  let text = "";
  for (const segment of path) {
    text += typeof segment === "number"
      ? `/${segment}`
      : `/${segment.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  }
  return text;
}
