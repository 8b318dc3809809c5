/**
 * What clients write: changes that touch what others change, and changes that do
 * not, each of which means the same wherever it is made.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { Item, Ledger } from "./application.ts";
import { Breach } from "./breach.ts";

/** Ends a tag whose writes the stores refuse. */
export const REFUSED = "-no";
/** Ends a tag to whose writes the stores add something. */
export const MARKED = "-alt";

/**
 * - `"add"`: counts and lists; any two of them overlap.
 * - `"own"`: writes where nobody else does.
 * - `"insert"`: an item, anywhere in an array.
 * - `"mark"`: something within an item, if it is there.
 * - `"remove"`: an item, if it is there.
 * - `"both"`: one is removed, and another one marked.
 */
export type ChangeKind =
  | "add"
  | "own"
  | "insert"
  | "mark"
  | "remove"
  | "both";

/** One change, which a mutator may be called with. */
export interface Change {
  readonly kind: ChangeKind;
  readonly tag: string;
  /** Where an item is inserted. */
  readonly at: number;
  /** Id of the item that is removed, or marked where only that is done. */
  readonly target: string;
  /** Id of the item that is marked while the other one is removed. */
  readonly other: string;
  /** Characters of bulk; absent: as before. */
  readonly size?: number;
}

/** Makes a change, on either end. */
export function makeChange(draft: Ledger, change: Change): void {
  const { kind, tag, at, size } = change;
  draft.writes[tag] = (draft.writes[tag] ?? 0) + 1;
  if (size !== undefined) draft.pad = `${tag} `.padEnd(size, "x");
  if (kind === "add") {
    draft.n++;
    draft.list.unshift(tag);
    if (draft.list.length > 5) draft.list.splice(3, 1);
  }
  const { items } = draft;
  if (kind === "insert") {
    items.splice(Math.min(at, items.length), 0, { id: tag, marks: [] });
  }
  const { removed, marked } = idsOf(change);
  const index = items.findIndex(({ id }) => id === removed);
  if (index >= 0) items.splice(index, 1);
  items.find(({ id }) => id === marked)?.marks.push(tag);
}

/**
 * Whoever inserts, marks or removes an item hits that one, whatever others have done.
 * `returned`: items that were away in between; who has not seen them hits nothing.
 */
export function checkMeaning(
  { before, after, returned }: {
    readonly before: readonly Item[];
    readonly after: readonly Item[];
    readonly returned: ReadonlySet<string>;
  },
  change: Change,
): void {
  const { kind, tag } = change;
  const { removed, marked } = idsOf(change);
  if (returned.has(removed ?? "") || returned.has(marked ?? "")) return;
  // What was taken back, and made again, may be there twice.
  if (new Set(before.map(({ id }) => id)).size < before.length) return;
  const expected = before.filter(({ id }) => id !== removed).map((item) =>
    item.id === marked ? { ...item, marks: [...item.marks, tag] } : item
  );
  const rest = after.filter(({ id }) => id !== tag);
  const inserted = after.length - rest.length;
  const isRight = inserted === (kind === "insert" ? 1 : 0) &&
    isDeepStrictEqual(rest, expected);
  if (isRight) return;
  throw new Breach(
    `"${tag}" was to ${kind} ${change.target} ${change.other}, and made ${
      JSON.stringify(after)
    } of ${JSON.stringify(before)}`,
  );
}

function idsOf({ kind, target, other }: Change) {
  return {
    removed: kind === "remove" || kind === "both" ? target : undefined,
    marked: kind === "mark" ? target : kind === "both" ? other : undefined,
  };
}
