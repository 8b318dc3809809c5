/**
 * The patch between two states that share what did not change. This module is
 * browser compatible.
 *
 * @module
 */
import type { Patch, PatchOp } from "./patch.ts";
import {
  cleanValue,
  isForbiddenKey,
  type Json,
  type PathSegment,
} from "./value.ts";

/**
 * Returns a patch that makes `after` out of `before`. What is the same object in
 * both is not looked into, so the cost is that of the containers that changed.
 *
 * - An array's items are told by identity: an insert at its front is one `add`,
 *   whatever its length.
 * - Values in the patch are copies that may be shared; `after` may hold anything.
 *
 * @throws {HeadwaterError} `bad_value` if a changed part of `after` cannot be shared.
 */
export function diffStates(
  before: Json,
  after: unknown,
  what = "the state",
): Patch {
  const difference = new Difference(what);
  difference.compare(before, after);
  return difference.ops;
}

/** As many values as `cleanValue` takes. */
const MOST_NEW_ITEMS = 10_000_000;

/** An object that is neither null nor an array. */
type Members = Readonly<Record<string, unknown>>;

/** One run of {@linkcode diffStates}. */
class Difference {
  readonly ops: PatchOp[] = [];
  readonly #what: string;
  // Where the two values that are being compared stand.
  readonly #path: PathSegment[] = [];

  constructor(what: string) {
    this.#what = what;
  }

  /** Adds the steps from `before` to `after`; false if nothing of `before` is left. */
  compare(before: Json, after: unknown): boolean {
    if (before === after) return true;
    if (Array.isArray(before)) {
      if (isPlainArray(after)) return this.#compareArrays(before, after);
    } else if (
      typeof before === "object" && before !== null && isPlainObject(after)
    ) {
      return this.#compareObjects(
        before as Readonly<Record<string, Json>>,
        after,
      );
    }
    return this.#replace(after);
  }

  #compareObjects(
    before: Readonly<Record<string, Json>>,
    after: Members,
  ): boolean {
    const start = this.ops.length;
    let isKept = false;
    for (const key of Object.keys(before)) {
      const member = Object.hasOwn(after, key) ? after[key] : undefined;
      this.#path.push(key);
      if (member === undefined) this.#remove();
      else if (this.compare(before[key]!, member)) isKept = true;
      this.#path.pop();
    }
    for (const key of Object.keys(after)) {
      if (Object.hasOwn(before, key) || after[key] === undefined) continue;
      // The copy of the whole refuses the key, with its path.
      if (isForbiddenKey(key) || !key.isWellFormed()) {
        return this.#replace(after);
      }
      this.#path.push(key);
      this.#put("add", after[key]);
      this.#path.pop();
    }
    const steps = this.ops.length - start;
    // The root is left alone: replacing it would hide in the log what has changed.
    if (!isKept && steps > 1 && this.#path.length > 0) {
      return this.#replaceSince(start, after);
    }
    return isKept || steps === 0;
  }

  #compareArrays(before: readonly Json[], after: readonly unknown[]): boolean {
    const start = this.ops.length;
    // `length = 4294967295` costs its author nothing; the copy refuses it at once.
    if (after.length > before.length + MOST_NEW_ITEMS) {
      return this.#replace(after);
    }
    const gap = trim(before, after);
    const head = gap.before[0];
    let kept = head + before.length - gap.before[1];
    // Counts from the left: all before `index` is as it will be.
    let index = head;
    for (
      const { before: [from, to], after: [first, end], kept: run } of findGaps(
        before,
        after,
        gap,
      )
    ) {
      const pairs = Math.min(to - from, end - first);
      for (let pair = 0; pair < pairs; pair++) {
        this.#path.push(index++);
        if (this.compare(before[from + pair]!, after[first + pair])) kept++;
        this.#path.pop();
      }
      this.#path.push(index);
      for (let extra = from + pairs; extra < to; extra++) this.#remove();
      this.#path.pop();
      for (let extra = first + pairs; extra < end; extra++) {
        this.#path.push(index++);
        this.#put("add", after[extra]);
        this.#path.pop();
      }
      index += run;
      kept += run;
    }

    const steps = this.ops.length - start;
    if (
      steps > 1 && kept * meanBytes(before) < (steps - 1) * this.#stepBytes()
    ) {
      return this.#replaceSince(start, after);
    }
    return kept > 0 || steps === 0;
  }

  /** Roughly what a step at an item of the array at hand takes beside its value. */
  #stepBytes(): number {
    return this.#path.reduce(
      (sum: number, segment) => sum + roughBytes(segment, Infinity),
      6,
    );
  }

  #replaceSince(start: number, after: unknown): false {
    this.ops.length = start;
    return this.#replace(after);
  }

  #replace(after: unknown): false {
    this.#put("replace", after);
    return false;
  }

  #put(op: "add" | "replace", after: unknown): void {
    const path = [...this.#path];
    this.ops.push({
      op,
      path,
      value: cleanValue(after, { at: path, what: this.#what }),
    });
  }

  #remove(): void {
    this.ops.push({ op: "remove", path: [...this.#path] });
  }
}

/** Ranges of two arrays, from the first index up to but not the second, that do not match. */
interface Gap {
  readonly before: readonly [number, number];
  readonly after: readonly [number, number];
}

/** A {@linkcode Gap} and how many items match after it. */
interface GapAndRun extends Gap {
  readonly kept: number;
}

/** Leaves out what is the same at both ends. */
function trim(before: readonly Json[], after: readonly unknown[]): Gap {
  // Two thirds of the time that 10,000 objects take go where V8 has met other
  // kinds of arrays (frozen, of numbers, with holes) and items in the loop that
  // compares. So long ones get a loop that meets one kind only: copies, of objects.
  const isSlow = before.length > 100 && typeof before[0] === "object";
  return isSlow ? trimObjects([...before], [...after]) : trimAny(before, after);
}

function trimAny(before: readonly Json[], after: readonly unknown[]): Gap {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < shorter - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) tail++;
  return {
    before: [head, before.length - tail],
    after: [head, after.length - tail],
  };
}

// The same once more: V8 keeps what it has met with the text of a function.
function trimObjects(before: readonly Json[], after: readonly unknown[]): Gap {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < shorter - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) tail++;
  return {
    before: [head, before.length - tail],
    after: [head, after.length - tail],
  };
}

/** Cuts a gap into smaller ones at the items that stay, in order. */
function findGaps(
  before: readonly Json[],
  after: readonly unknown[],
  gap: Gap,
): GapAndRun[] {
  const [from, to] = gap.before;
  const [first, end] = gap.after;
  if (from === to || first === end) return [{ ...gap, kept: 0 }];
  let matches: [number, number][] | undefined;
  if (to - from === end - first) matches = matchInPlace(before, after, gap);
  matches ??= matchMoved(before, after, gap);

  const gaps: GapAndRun[] = [];
  let open: [number, number] = [from, first];
  for (let at = 0; at < matches.length;) {
    const [i, j] = matches[at]!;
    let kept = 1;
    while (
      matches[at + kept]?.[0] === i + kept &&
      matches[at + kept]?.[1] === j + kept
    ) kept++;
    gaps.push({ before: [open[0], i], after: [open[1], j], kept });
    open = [i + kept, j + kept];
    at += kept;
  }
  gaps.push({ before: [open[0], to], after: [open[1], end], kept: 0 });
  return gaps;
}

/** The items that stand where they stood, if they are at least half of all. */
function matchInPlace(
  before: readonly Json[],
  after: readonly unknown[],
  gap: Gap,
): [number, number][] | undefined {
  const shift = gap.after[0] - gap.before[0];
  const matches: [number, number][] = [];
  for (let i = gap.before[0]; i < gap.before[1]; i++) {
    if (before[i] === after[i + shift]) matches.push([i, i + shift]);
  }
  return matches.length * 2 >= gap.before[1] - gap.before[0]
    ? matches
    : undefined;
}

/** The most items that are in both and in the same order (longest increasing subsequence). */
function matchMoved(
  before: readonly Json[],
  after: readonly unknown[],
  gap: Gap,
): [number, number][] {
  const places = new Map<unknown, number[]>();
  for (let i = gap.before[1] - 1; i >= gap.before[0]; i--) {
    const known = places.get(before[i]);
    if (known) known.push(i);
    else places.set(before[i], [i]);
  }
  // tops[n] ends the sequence of n + 1 matches that ends earliest in `before`.
  const tops: Link[] = [];
  for (let j = gap.after[0]; j < gap.after[1]; j++) {
    const i = places.get(after[j])?.pop();
    if (i === undefined) continue;
    let low = 0;
    for (let high = tops.length; low < high;) {
      const middle = (low + high) >> 1;
      if (tops[middle]!.i < i) low = middle + 1;
      else high = middle;
    }
    tops[low] = { i, j, previous: tops[low - 1] };
  }
  const matches: [number, number][] = [];
  for (let link = tops.at(-1); link; link = link.previous) {
    matches.push([link.i, link.j]);
  }
  return matches.reverse();
}

interface Link {
  readonly i: number;
  readonly j: number;
  readonly previous: Link | undefined;
}

/** Roughly the encoded size of an item of the array, by a few of them. */
function meanBytes(items: readonly Json[]): number {
  const step = Math.max(1, Math.floor(items.length / 8));
  let sum = 0;
  let count = 0;
  for (let index = 0; index < items.length; index += step) {
    sum += roughBytes(items[index]!, 1_000);
    count++;
  }
  return count === 0 ? 0 : sum / count;
}

/** Roughly the encoded size; stops looking at `enough`. */
function roughBytes(value: Json, enough: number): number {
  if (typeof value === "string") return value.length + 1;
  if (typeof value !== "object" || value === null) return 2;
  let sum = 1;
  for (const [key, member] of Object.entries(value)) {
    if (sum >= enough) break;
    sum += (Array.isArray(value) ? 0 : key.length + 1) +
      roughBytes(member, enough - sum);
  }
  return sum;
}

function isPlainArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) &&
    Object.getPrototypeOf(value) === Array.prototype;
}

function isPlainObject(value: unknown): value is Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return false;
  }
  const prototype = Object.getPrototypeOf(value);
  return (prototype === Object.prototype || prototype === null) &&
    // The copy of the whole refuses it.
    Object.getOwnPropertySymbols(value).length === 0;
}
