/**
 * How a message shows what somebody gave. This module is browser compatible.
 *
 * @module
 */

/** Characters of a string that are shown. */
const SHOWN = 80;

/**
 * A few words for any value: `"text"`, `5`, `a function`, `an array`.
 *
 * @example
 * ```ts
 * import { shown } from "./shown.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(shown("4400"), '"4400"');
 * assert.equal(shown(() => {}), "a function");
 * ```
 */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(
        value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value,
      );
    case "function":
      return "a function";
    case "object":
      if (value === null) return "null";
      if (value instanceof Promise) return "a promise";
      return Array.isArray(value) ? "an array" : "an object";
    case "symbol":
      return "a symbol";
    default:
      return String(value);
  }
}

/**
 * Refuses what is to be called and cannot be; `what` begins the message.
 *
 * @throws {TypeError} Unless `value` is a function.
 */
export function checkFunction(value: unknown, what: string): void {
  if (typeof value === "function") return;
  throw new TypeError(`${what} must be a function, not ${shown(value)}`);
}

/**
 * Refuses options of a name that there is not: a misspelt one would else be passed over.
 *
 * @throws {TypeError} if `options` is no object, or has another property.
 */
export function checkOptions(options: unknown, names: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Options must be an object, not ${shown(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    throw new TypeError(
      `There is no option ${shown(name)}: there is ${names.join(", ")}`,
    );
  }
}
