/**
 * Takes back what a client has written, without what others wrote since. This
 * module is browser compatible.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { applyPatch, type PatchOp, WorkingCopy } from "../../protocol/patch.ts";
import {
  equalValues,
  type Json,
  type Path,
  type PathSegment,
} from "../../protocol/value.ts";
import { PendingEntry, type Step } from "./pending_entry.ts";

/** Puts an entry into the queue. */
export type UndoWriter<R> = (entry: PendingEntry) => R;

/** Own changes of one store that can be taken back, and those that were. */
export class UndoStack {
  readonly #most: number;
  readonly #done: PendingEntry[][] = [];
  readonly #undone: PendingEntry[][] = [];
  /** That of the last change. */
  #batch: object | undefined;
  /** What was taken from where, by the entry that does it. */
  readonly #moved = new WeakMap<
    PendingEntry,
    { readonly from: PendingEntry[][]; readonly group: PendingEntry[] }
  >();

  /** So many changes can be taken back. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether there is something to take back. */
  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  /** Whether something was taken back, and nothing written since. */
  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  /** The client has written; the writes of a batch go together. */
  wrote(entry: PendingEntry, batch: object | undefined): void {
    if (entry.patch?.length === 0) return;
    this.#undone.length = 0;
    const last = this.#done.at(-1);
    if (last && batch && batch === this.#batch) last.push(entry);
    else this.#done.push([entry]);
    this.#batch = batch;
    if (this.#done.length > this.#most) this.#done.shift();
  }

  /** A write was refused: there is nothing to take back, or as much as before. */
  forget(entry: PendingEntry): void {
    for (const changes of [this.#done, this.#undone]) {
      const others = changes.map((group) =>
        group.filter((other) => other !== entry)
      ).filter((group) => group.length > 0);
      changes.splice(0, changes.length, ...others);
    }
    const moved = this.#moved.get(entry);
    moved?.from.push(moved.group);
    this.#moved.delete(entry);
  }

  /**
   * Takes the last change back by `write`; undefined where there is none.
   *
   * @throws {HeadwaterError} `conflict` if others have changed the same since: it stays
   * as it is, and the change before it is the next to be taken back.
   */
  undo<R>(write: UndoWriter<R>): R | undefined {
    return this.#move(this.#done, this.#undone, write);
  }

  /** Makes the change again that was taken back last; undefined where there is none. */
  redo<R>(write: UndoWriter<R>): R | undefined {
    return this.#move(this.#undone, this.#done, write);
  }

  #move<R>(
    from: PendingEntry[][],
    to: PendingEntry[][],
    write: UndoWriter<R>,
  ): R | undefined {
    const group = from.at(-1);
    if (!group) return undefined;
    const entry = new PendingEntry((state) => revert(state, group));
    try {
      const result = write(entry);
      from.pop();
      to.push([entry]);
      this.#moved.set(entry, { from, group });
      return result;
    } catch (error) {
      // It would stand in the way of those before it for ever; whatever else has
      // failed leaves as much to take back as there was.
      if (error instanceof HeadwaterError && error.code === "conflict") {
        from.pop();
      }
      throw error;
    }
  }
}

/** The step that reverts changes, newest first. */
function revert(state: Json, entries: readonly PendingEntry[]): Step {
  let next = state;
  for (const entry of entries.toReversed()) next = revertOne(next, entry);
  const patch = diffStates(state, next);
  return { state: applyPatch(state, patch, { freeze: true }), patch };
}

function revertOne(state: Json, { before, patch = [] }: PendingEntry): Json {
  if (before === undefined) return state;
  // What each step found, and what it left behind.
  const states: Json[] = [before];
  for (const op of patch) states.push(applyPatch(states.at(-1)!, [op]));
  const copy = new WorkingCopy(state);
  for (const [index, op] of [...patch.entries()].toReversed()) {
    const [found, left] = [states[index]!, states[index + 1]!]; // one more than steps
    copy.apply(inverseOf(op, { found, left, now: copy.state }));
  }
  return copy.state;
}

/** The step that takes `op` back as things are now. */
function inverseOf(
  op: PatchOp,
  { found, left, now }: { found: Json; left: Json; now: Json },
): PatchOp {
  const parent = findContainer(op.path.slice(0, -1), left, now);
  const last = op.path.at(-1);
  if (parent === undefined) throw changedSince();
  if (last === undefined) {
    // The whole state was replaced.
    if (!equalValues(now, left)) throw changedSince();
    return { op: "replace", path: [], value: found };
  }
  const container = valueAt(now, parent)!; // it was found
  if (op.op === "remove") {
    const value = valueAt(found, op.path)!; // the step could be made
    if (Array.isArray(container)) {
      const at = Math.min(Number(last), container.length);
      return { op: "add", path: [...parent, at], value };
    }
    if (valueAt(now, [...parent, last]) !== undefined) throw changedSince();
    return { op: "add", path: [...parent, last], value };
  }
  const path = findValue([...parent, last], op.value, now);
  if (path === undefined) throw changedSince();
  // An item that was inserted goes; a member that was there before comes back.
  const isInsert = op.op === "add" && Array.isArray(container);
  const old = isInsert ? undefined : valueAt(found, op.path);
  return old === undefined
    ? { op: "remove", path }
    : { op: "replace", path, value: old };
}

/**
 * Where the container is now that was at `path` in `left`: others may have moved
 * the items of arrays on the way. Undefined where it is not there as it was left.
 */
function findContainer(path: Path, left: Json, now: Json): Path | undefined {
  let found: PathSegment[] = [];
  for (const [depth, segment] of path.entries()) {
    const value = valueAt(left, path.slice(0, depth + 1));
    if (value === undefined) return undefined;
    const isItem = typeof segment === "number";
    const next = isItem
      ? findValue([...found, segment], value, now)
      : [...found, segment];
    if (next === undefined || valueAt(now, next) === undefined) {
      return undefined;
    }
    found = [...next];
  }
  return found;
}

/** Where `value` is: at the path, or as the one item in the same array that is it. */
function findValue(path: Path, value: Json, now: Json): Path | undefined {
  const there = valueAt(now, path);
  if (there !== undefined && isSame(there, value)) return path;
  const parent = path.slice(0, -1);
  const container = valueAt(now, parent);
  if (!Array.isArray(container)) return undefined;
  const places = container.flatMap((item: Json, at) =>
    isSame(item, value) ? [at] : []
  );
  return places.length === 1 ? [...parent, places[0]!] : undefined;
}

/** Whether two values are one: items may have changed otherwise, but keep their `id`. */
function isSame(a: Json, b: Json): boolean {
  const id = idOf(a);
  return id === undefined ? equalValues(a, b) : id === idOf(b);
}

function idOf(value: Json): Json | undefined {
  const id = valueAt(value, ["id"]);
  return typeof id === "string" || typeof id === "number" ? id : undefined;
}

function valueAt(state: Json, path: Path): Json | undefined {
  let value: Json | undefined = state;
  for (const segment of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Object.hasOwn(value, segment)
      ? (value as Readonly<Record<PathSegment, Json>>)[segment]
      : undefined;
  }
  return value;
}

function changedSince(): HeadwaterError {
  return new HeadwaterError(
    "conflict",
    "Cannot take the change back: others have changed the same since",
    { outcome: "notSent" },
  );
}
