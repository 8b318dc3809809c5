/**
 * Why a numbered write was refused, as the KV keeps it.
 *
 * @module
 */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import { corrupt, text } from "./record.ts";

/** Why a numbered write was refused; said again to a call that is run again. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly path?: string;
  readonly data?: Json;
}

/** A refusal as records hold it. */
export function refusalToJson(refused: Refusal): readonly Json[] {
  const { code, message, path, data } = refused;
  if (path === undefined && data === undefined) return [code, message];
  return [code, message, path ?? null, ...(data === undefined ? [] : [data])];
}

/** The refusal that {@linkcode refusalToJson} wrote. */
export function refusalFromJson(x: Json): Refusal {
  if (!Array.isArray(x)) throw corrupt("refusal");
  const [code, message, path = null, data] = x as readonly Json[];
  return {
    code: text(code) as ErrorCode, // a code that is not known is passed on as it is
    message: text(message),
    ...(path !== null && { path: text(path) }),
    ...(data !== undefined && { data }),
  };
}
