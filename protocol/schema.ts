/**
 * Schemas of any library that follows Standard Schema, version 1: Zod, Valibot,
 * ArkType and others fit {@linkcode Schema} as they are, and none of them is
 * imported. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "./errors.ts";
import { type Path, pointer } from "./json.ts";

/**
 * A schema: what Standard Schema says that one is. `Input` is what it takes,
 * `Output` what it makes of that, such as with what was left out filled in.
 */
export interface Schema<Input = unknown, Output = Input> {
  /** What Standard Schema asks of a library. */
  readonly "~standard": {
    /** Version of the standard. */
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: string;
    /** Checks a value; a promise is refused here, see {@linkcode validate}. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Only for the compiler. */
    readonly types?:
      | { readonly input: Input; readonly output: Output }
      | undefined;
  };
}

/** What a schema makes of a value: another value, or what is wrong with it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong, for people. */
  readonly message: string;
  /** Where. */
  readonly path?:
    | readonly (PropertyKey | { readonly key: PropertyKey })[]
    | undefined;
}

/** What a schema takes. */
export type InputOf<S> = S extends Schema<infer Input, infer _> ? Input : never;

/** What a schema gives. */
export type OutputOf<S> = S extends Schema<infer _, infer Output> ? Output
  : never;

/** So many of the things that are wrong are told. */
const MOST_ISSUES = 16;

/**
 * What `schema` makes of `value`; `what` says whose value it is.
 *
 * @example Fill in, and refuse
 * ```ts
 * import { validate } from "./schema.ts";
 * import assert from "node:assert/strict";
 * import { z } from "zod";
 *
 * const schema = z.object({ seats: z.number().default(1) });
 * assert.deepEqual(validate(schema, {}, "the order"), { seats: 1 });
 * assert.throws(() => validate(schema, { seats: "2" }, "the order"), {
 *   code: "invalid",
 *   path: "/seats",
 * });
 * ```
 *
 * @throws {HeadwaterError} `invalid`, with the path of the first thing that is
 * wrong; `data.issues` has the path and message of up to 16.
 * @throws {TypeError} if the schema is asynchronous.
 */
export function validate<Output>(
  schema: Schema<unknown, Output>,
  value: unknown,
  what: string,
): Output {
  const result = schema["~standard"].validate(value);
  if ("then" in result) {
    // Nobody waits for it: what it may reject with is not an unhandled rejection.
    result.catch(() => {});
    throw new TypeError(
      `Cannot check ${what}: its schema is asynchronous, and must not be`,
    );
  }
  if (result.issues) throw refusal(result.issues, what);
  return result.value;
}

function refusal(
  issues: readonly SchemaIssue[],
  what: string,
): HeadwaterError {
  const told = issues.slice(0, MOST_ISSUES).map(({ message, path = [] }) => ({
    // It crosses the wire, where a lone surrogate of a key cannot stand.
    path: pointer(path.map(toSegment)).toWellFormed(),
    message: message.toWellFormed(),
  }));
  const { path = "", message = "it does not fit" } = told[0] ?? {};
  const where = path === "" ? "" : ` at ${path}`;
  return new HeadwaterError(
    "invalid",
    `Cannot accept ${what}: ${message}${where}`,
    { path, data: { issues: told } },
  );
}

function toSegment(
  step: PropertyKey | { readonly key: PropertyKey },
): Path[number] {
  const key = typeof step === "object" ? step.key : step;
  return typeof key === "number" ? key : String(key);
}
