/**
 * Reads the frame of a client's writes: `write_maps.ts` backwards. This module is
 * browser compatible.
 *
 * @module
 */
import { toErrorBody } from "./error_body.ts";
import { type ErrorBody, HeadwaterError, LimitError } from "./errors.ts";
import { type FrameFields, isUint } from "./frame_fields.ts";
import {
  type ClientWrite,
  type MutateFrame,
  type RefusedFrame,
  WRITES_PER_BATCH,
} from "./frames.ts";
import { decodePatch } from "./patch_codec.ts";
import { cleanName, type Json } from "./value.ts";

/** Elements of a write: store, epoch, base, the own writes before it, and what it does. */
const ELEMENTS = 5;

/**
 * Reads a client's writes. What can be answered comes back as a
 * {@linkcode RefusedFrame}.
 *
 * @throws {HeadwaterError} `bad_frame` if it is no such frame.
 */
export function toMutate(
  fields: FrameFields,
  options: { readonly nameLength: number },
): MutateFrame | RefusedFrame {
  const id = fields.uint("i", 1);
  const elapsedMs = fields.uint("m");
  const oldest = fields.has("o") ? fields.uint("o", 1) : id;
  if (oldest > id) throw fields.conflict(`"o" (${oldest}) is over "i" (${id})`);
  const resent = fields.has("r") && fields.boolean("r");
  const exact = fields.has("x") && fields.boolean("x");
  const elements = fields.array("w");
  if (elements.length === 0 || elements.length % ELEMENTS !== 0) {
    throw fields.conflict(`"w" has ${elements.length} elements`);
  }
  const writes = readWrites(elements, fields, options);
  if (!Array.isArray(writes)) {
    return { type: "refused", of: "rpc", id, error: writes as ErrorBody }; // the other of two
  }
  return {
    type: "mut",
    id,
    oldest,
    elapsedMs,
    ...(resent && { resent }),
    ...(exact && { exact }),
    writes,
  };
}

function readWrites(
  elements: readonly Json[],
  fields: FrameFields,
  options: { readonly nameLength: number },
): ClientWrite[] | ErrorBody {
  try {
    const count = elements.length / ELEMENTS;
    if (count > WRITES_PER_BATCH) {
      throw new LimitError("write", "writesPerBatch", WRITES_PER_BATCH, count);
    }
    const writes: ClientWrite[] = [];
    for (let at = 0; at < elements.length; at += ELEMENTS) {
      const write = elements.slice(at, at + ELEMENTS);
      writes.push(toWrite(write, fields, options));
    }
    return writes;
  } catch (error) {
    const isFatal = error instanceof HeadwaterError &&
      error.code === "bad_frame";
    if (isFatal) throw error;
    return { ...toErrorBody(error, "bad_value"), outcome: "notApplied" };
  }
}

function toWrite(
  [name, epoch, base, after, action]: readonly (Json | undefined)[],
  fields: FrameFields,
  { nameLength }: { readonly nameLength: number },
): ClientWrite {
  if (
    typeof name !== "string" || typeof epoch !== "string" || !isUint(base) ||
    !Array.isArray(after) || !after.every((call) => isUint(call) && call > 0) ||
    !Array.isArray(action)
  ) {
    throw fields.conflict('"w" holds something that is no write');
  }
  const shared = {
    name: cleanName(name, "the store name", nameLength),
    epoch,
    base,
    after,
  };
  const [mutator, seed, args] = action as readonly (Json | undefined)[];
  if (typeof mutator !== "string") {
    return { ...shared, patch: decodePatch(action) };
  }
  if (typeof seed !== "string") {
    throw fields.conflict('"w" holds a mutator without a seed');
  }
  return {
    ...shared,
    mutator: cleanName(mutator, "the mutator name", nameLength),
    seed,
    ...(args !== undefined && { args }),
  };
}
