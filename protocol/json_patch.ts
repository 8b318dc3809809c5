/**
 * JSON Patch (RFC 6902), the form in which REST and history show changes. This
 * module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "./errors.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { type Patch, type PatchOp, WorkingCopy } from "./patch.ts";
import {
  cleanValue,
  equalValues,
  type Json,
  parsePointer,
  type Path,
  pointer,
} from "./value.ts";

/** One operation of a JSON Patch; `path` and `from` are JSON Pointers (RFC 6901). */
export type JsonPatchOperation =
  | {
    readonly op: "add" | "replace" | "test";
    readonly path: string;
    readonly value: Json;
  }
  | { readonly op: "remove"; readonly path: string }
  | {
    readonly op: "move" | "copy";
    readonly from: string;
    readonly path: string;
  };

/** What a JSON Patch makes of a document. */
export interface JsonPatchResult {
  /** The document with the changes. */
  readonly state: Json;
  /** The same changes in the compact form; tests are left out, a move is two steps. */
  readonly patch: Patch;
}

/**
 * Returns `document` as the operations make it; the document itself stays as it is.
 *
 * @example Test, then move
 * ```ts
 * import { applyJsonPatch } from "./json_patch.ts";
 * import assert from "node:assert/strict";
 *
 * const moved = applyJsonPatch({ old: 1 }, [
 *   { op: "test", path: "/old", value: 1 },
 *   { op: "move", from: "/old", path: "/new" },
 * ]);
 * assert.deepEqual(moved, { new: 1 });
 * ```
 *
 * @throws {HeadwaterError} `bad_patch` if an operation is malformed, does not fit
 * or is a test that fails; `bad_value` if its value cannot be shared.
 * @throws {LimitError} If a value would lie too deep, or a copied one holds too much.
 */
export function applyJsonPatch(
  document: Json,
  operations: readonly JsonPatchOperation[],
): Json {
  return fromJsonPatch(document, operations).state;
}

/**
 * Applies operations to `document` and returns the changes in the compact form too.
 * The operations may come from anywhere: everything about them is checked.
 *
 * @throws {HeadwaterError} As {@linkcode applyJsonPatch}.
 */
export function fromJsonPatch(
  document: Json,
  operations: unknown,
): JsonPatchResult {
  if (!Array.isArray(operations)) {
    throw refusal("a JSON Patch must be an array");
  }
  const copy = new WorkingCopy(document);
  const patch: PatchOp[] = [];
  const apply = (op: PatchOp): void => {
    copy.apply(op);
    patch.push(op);
  };
  for (const operation of operations) applyOperation(operation, copy, apply);
  return { state: copy.state, patch };
}

/** Writes a patch as operations of a JSON Patch. */
export function toJsonPatch(patch: Patch): JsonPatchOperation[] {
  return patch.map((op) => {
    const path = pointer(op.path);
    return op.op === "remove"
      ? { op: op.op, path }
      : { op: op.op, path, value: op.value };
  });
}

function applyOperation(
  operation: unknown,
  copy: WorkingCopy,
  apply: (op: PatchOp) => void,
): void {
  if (typeof operation !== "object" || operation === null) {
    throw refusal("an operation must be an object");
  }
  const { op, path: target, from: source, value } = operation as Record<
    string,
    unknown
  >;
  switch (op) {
    case "add":
    case "replace": {
      const path = resolve(target, copy);
      return apply({ op, path, value: cleanOperand(value, path) });
    }
    case "remove":
      return apply({ op, path: resolve(target, copy) });
    case "test": {
      const path = resolve(target, copy);
      if (!equalValues(valueAt(path, copy), cleanOperand(value, path))) {
        throw refusal(
          `the value at "${pointer(path)}" is not what the test says`,
          path,
        );
      }
      return;
    }
    case "copy": {
      const found = valueAt(resolve(source, copy), copy);
      const path = resolve(target, copy);
      // Copies of copies double with every operation: thirty are a billion values.
      const cleaned = cleanValue(found, {
        at: path,
        nodes: DEFAULT_LIMITS.nodes,
        what: "a copied value",
      });
      return apply({ op: "add", path, value: cleaned });
    }
    case "move": {
      const origin = resolve(source, copy);
      const found = valueAt(origin, copy);
      if (source === target) return;
      if (typeof target === "string" && target.startsWith(`${source}/`)) {
        throw refusal(`"${source}" cannot be moved into itself`, origin);
      }
      apply({ op: "remove", path: origin });
      const path = resolve(target, copy);
      return apply({
        op: "add",
        path,
        value: cleanValue(found, { at: path, what: "a moved value" }),
      });
    }
    default:
      throw refusal(
        "an operation must be add, remove, replace, move, copy or test",
      );
  }
}

function cleanOperand(value: unknown, path: Path): Json {
  if (value === undefined) {
    throw refusal(`the operation at "${pointer(path)}" has no value`, path);
  }
  return cleanValue(value, { at: path, what: "the operation's value" });
}

function valueAt(path: Path, copy: WorkingCopy): Json {
  const value = copy.get(path);
  if (value === undefined) {
    throw refusal(`there is nothing at "${pointer(path)}"`, path);
  }
  return value;
}

// No leading zero, sign or exponent (RFC 6901, section 4).
const INDEX = /^(0|[1-9][0-9]*)$/;

/** Turns a JSON Pointer into a path: what a segment is depends on what it points into. */
function resolve(target: unknown, copy: WorkingCopy): Path {
  if (typeof target !== "string") {
    throw refusal("path and from must be JSON Pointers");
  }
  const path: (string | number)[] = [];
  let parent: Json | undefined = copy.state;
  for (const segment of parsePointer(target)) {
    if (!Array.isArray(parent)) path.push(segment);
    else if (segment === "-") path.push(parent.length);
    else if (INDEX.test(segment)) path.push(Number(segment));
    else {throw refusal(
        `"${segment}" is no index of an array in "${target}"`,
        path,
      );}
    parent = childOf(parent, path.at(-1)!);
  }
  return path;
}

function childOf(
  parent: Json | undefined,
  segment: string | number,
): Json | undefined {
  if (
    typeof parent !== "object" || parent === null ||
    !Object.hasOwn(parent, segment)
  ) return undefined;
  return (parent as Record<string | number, Json>)[segment];
}

function refusal(why: string, path?: Path): HeadwaterError {
  return new HeadwaterError("bad_patch", `Cannot apply a JSON Patch: ${why}`, {
    path: path && pointer(path),
  });
}
