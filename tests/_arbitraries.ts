/**
 * Random values, patches and JSON Patches for tests. Everything derives from a
 * seed, so a failure can be run again.
 *
 * @module
 */
import fc from "fast-check";
import {
  isForbiddenKey,
  type Json,
  type Path,
  pointer,
} from "../protocol/value.ts";
import { applyPatch, type Patch, type PatchOp } from "../protocol/patch.ts";
import {
  applyJsonPatch,
  type JsonPatchOperation,
} from "../protocol/json_patch.ts";

/** Keys that have tripped implementations up: empty, escapes, numbers, inherited names. */
const KEYS = [
  "a",
  "b",
  "c",
  "",
  "0",
  "1",
  "-",
  "a/b",
  "m~n",
  "~1",
  "length",
  "toString",
  "é",
  "日本",
];

/** Any value that may be shared, nested a few levels. */
export function anyJson(): fc.Arbitrary<Json> {
  const key = fc.oneof(
    fc.constantFrom(...KEYS),
    fc.string({ unit: "binary", maxLength: 6 }).filter((text) =>
      !isForbiddenKey(text)
    ),
  );
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((
    value,
  ) => value === 0 ? 0 : value);
  return fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.oneof(
        fc.constantFrom(null, true, false, ""),
        fc.integer(),
        number,
        fc.string({ unit: "binary" }),
      ),
      fc.array(tie("value"), { maxLength: 6 }),
      fc.dictionary(key, tie("value"), { maxKeys: 6, noNullPrototype: true }),
    ),
  })).value;
}

/** A source of numbers that gives the same ones for the same seed. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to but not 1 (mulberry32). */
  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from 0 up to but not `end`. */
  below(end: number): number {
    return Math.floor(this.float() * end);
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!; // callers pass at least one item
  }
}

/** A random value; at depth 0 never a container. */
export function randomJson(random: SeededRandom, depth: number): Json {
  const kind = random.below(depth > 0 ? 9 : 5);
  switch (kind) {
    case 0:
      return null;
    case 1:
      return random.below(2) === 0;
    case 2:
      return random.below(10);
    case 3:
      return random.float() * 1e6 - 5e5;
    case 4:
      return random.pick(KEYS);
    case 5:
    case 6:
      return Array.from(
        { length: random.below(5) },
        () => randomJson(random, depth - 1),
      );
    default:
      return randomObject(random, depth);
  }
}

/** A random object. */
export function randomObject(
  random: SeededRandom,
  depth: number,
): { readonly [key: string]: Json } {
  const members: Record<string, Json> = {};
  for (let count = random.below(5); count > 0; count--) {
    members[random.pick(KEYS)] = randomJson(random, depth - 1);
  }
  return members;
}

/** Every path into a value, its own included. */
export function allPaths(value: Json, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  const children = Array.isArray(value)
    ? value.flatMap((item, index) => allPaths(item, [...path, index]))
    : Object.entries(value).flatMap(([key, member]) =>
      allPaths(member, [...path, key])
    );
  return [path, ...children];
}

/** A patch of up to `steps` steps that fits `state`. */
export function randomPatch(
  random: SeededRandom,
  state: Json,
  steps: number,
): Patch {
  const patch: PatchOp[] = [];
  let current = state;
  for (let count = 1 + random.below(steps); count > 0; count--) {
    const op = randomOp(random, current);
    current = applyPatch(current, [op]);
    patch.push(op);
  }
  return patch;
}

function randomOp(random: SeededRandom, state: Json): PatchOp {
  const path = random.pick(allPaths(state));
  const value = randomJson(random, 2);
  const kind = random.below(3);
  if (kind === 0 && path.length > 0) return { op: "remove", path };
  if (kind === 1) return { op: "replace", path, value };
  const target = valueAt(state, path);
  if (Array.isArray(target)) {
    return {
      op: "add",
      path: [...path, random.below(target.length + 1)],
      value,
    };
  }
  if (typeof target === "object" && target !== null) {
    return { op: "add", path: [...path, random.pick(KEYS)], value };
  }
  return { op: "replace", path, value };
}

function isContainer(value: Json): boolean {
  return typeof value === "object" && value !== null;
}

/** The value at a path that exists. */
export function valueAt(value: Json, path: Path): Json {
  // The path is one of allPaths(value).
  return path.reduce<Json>(
    (at, segment) => (at as Record<string | number, Json>)[segment]!,
    value,
  );
}

/** Operations of a JSON Patch; about one in ten does not fit the document. */
export function randomOperations(
  random: SeededRandom,
  document: Json,
): JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = [];
  let current = document;
  for (let count = 1 + random.below(4); count > 0; count--) {
    const operation = randomOperation(random, current, allPaths(current));
    operations.push(operation);
    try {
      current = applyJsonPatch(current, [operation]);
    } catch {
      // The next one is made for the document as it was: that it follows one that does not fit is the point.
    }
  }
  return operations;
}

function randomOperation(
  random: SeededRandom,
  document: Json,
  paths: readonly Path[],
): JsonPatchOperation {
  // The root can be neither removed nor moved.
  const existing = random.pick(
    random.below(20) === 0 ? paths : paths.slice(paths.length > 1 ? 1 : 0),
  );
  const from = pointer(existing);
  const value = randomJson(random, 2);
  switch (random.below(6)) {
    case 0:
      return { op: "add", path: newPlace(random, document, paths), value };
    case 1:
      return { op: "remove", path: from };
    case 2:
      return { op: "replace", path: from, value };
    case 3:
      return { op: "move", from, path: newPlace(random, document, paths) };
    case 4:
      return { op: "copy", from, path: newPlace(random, document, paths) };
    default:
      return {
        op: "test",
        path: from,
        value: random.below(10) === 0 ? value : valueAt(document, existing),
      };
  }
}

/** Where something may be added: a member, an index, the end; now and then nowhere. */
function newPlace(
  random: SeededRandom,
  document: Json,
  paths: readonly Path[],
): string {
  const holders = paths.filter((path) => isContainer(valueAt(document, path)));
  const parent = random.pick(
    holders.length > 0 && random.below(20) > 0 ? holders : paths,
  );
  const target = valueAt(document, parent);
  if (Array.isArray(target)) {
    const last = random.below(4) === 0
      ? "-"
      : random.below(target.length + (random.below(10) === 0 ? 3 : 1));
    return `${pointer(parent)}/${last}`;
  }
  return pointer([...parent, random.pick(KEYS)]);
}
