/**
 * The bytes of what the KV holds. Values are MessagePack in a `Uint8Array`, since values
 * that V8 serialised in Deno cannot be read by `@deno/kv` on Node, and back.
 *
 * @module
 */
import { decodeJson, encodeJson } from "../../protocol/codec.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";

/** Encodes any small record. */
export function encodeRecord(json: Json): Uint8Array<ArrayBuffer> {
  return encodeJson(json);
}

/** Decodes any record into its fields. */
export function decodeRecord(
  value: unknown,
  what: string,
): { readonly [key: string]: Json } {
  if (!(value instanceof Uint8Array)) throw corrupt(what);
  let json: Json;
  try {
    json = decodeJson(value);
  } catch (error) {
    throw corrupt(what, error);
  }
  return fields(json, what);
}

/** The fields of what must be a map. */
export function fields(
  json: Json | undefined,
  what: string,
): { readonly [key: string]: Json } {
  if (json === null || typeof json !== "object" || Array.isArray(json)) {
    throw corrupt(what);
  }
  return json as { readonly [key: string]: Json };
}

/** What must be an array. */
export function list(json: Json | undefined): readonly Json[] {
  if (!Array.isArray(json)) throw corrupt("record");
  return json as readonly Json[]; // JSON holds JSON
}

/** A field that must be a string. */
export function text(json: Json | undefined): string {
  if (typeof json !== "string") throw corrupt("record");
  return json;
}

/** A field that must be an integer from 0. */
export function uint(json: Json | undefined): number {
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0) {
    throw corrupt("record");
  }
  return json;
}

/** The error for bytes that cannot be what they should be; never an empty store. */
export function corrupt(what: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError(
    "store_unreadable",
    `Cannot read ${what}: its bytes are corrupt`,
    {
      cause,
    },
  );
}
