/**
 * The change by which a store goes back to a state that it had.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { applyPatch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Changer } from "./change.ts";

/** A change to `past`, by no more than what differs: subscribers are sent the patch. */
export function restoreChange(past: Json): Changer {
  return (state) => {
    const patch = diffStates(state, shareEqual(state, past));
    const next = applyPatch(state, patch, { freeze: true });
    return { state: next, patch, value: undefined };
  };
}

/**
 * Returns `after` with parts of `before` in the place of those that equal them: the
 * difference of two states is found by what is the same object in both.
 */
export function shareEqual(before: Json, after: Json): Json {
  if (before === after || !isContainer(before) || !isContainer(after)) {
    return after;
  }
  if (Array.isArray(after)) {
    return Array.isArray(before) ? shareItems(before, after) : after;
  }
  if (Array.isArray(before)) return after;
  const [old, members] = [before, after] as Readonly<Record<string, Json>>[]; // neither is an array
  const shared: Record<string, Json> = {};
  const keys = Object.keys(members!);
  let isSame = keys.length === Object.keys(old!).length;
  for (const key of keys) {
    const member = members![key]!;
    if (!Object.hasOwn(old!, key)) {
      shared[key] = member;
      isSame = false;
      continue;
    }
    shared[key] = shareEqual(old![key]!, member);
    isSame &&= shared[key] === old![key];
  }
  return isSame ? before : shared;
}

function shareItems(before: readonly Json[], after: readonly Json[]): Json {
  const shorter = Math.min(before.length, after.length);
  const shared = [...after];
  const share = (index: number, from: number): boolean => {
    shared[index] = shareEqual(before[from]!, after[index]!);
    return shared[index] === before[from];
  };
  let head = 0;
  while (head < shorter && share(head, head)) head++;
  if (head === before.length && head === after.length) return before;
  const shift = before.length - after.length;
  let tail = after.length;
  while (
    tail > head && tail + shift > head && share(tail - 1, tail - 1 + shift)
  ) tail--;
  // What has moved is known by its content; the rest is compared where it stands.
  const moved = new Map<string, Json[]>();
  for (let from = head; from < tail + shift; from++) {
    const item = before[from]!;
    if (!isContainer(item)) continue;
    const text = JSON.stringify(item);
    const known = moved.get(text);
    if (known) known.push(item);
    else moved.set(text, [item]);
  }
  for (let index = head; index < tail; index++) {
    const found = isContainer(after[index]!) &&
      moved.get(JSON.stringify(after[index]))?.shift();
    if (found) shared[index] = found;
    else if (index < tail + shift) share(index, index);
  }
  return shared;
}

function isContainer(value: Json): value is Json & object {
  return typeof value === "object" && value !== null;
}
