/**
 * Patches as they come over the wire. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "./errors.ts";
import type { Patch, PatchOp, Path } from "./patch.ts";
import type { Json } from "./json.ts";

/** What stands in front of a step's path; a replace goes without. */
export const CODES = { add: 1, remove: 2 } as const;

/**
 * Reads a patch from its wire form, with the segments of its paths as they are:
 * `applyPatch` refuses those that lead nowhere. `decodePatch` checks them, too.
 *
 * @throws {HeadwaterError} `bad_patch` if it is no patch.
 */
export function readPatch(json: unknown): Patch {
  if (!Array.isArray(json)) throw malformedPatch("it is not an array");
  const patch: PatchOp[] = [];
  let at = 0;
  while (at < json.length) {
    const op = Array.isArray(json[at]) ? "replace" : toOp(json[at], at++);
    const path: Path = json[at]; // looked at below
    if (!Array.isArray(path) || !path.every(isSegment)) {
      throw malformedPatch(`element ${at} is not a path`);
    }
    at++;
    if (op === "remove") {
      patch.push({ op, path });
      continue;
    }
    if (at >= json.length) throw malformedPatch("the last value is missing");
    patch.push({ op, path, value: json[at++] as Json }); // checked by who gave it
  }
  return patch;
}

function isSegment(segment: unknown): boolean {
  return typeof segment === "string" || typeof segment === "number";
}

function toOp(code: unknown, at: number): "add" | "remove" {
  if (code === CODES.add) return "add";
  if (code === CODES.remove) return "remove";
  throw malformedPatch(`element ${at} is neither a path nor a code`);
}

/** The error for what is no patch. */
export function malformedPatch(why: string): HeadwaterError {
  return new HeadwaterError("bad_patch", `Cannot read a patch: ${why}`);
}
