/**
 * What `createStore` defines: a pattern, the state to begin with, and hooks. A
 * definition costs nothing until one of its stores is used.
 *
 * @module
 */
import type { StateRules } from "../../protocol/contract.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { definedName } from "../defined_name.ts";
import { DEFAULT_HISTORY, type History } from "../log/compaction.ts";
import type { Guard } from "./change.ts";
import { conform } from "./conform.ts";
import {
  interceptChange,
  type InterceptContext,
  type Interceptor,
} from "./intercept.ts";
import { fitState, type StateObject, toState } from "./state.ts";
import type { ViewContext, ViewRules } from "./views.ts";
import type { AccessContext } from "./writer.ts";

/** Behaviour of the stores of one definition. */
export interface StoreOptions<T = Record<string, unknown>> extends StateRules {
  /**
   * Whether clients may subscribe to a store: all, none, or those for which this
   * returns true. It is asked before the store is loaded or created, and again
   * whenever the user behind a connection has changed: who may not any more gets
   * nothing further of it.
   *
   * @default true
   */
  readonly read?: boolean | ((context: AccessContext) => boolean);
  /**
   * What subscribers see in the place of the state; nothing else of it is sent to
   * them. Any JSON value.
   *
   * - It is made once for each audience and each change (under load, for some changes
   *   together), however many subscribers there are; what differs is sent.
   * - It must be synchronous, and depend on nothing but the state and the audience:
   *   the context is that of one of those who belong to it.
   * - Clients write to such a store by named mutators, not by patches. A mutator runs on
   *   the view in the client, and on the state in the server: it has to bear both.
   * - That the store has changed, and how often, is told in any case, by its version.
   *
   * @example Everybody sees their own hand of cards
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * server.createStore("Game", {
   *   table: [] as string[],
   *   hands: {} as Record<string, string[]>,
   * }, {
   *   audience: ({ clientId }) => clientId,
   *   view: ({ table, hands }, { audience }) => ({
   *     table,
   *     hand: hands[audience] ?? [],
   *   }),
   * });
   * ```
   */
  view?(state: T, context: ViewContext): unknown;
  /**
   * Who sees the same: subscribers for whom this returns the same text share a view.
   * By default each user has one, and each client where there is no user.
   */
  audience?(context: AccessContext): string;
  /**
   * Whether clients may write to a store, by patches and mutators: all, none, or
   * those for which this returns true. Functions write in any case.
   *
   * @default false
   */
  readonly write?: boolean | ((context: AccessContext) => boolean);
  /** Sees each write before it counts, and may change or drop it; see {@linkcode Interceptor}. */
  intercept?(
    updates: Partial<T>,
    context: InterceptContext<T>,
  ): Partial<T> | null;
  /** A store ends by itself so many milliseconds after its creation. */
  readonly ttlMs?: number;
  /**
   * Asked whenever a subscriber has left, with how many are left on all servers, and
   * when the store was created: where it returns true, the store is deleted.
   */
  readonly selfDestruct?: SelfDestruct;
  /** How much of the past is kept. @default 1,000 versions, 7 days, 16 MiB, whichever is least */
  readonly history?: Partial<History>;
}

/** Options of a store whose states are ruled by a contract. */
export type ContractStoreOptions<T> = Omit<StoreOptions<T>, keyof StateRules>;

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

/** Called when the last subscriber of a store, on whichever server, has left. */
export type IdleHook = (key: string | null) => void | Promise<void>;

/** Whether a store is to be deleted now that a subscriber has left. */
export type SelfDestruct = (
  clientsLeft: number,
  createdAt: Date,
) => boolean | Promise<boolean>;

/** See the module's documentation. */
export class StoreDefinition {
  /** Full name, or prefix of the full names of a dynamic definition. */
  readonly prefix: string;
  readonly isDynamic: boolean;
  readonly initial: StateObject;
  /** What its states must be. */
  readonly rules: StateRules;
  /** Number of the shape that its states have now. */
  readonly version: number;
  readonly history: History;
  readonly ttlMs: number | undefined;
  onCreate: CreateHook<unknown> | undefined;
  onTerminate: TerminateHook | undefined;
  onIdle: IdleHook | undefined;
  readonly selfDestruct: SelfDestruct | undefined;
  /** What its subscribers see, where that is not the state. */
  readonly view: ViewRules | undefined;
  readonly #read: boolean | ((context: AccessContext) => boolean);
  readonly #write: boolean | ((context: AccessContext) => boolean);
  readonly #intercept: Interceptor<unknown> | undefined;

  /**
   * Checks and copies what `createStore` was given.
   *
   * @throws {HeadwaterError} `bad_name`, `bad_value`, or `invalid` by the schema.
   * @throws {TypeError} if the initial state is of the wrong kind.
   * @throws {RangeError} if an option is not a positive number.
   */
  constructor(
    pattern: string,
    initial: unknown,
    options: StoreOptions,
    nameLength: number,
  ) {
    const name = definedName(pattern, "store", nameLength);
    this.isDynamic = name.endsWith(":*");
    this.prefix = this.isDynamic ? name.slice(0, -1) : name;
    if (this.prefix.includes("*")) {
      throw new HeadwaterError(
        "bad_name",
        `Cannot create store "${name}": "*" may only stand at the end, after ":"`,
      );
    }
    const { schema, version = 1 } = this.rules = options;
    const what = `initial state of store "${name}"`;
    const state = toState(initial, what);
    this.initial = schema ? fitState(schema, state, what) : state;
    if (!Number.isSafeInteger(version) || version < 1) {
      throw new RangeError(
        `Cannot create store "${name}": version must be an integer from 1, not ${version}`,
      );
    }
    this.version = version;
    this.history = { ...DEFAULT_HISTORY, ...options.history };
    this.ttlMs = options.ttlMs;
    this.selfDestruct = options.selfDestruct;
    this.#read = options.read ?? true;
    this.#write = options.write ?? false;
    if (typeof this.#read !== "boolean" && typeof this.#read !== "function") {
      throw new TypeError(
        `Cannot create store "${name}": read must be true, false or a function`,
      );
    }
    const { view, audience } = options;
    for (const [option, value] of Object.entries({ view, audience })) {
      if (value === undefined || typeof value === "function") continue;
      throw new TypeError(
        `Cannot create store "${name}": ${option} must be a function`,
      );
    }
    if (audience && !view) {
      throw new TypeError(
        `Cannot create store "${name}": it has an audience, but no view`,
      );
    }
    // Untyped from here on, as below.
    this.view = view && { view: view as ViewRules["view"], audience };
    // Untyped from here on: the definition does not know T.
    this.#intercept = options.intercept as Interceptor<unknown> | undefined;
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

  /** Whether anything depends on who subscribes to its stores. */
  get countsSubscribers(): boolean {
    return this.onIdle !== undefined || this.selfDestruct !== undefined;
  }

  /** The name that it was defined by: `"Todos"`, `"Room:*"`. */
  get pattern(): string {
    return this.isDynamic ? `${this.prefix}*` : this.prefix;
  }

  /** The key of a full name that this definition covers: null for a static store. */
  keyOf(name: string): string | null | undefined {
    if (!this.isDynamic) return name === this.prefix ? null : undefined;
    const key = name.slice(this.prefix.length);
    return name.startsWith(this.prefix) && isKey(key) ? key : undefined;
  }

  /** Whether anything of it is not the same for all users. */
  get isForSome(): boolean {
    return this.view !== undefined || typeof this.#read === "function" ||
      typeof this.#write === "function";
  }

  /** Whether who asks may subscribe to a store. */
  mayRead(context: AccessContext): boolean {
    const read = this.#read;
    return typeof read === "function" ? read(context) === true : read;
  }

  /** Whether who asks may write to a store. */
  mayWrite(context: AccessContext): boolean {
    const write = this.#write;
    return typeof write === "function" ? write(context) === true : write;
  }

  /** What looks at every change of a store before it counts; undefined where nothing does. */
  guardOf(name: string): Guard | undefined {
    const intercept = this.#intercept;
    const { schema } = this.rules;
    if (!intercept && !schema) return undefined;
    const key = this.keyOf(name) ?? null;
    const what = `state of store "${name}"`;
    return (before, change, writer) => {
      let next = change;
      // What the store itself does, such as to begin its life, is nobody's write.
      if (intercept && writer && change.initialized === undefined) {
        const about = { before, writer, name, key };
        next = interceptChange(intercept, change, about);
      }
      return schema ? conform(before, next, { schema, what }) : next;
    };
  }

  /** The full name of a key. */
  nameOf(key: string | null): string {
    return key === null ? this.prefix : this.prefix + key;
  }
}

/** Whether it can be a key: "Room:*" and "Room:a:*" are names of definitions, and of no store. */
export function isKey(key: string): boolean {
  return key !== "" && key !== "*" && !key.endsWith(":*");
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

  /** Whether anything depends on who subscribes, in any of them. */
  get countSubscribers(): boolean {
    for (const { countsSubscribers } of this.#static.values()) {
      if (countsSubscribers) return true;
    }
    return this.#dynamic.some(({ countsSubscribers }) => countsSubscribers);
  }

  /** Whether it is one of these. */
  has(definition: StoreDefinition): boolean {
    return definition.isDynamic
      ? this.#dynamic.includes(definition)
      : this.#static.get(definition.prefix) === definition;
  }

  /** Whether anything of them is not the same for all users. */
  get areForSome(): boolean {
    for (const { isForSome } of this.#static.values()) {
      if (isForSome) return true;
    }
    return this.#dynamic.some(({ isForSome }) => isForSome);
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
