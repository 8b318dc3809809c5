/**
 * Reads the fields of a decoded frame, each as the kind that it must be. This
 * module is browser compatible.
 *
 * @module
 */
import { type ErrorBody, HeadwaterError } from "./errors.ts";
import type { Json } from "./json.ts";

/** A frame as MessagePack gives it: single letters and values. */
export type FrameMap = { readonly [letter: string]: Json };

/** The same as it is to be sent: fields that are undefined are left out. */
export type SentMap = { readonly [letter: string]: Json | undefined };

/** The fields of one frame. Every method throws `bad_frame` where the field is not as it must be. */
export class FrameFields {
  readonly #map: FrameMap;
  readonly #type: string;

  /** Reads `map` as a frame of that type; the type is for messages alone. */
  constructor(map: FrameMap, type: string) {
    this.#map = map;
    this.#type = type;
  }

  /** True where the field is there. */
  has(letter: string): boolean {
    return this.#map[letter] !== undefined;
  }

  /** A value of any kind; undefined where it is absent. */
  any(letter: string): Json | undefined {
    return this.#map[letter];
  }

  /** An integer from `least` (0 by default) to 2^53 - 1. */
  uint(letter: string, least = 0): number {
    const value = this.#map[letter];
    if (isUint(value) && value >= least) return value;
    throw this.#misfit(letter, `an integer of at least ${least}`);
  }

  /** An array. */
  array(letter: string): readonly Json[] {
    const value = this.#map[letter];
    if (Array.isArray(value)) return value;
    throw this.#misfit(letter, "an array");
  }

  /** A string, which may be empty. */
  string(letter: string): string {
    const value = this.#map[letter];
    if (typeof value === "string") return value;
    throw this.#misfit(letter, "a string");
  }

  /** The same, or undefined where it is absent. */
  optionalString(letter: string): string | undefined {
    return this.has(letter) ? this.string(letter) : undefined;
  }

  /** True or false. */
  boolean(letter: string): boolean {
    const value = this.#map[letter];
    if (typeof value === "boolean") return value;
    throw this.#misfit(letter, "true or false");
  }

  /** The error for fields that cannot stand together. */
  conflict(detail: string): HeadwaterError {
    return new HeadwaterError(
      "bad_frame",
      `Cannot read ${this.#type} frame: ${detail}`,
    );
  }

  /** The error that says which field is wrong. */
  #misfit(letter: string, wanted: string): HeadwaterError {
    const found = this.#map[letter];
    return this.conflict(
      `"${letter}" must be ${wanted}, not ${describe(found)}`,
    );
  }
}

/** The wire form of an error body. */
export function toErrorMap(body: ErrorBody): FrameMap {
  return {
    c: body.code,
    m: body.message,
    ...(body.path !== undefined && { p: body.path }),
    ...(body.data !== undefined && { d: body.data }),
    ...(body.outcome !== undefined && { o: body.outcome }),
    ...(body.id !== undefined && { i: body.id }),
  };
}

/** True for an integer from 0 to 2^53 - 1. */
export function isUint(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** True for an object: neither null nor an array. */
export function isMap(
  value: Json | undefined,
): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(value: Json | undefined): string {
  if (value === undefined) return "absent";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  const text = String(value);
  return `${typeof value} "${
    text.length > 40 ? text.slice(0, 40).toWellFormed() + "…" : text
  }"`;
}
