/**
 * Which values may be shared. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError, LimitError } from "./errors.ts";
import {
  isForbiddenKey,
  type Json,
  type Path,
  type PathSegment,
  pointer,
} from "./json.ts";
import { DEFAULT_DEPTH, MOST_NODES } from "./limits.ts";

export {
  cleanName,
  equalValues,
  freezeDeep,
  isForbiddenKey,
  type Json,
  type Path,
  type PathSegment,
  pointer,
} from "./json.ts";

/** Options of {@linkcode cleanValue}. */
export interface CleanOptions {
  /** Containers that may lie within each other; default 64. */
  depth?: number | undefined;
  /** Values that there may be in all; default 10 million. */
  nodes?: number | undefined;
  /** What is shared, for the message: "Cannot share the state: …"; default "the value". */
  what?: string | undefined;
  /** Where the value stands in what is shared; counts towards the depth. */
  at?: Path | undefined;
  /**
   * How many containers lie within each other in one that is clean and frozen already,
   * and is to be taken as it is; undefined for any other.
   */
  heightOf?: ((value: object) => number | undefined) | undefined;
}

/** Characters of a path that a message shows. */
const PATH_LENGTH = 80;

/**
 * Copies a value that may be shared, deeply, or refuses it.
 *
 * - −0 becomes 0 and a property that is undefined is left out; all else is kept.
 * - The copy shares no object with `value` and is not frozen.
 * - Drafts are read through.
 *
 * @example Copy, and refuse
 * ```ts
 * import { cleanValue } from "./value.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(cleanValue({ seats: 3, note: undefined }), { seats: 3 });
 * assert.throws(() => cleanValue({ at: [new Date()] }), { code: "bad_value", path: "/at/0" });
 * ```
 *
 * @throws {HeadwaterError} `bad_value` with the path of what cannot be shared.
 * @throws {LimitError} If the value is nested too deeply or holds too much.
 */
export function cleanValue(value: unknown, options: CleanOptions = {}): Json {
  return new Cleaning(value, options).copy(value, 0);
}

/** One run of {@linkcode cleanValue}. */
class Cleaning {
  readonly #root: unknown;
  readonly #options: CleanOptions;
  readonly #maxDepth: number;
  readonly #maxNodes: number;
  #nodes = 0;
  // Segments from the root to the value at hand; entries beyond its depth are stale.
  readonly #path: PathSegment[] = [];

  constructor(root: unknown, options: CleanOptions) {
    this.#root = root;
    this.#options = options;
    this.#maxDepth = (options.depth ?? DEFAULT_DEPTH) -
      (options.at?.length ?? 0);
    this.#maxNodes = options.nodes ?? MOST_NODES;
  }

  copy(value: unknown, depth: number): Json {
    switch (typeof value) {
      case "string":
        if (!value.isWellFormed()) {
          throw this.#refusal(depth, "a string with a lone surrogate");
        }
        return value;
      case "number":
        if (!Number.isFinite(value)) throw this.#refusal(depth, String(value));
        return value === 0 ? 0 : value; // −0 is not the same on the wire and in JSON
      case "boolean":
        return value;
      case "object":
        if (value === null) return null;
        return this.#copyContainer(value, depth);
      default:
        throw this.#refusal(depth, describe(value));
    }
  }

  #copyContainer(value: object, depth: number): Json {
    const height = this.#options.heightOf?.(value);
    if (depth + (height ?? 1) > this.#maxDepth) throw this.#tooDeep(depth);
    if (height !== undefined) return value as Json; // says who gave `heightOf`
    if (Array.isArray(value)) {
      if (Object.getPrototypeOf(value) !== Array.prototype) {
        throw this.#refusal(depth, describe(value));
      }
      return this.#copyArray(value, depth);
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw this.#refusal(depth, describe(value));
    }
    return this.#copyObject(value as Record<string, unknown>, depth); // plain, by the lines above
  }

  #copyArray(value: readonly unknown[], depth: number): Json {
    const length = value.length;
    // Counted before anything is made, since `length = 4294967295` costs its author nothing.
    this.#count(length);
    const copy: Json[] = [];
    for (let index = 0; index < length; index++) {
      this.#path[depth] = index;
      copy.push(this.copy(value[index], depth + 1));
    }
    return copy;
  }

  #copyObject(value: Record<string, unknown>, depth: number): Json {
    if (Object.getOwnPropertySymbols(value).length > 0) {
      throw this.#refusal(depth, "an object with a symbol as key");
    }
    const keys = Object.keys(value);
    this.#count(keys.length);
    const copy: Record<string, Json> = {};
    for (const key of keys) {
      this.#path[depth] = key;
      if (isForbiddenKey(key)) {
        throw this.#refusal(depth + 1, `the key "${key}"`);
      }
      if (!key.isWellFormed()) {
        throw this.#refusal(depth + 1, "a key with a lone surrogate");
      }
      // A getter could answer the copy and its next reader differently. (A draft's
      // handler answers with a value.)
      if (Object.getOwnPropertyDescriptor(value, key)?.get) {
        throw this.#refusal(depth + 1, "a getter");
      }
      const member = value[key];
      if (member === undefined) continue;
      copy[key] = this.copy(member, depth + 1);
    }
    return copy;
  }

  #count(nodes: number): void {
    this.#nodes += nodes;
    if (this.#nodes > this.#maxNodes) {
      throw new LimitError(
        this.#action(),
        "nodes",
        this.#maxNodes,
        this.#nodes,
      );
    }
  }

  #tooDeep(depth: number): Error {
    const around = cycleIn(this.#root, this.#path.slice(0, depth));
    // Where it closes first: what follows only goes round and round.
    if (around > 0) {
      return this.#refusal(around, "an object that contains itself");
    }
    const depthLimit = this.#options.depth ?? DEFAULT_DEPTH;
    return new LimitError(this.#action(), "depth", depthLimit, depthLimit + 1);
  }

  #refusal(depth: number, found: string): HeadwaterError {
    // The error crosses the wire too, so a key that cannot must not stand in it.
    const path = pointer([
      ...this.#options.at ?? [],
      ...this.#path.slice(0, depth),
    ]).toWellFormed();
    const where = path === "" ? "" : ` at ${shownPath(path)}`;
    return new HeadwaterError(
      "bad_value",
      `Cannot ${this.#action()}: found ${found}${where}`,
      { path },
    );
  }

  #action(): string {
    return `share ${this.#options.what ?? "the value"}`;
  }
}

/** After how many steps of the path it comes to where it was before; 0 where it never does. */
function cycleIn(root: unknown, path: Path): number {
  const ancestors = new Set<unknown>([root]);
  let value = root;
  for (const [index, segment] of path.entries()) {
    value = (value as Record<PathSegment, unknown>)[segment]; // the path was just walked
    if (ancestors.has(value)) return index + 1;
    ancestors.add(value);
  }
  return 0;
}

/** A path as a message shows it: the two ends of a long one. */
function shownPath(path: string): string {
  if (path.length <= PATH_LENGTH) return path;
  const half = PATH_LENGTH / 2;
  return `${path.slice(0, half)}…${path.slice(-half)}`.toWellFormed();
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "bigint") return "a BigInt";
  if (typeof value !== "object") return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== ""
    ? `an instance of ${name}`
    : "an object that is not plain";
}

/**
 * Reads a JSON Pointer (RFC 6901). Every segment is a string: only the value
 * that it points into tells an index from a key.
 *
 * @throws {HeadwaterError} `bad_patch` if it is no JSON Pointer.
 */
export function parsePointer(text: string): string[] {
  if (text === "") return [];
  if (!text.startsWith("/") || /~(?![01])/.test(text) || !text.isWellFormed()) {
    throw new HeadwaterError(
      "bad_patch",
      `Cannot read "${text.toWellFormed()}" as a JSON Pointer`,
    );
  }
  return text.slice(1).split("/").map((segment) =>
    segment.replaceAll("~1", "/").replaceAll("~0", "~")
  );
}
