/**
 * What `createStore` defines: a pattern, the state to begin with, and hooks. A
 * definition costs nothing until one of its stores is used.
 *
 * @module
 */
import {
  cleanName,
  cleanValue,
  freezeDeep,
  type Json,
} from "../../protocol/value.ts";
import { DEFAULT_HISTORY, type History } from "../log/compaction.ts";

/** A store's state: an object of JSON values. */
export type StateObject = { readonly [key: string]: Json };

/** Behaviour of the stores of one definition. */
export interface StoreOptions {
  /** A store ends by itself so many milliseconds after its creation. */
  readonly ttlMs?: number;
  /** How much of the past is kept. @default 1,000 versions, 7 days, 16 MiB, whichever is least */
  readonly history?: Partial<History>;
}

/**
 * Called once per life of a store, when it is first subscribed, changed or
 * initialised. What it returns is merged into the initial state. The key is null
 * for a static store.
 */
export type CreateHook<T> = (
  key: string | null,
) => Partial<T> | void | Promise<Partial<T> | void>;

/** Called before a store is reset or deleted; may still read it. */
export type TerminateHook = (key: string | null) => void | Promise<void>;

/** See the module's documentation. */
export class StoreDefinition {
  /** Full name, or prefix of the full names of a dynamic definition. */
  readonly prefix: string;
  readonly isDynamic: boolean;
  readonly initial: StateObject;
  readonly history: History;
  readonly ttlMs: number | undefined;
  onCreate: CreateHook<unknown> | undefined;
  onTerminate: TerminateHook | undefined;

  /**
   * Checks and copies what `createStore` was given.
   *
   * @throws {HeadwaterError} `bad_name` or `bad_value`.
   * @throws {TypeError} if the pattern or the initial state is of the wrong kind.
   * @throws {RangeError} if an option is not a positive number.
   */
  constructor(
    pattern: string,
    initial: unknown,
    options: StoreOptions,
    nameLength: number,
  ) {
    const name = cleanName(pattern, "store", nameLength);
    this.isDynamic = name.endsWith(":*");
    this.prefix = this.isDynamic ? name.slice(0, -1) : name;
    if (this.prefix.includes("*")) {
      throw new TypeError(
        `Cannot create store "${name}": "*" may only stand at the end, after ":"`,
      );
    }
    this.initial = toState(initial, `initial state of store "${name}"`);
    this.history = { ...DEFAULT_HISTORY, ...options.history };
    this.ttlMs = options.ttlMs;
    for (
      const [what, value] of Object.entries({
        ttlMs: options.ttlMs ?? 1,
        ...this.history,
      })
    ) {
      if (!(value >= 0)) {
        throw new RangeError(
          `Cannot create store "${name}": ${what} must be 0 or more, not ${value}`,
        );
      }
    }
  }

  /** The key of a full name that this definition covers: null for a static store. */
  keyOf(name: string): string | null | undefined {
    if (!this.isDynamic) return name === this.prefix ? null : undefined;
    const key = name.slice(this.prefix.length);
    // "Room:*" is the name of the definition and of none of its stores.
    const isKey = key !== "" && key !== "*";
    return name.startsWith(this.prefix) && isKey ? key : undefined;
  }

  /** The full name of a key. */
  nameOf(key: string | null): string {
    return key === null ? this.prefix : this.prefix + key;
  }
}

/** The definitions of a server; complete before anything is loaded. */
export class Definitions {
  readonly #static = new Map<string, StoreDefinition>();
  readonly #dynamic: StoreDefinition[] = [];

  /** Adds one. */
  add(definition: StoreDefinition): void {
    const isTaken = definition.isDynamic
      ? this.#dynamic.some(({ prefix }) => prefix === definition.prefix)
      : this.#static.has(definition.prefix);
    if (isTaken) {
      throw new TypeError(
        `Cannot create store "${definition.prefix}${
          definition.isDynamic ? "*" : ""
        }": it is defined already`,
      );
    }
    if (definition.isDynamic) this.#dynamic.push(definition);
    else this.#static.set(definition.prefix, definition);
  }

  /** What a full name belongs to; the longest prefix wins. */
  find(name: string): StoreDefinition | undefined {
    const exact = this.#static.get(name);
    if (exact) return exact;
    let best: StoreDefinition | undefined;
    for (const definition of this.#dynamic) {
      if (definition.keyOf(name) === undefined) continue;
      if (!best || definition.prefix.length > best.prefix.length) {
        best = definition;
      }
    }
    return best;
  }
}

/** A frozen copy of a value that is to be a store's state, or part of one: an object. */
export function toState(value: unknown, what: string): StateObject {
  const state = cleanValue(value, { what });
  if (state === null || typeof state !== "object" || Array.isArray(state)) {
    throw new TypeError(
      `Cannot use ${what}: a store's state must be an object`,
    );
  }
  // Narrowed by the line above; TypeScript keeps readonly arrays in the union.
  return freezeDeep(state as StateObject);
}
