/**
 * Refuses options that there are not, and values of another kind: a typo would pass as if
 * the option had not been given.
 *
 * @module
 */
import { shown } from "../protocol/shown.ts";

/** What an option is; `"any"` is checked where it is used. */
export type Kind =
  | "any"
  | "boolean"
  | "function"
  | "number"
  | "object"
  | "rule"
  | "string";

const KINDS: Readonly<Record<Exclude<Kind, "any">, string>> = {
  boolean: "true or false",
  function: "a function",
  number: "a number",
  object: "an object",
  rule: "true, false or a function",
  string: "a string",
};

/** What is said of the options where they are called otherwise. */
export interface KindNames {
  /** All of it. @default "its options" */
  readonly what?: string;
  /** One of it. @default "option" */
  readonly each?: string;
}

/**
 * Checks options by their names and kinds; `action` begins the message.
 *
 * @throws {TypeError} if there is no such option, or it is of another kind.
 */
export function checkKinds(
  action: string,
  options: unknown,
  kinds: Readonly<Record<string, Kind>>,
  { what = "its options", each = "option" }: KindNames = {},
): void {
  if (!isOfKind(options, "object")) {
    throw new TypeError(
      `${action}: ${what} must be an object, not ${shown(options)}`,
    );
  }
  for (const [name, value] of Object.entries(Object(options))) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) {
      throw new TypeError(
        `${action}: there is no ${each} ${shown(name)}; there are ${
          Object.keys(kinds).join(", ")
        }`,
      );
    }
    if (kind === "any" || value === undefined) continue;
    if (!isOfKind(value, kind)) {
      throw new TypeError(
        `${action}: ${name} must be ${KINDS[kind]}, not ${shown(value)}`,
      );
    }
  }
}

function isOfKind(value: unknown, kind: Exclude<Kind, "any">): boolean {
  if (kind === "rule") {
    return typeof value === "boolean" || typeof value === "function";
  }
  return typeof value === kind && value !== null && !Array.isArray(value);
}
