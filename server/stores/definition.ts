/**
 * What `createStore` defines: a pattern, the state to begin with, and hooks. A
 * definition costs nothing until one of its stores is used.
 *
 * @module
 */
import type { StateRules } from "../../protocol/contract.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { checkSchema } from "../../protocol/schema_check.ts";
import { definedName } from "../defined_name.ts";
import { DEFAULT_HISTORY, type History } from "../log/compaction.ts";
import type { Guard } from "./change.ts";
import { conform } from "./conform.ts";
import { interceptChange, type Interceptor } from "./intercept.ts";
import { quote } from "./quoting_error.ts";
import { fitState, type StateObject, toState } from "./state.ts";
import {
  type AccessRule,
  checkStoreOptions,
  type CreateHook,
  type IdleHook,
  type SelfDestruct,
  type StoreOptions,
  type TerminateHook,
} from "./store_options.ts";
import { checkTtl } from "./time_to_live.ts";
import type { ViewRules } from "./views.ts";

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
  /** Who may subscribe to its stores. */
  readonly read: AccessRule;
  /** Which clients may write to them; undefined where nothing was said. */
  readonly write: AccessRule | undefined;
  readonly #intercept: Interceptor<unknown> | undefined;

  /**
   * Checks and copies what `createStore` was given.
   *
   * @throws {HeadwaterError} `bad_name`, `bad_value`, or `invalid` by the schema.
   * @throws {TypeError} if the initial state is of the wrong kind, or an option is; or if
   * there is no such option.
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
    checkStoreOptions(name, options);
    const { schema, version = 1, migrate } = options;
    if (schema !== undefined) {
      checkSchema(schema, `Cannot create store "${name}": schema`);
    }
    // What else the options hold is no rule, and may be large.
    this.rules = { schema, version, ...(migrate && { migrate }) };
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
    checkTtl(`Cannot create store "${name}"`, options.ttlMs);
    this.ttlMs = options.ttlMs;
    this.selfDestruct = options.selfDestruct;
    this.read = options.read ?? true;
    this.write = options.write;
    const { view, audience } = options;
    if (audience && !view) {
      throw new TypeError(
        `Cannot create store "${name}": it has an audience, but no view`,
      );
    }
    // Untyped from here on, as below.
    this.view = view && { view: view as ViewRules["view"], audience };
    // Untyped from here on: the definition does not know T.
    this.#intercept = options.intercept as Interceptor<unknown> | undefined;
    for (const [what, value] of Object.entries(this.history)) {
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
    return this.view !== undefined || typeof this.read === "function" ||
      typeof this.write === "function";
  }

  /** What looks at every change of a store before it counts; undefined where nothing does. */
  guardOf(name: string): Guard | undefined {
    const intercept = this.#intercept;
    const { schema } = this.rules;
    if (!intercept && !schema) return undefined;
    const key = this.keyOf(name) ?? null;
    const hides = this.view !== undefined;
    const guard: Guard = (before, change, writer) => {
      let next = change;
      // What the store itself does, such as to begin its life, is nobody's write.
      if (intercept && writer && change.initialized === undefined) {
        const about = { before, writer, name, key };
        next = interceptChange(intercept, change, about);
      }
      return schema ? conform(before, next, { schema, name, hides }) : next;
    };
    if (!hides) return guard;
    return (before, change, writer) => {
      try {
        return guard(before, change, writer);
      } catch (error) {
        const isMeant = error instanceof HeadwaterError;
        if (isMeant || writer?.clientId === undefined) throw error;
        // It was told what the state has, and may say so.
        throw quote(error, `Cannot write to store "${name}": its rules failed`);
      }
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
