/**
 * Makes a failing case as small as it can be made within some tries.
 *
 * @module
 */
import { failureOf, type FuzzCase } from "./cases.ts";
import { isSlow } from "./codec_target.ts";

/** Tries for a case that needs no server. */
const TRIES = 400;
/** The same for one that needs a fresh server each time. */
const SERVER_TRIES = 50;
/** Whatever the tries cost, no more than this. */
const LONGEST_MS = 30_000;

/** The smallest case that still fails; the case itself where it does not fail again. */
export async function shrink(
  found: FuzzCase,
  failure: string,
): Promise<FuzzCase> {
  let left = found.target === "codec" ? TRIES : SERVER_TRIES;
  const endMs = performance.now() + LONGEST_MS;
  // Asked before each try is made up, too: of a large case that alone takes long.
  const isOver = () => left <= 0 || performance.now() >= endMs;
  const fails = async (hex: readonly string[]) => {
    left--;
    return await failureOf({ ...found, hex }) !== undefined;
  };
  // What is slow is slow because it is large, and trying it takes as long.
  if (isSlow(failure) || !await fails(found.hex)) return found;
  let hex = await without(found.hex, { fails, isOver });
  for (let at = 0; at < hex.length; at++) {
    if (!/^([0-9a-f]{2})+$/.test(hex[at]!)) continue;
    const bytes = hex[at]!.match(/../g)!; // pairs, as the line above has seen
    const smaller = await without(
      bytes,
      { fails: (rest) => fails(hex.with(at, rest.join(""))), isOver },
    );
    hex = hex.with(at, smaller.join(""));
  }
  return { ...found, hex };
}

/** Leaves out what can be left out: halves first, then single items. */
async function without<T>(
  items: readonly T[],
  { fails, isOver }: {
    fails: (items: readonly T[]) => Promise<boolean>;
    isOver: () => boolean;
  },
): Promise<readonly T[]> {
  let kept = items;
  for (let size = Math.ceil(items.length / 2); size >= 1; size = size >> 1) {
    for (let at = 0; at < kept.length;) {
      if (isOver()) return kept;
      const rest = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (rest.length < kept.length && await fails(rest)) kept = rest;
      else at += size;
    }
  }
  return kept;
}
