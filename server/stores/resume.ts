/**
 * Resumes that memory cannot answer: the log proves the token, or refuses it.
 *
 * @module
 */
import type { ResumeToken } from "../../protocol/frames.ts";
import type { Patch } from "../../protocol/patch.ts";
import type { StoreId } from "../log/keys.ts";
import { readHead, readSince } from "../log/reader.ts";
import type { Kv } from "../ports.ts";

/**
 * The patches from the token's version up to `version`; undefined where the log
 * does not reach back so far, or was written by somebody else than the token says.
 */
export async function readMissed(
  kv: Kv,
  id: StoreId,
  token: ResumeToken,
  version: number,
): Promise<Patch[] | undefined> {
  // Nothing made version 0, so nothing can prove it.
  if (token.version === 0) return undefined;
  const read = await readHead(kv, id);
  if (!read || read.head.epoch !== token.epoch) return undefined;
  // One version below, so that the entry which made the token's version is read as well.
  const entries = await readSince(kv, id, read, token.version - 1);
  if (!entries) return undefined;
  const patches: Patch[] = [];
  for (const { from, writer, mutations } of entries) {
    for (const [index, { patch }] of mutations.entries()) {
      const made = from + index + 1;
      if (made === token.version && writer !== token.writer) return undefined;
      if (made > token.version && made <= version) patches.push(patch);
    }
  }
  return patches.length === version - token.version ? patches : undefined;
}
