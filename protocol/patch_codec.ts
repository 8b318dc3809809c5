/**
 * Patches in the form of log and wire, for who must not trust what it reads. This
 * module is browser compatible.
 *
 * @module
 */
import { LimitError } from "./errors.ts";
import { DEFAULT_DEPTH } from "./limits.ts";
import type { Patch, Path } from "./patch.ts";
import { CODES, malformedPatch, readPatch } from "./patch_reader.ts";
import { isForbiddenKey, type Json } from "./json.ts";

/**
 * Writes a patch in its wire form: for each step its code (1 add, 2 remove, none
 * for replace), its path, and its value unless it removes, all in one flat array.
 */
export function encodePatch(patch: Patch): Json {
  const flat: Json[] = [];
  for (const op of patch) {
    if (op.op !== "replace") flat.push(CODES[op.op]);
    flat.push(op.path);
    if (op.op !== "remove") flat.push(op.value);
  }
  return flat;
}

/** Array indexes end one below the largest length. */
const MAX_INDEX = 2 ** 32 - 2;

/**
 * Reads a patch from its wire form and checks its steps and paths. The values in
 * it are taken as they are: they have come through the codec, or go through
 * `cleanValue` next.
 *
 * @throws {HeadwaterError} `bad_patch` if it is no patch.
 * @throws {LimitError} If a path is longer than values may be deep.
 */
export function decodePatch(json: unknown): Patch {
  const patch = readPatch(json);
  for (const { path } of patch) checkPath(path);
  return patch;
}

function checkPath(path: Path): void {
  if (path.length > DEFAULT_DEPTH) {
    throw new LimitError(
      "read a patch",
      "depth",
      DEFAULT_DEPTH,
      path.length,
    );
  }
  for (const segment of path) {
    const isFine = typeof segment === "string"
      ? segment.isWellFormed() && !isForbiddenKey(segment)
      : Number.isInteger(segment) && segment >= 0 && segment <= MAX_INDEX;
    if (!isFine) {
      throw malformedPatch("a path has a segment that is not allowed");
    }
  }
}
