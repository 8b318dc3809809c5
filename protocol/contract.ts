/**
 * The contract of an application: which stores, functions, mutators and events
 * it has, in one value that both ends import. This module is browser compatible.
 *
 * @module
 */
import { checkContract } from "./contract_check.ts";
import type { InputOf, OutputOf, Schema } from "./schema.ts";
import type { Json } from "./json.ts";

/** What the states of one definition must be, now and where they are older. */
export interface StateRules {
  /**
   * Checks the state after every write, on the server: what does not fit is
   * refused, and what the schema changes becomes the state. It must accept what
   * it gives, and be synchronous.
   */
  readonly schema?: Schema | undefined;
  /**
   * Number of the state's shape, an integer from 1. A state that was stored with
   * a lower one is migrated when it is loaded; with a higher one it is refused.
   *
   * @default 1
   */
  readonly version?: number | undefined;
  /**
   * Makes the present shape out of a copy of a state that was stored with
   * version `from`. Synchronous; may run more than once, and takes effect once,
   * as a version of the store. Where it throws the stored state stays as it was.
   *
   * @example A text becomes a list of lines
   * ```ts
   * import { defineApp } from "@headwater/sync/client";
   *
   * defineApp({
   *   stores: {
   *     Notes: {
   *       initial: { lines: [] as string[] },
   *       version: 2, // it was `{ text: string }` in version 1
   *       migrate: (state) => ({
   *         lines: (state as { text: string }).text.split("\\n"),
   *       }),
   *     },
   *   },
   * });
   * ```
   */
  migrate?(state: unknown, from: number): object;
}

/** A store of a contract, or with a name such as `"Room:*"` all of a kind. */
export interface StoreContract extends StateRules {
  /** The state that each begins with. */
  readonly initial: object;
}

/** A function of a contract; what has no schema is unknown and not checked. */
export interface FunctionContract {
  /** What it is called with. */
  readonly args?: Schema | undefined;
  /** What it returns. */
  readonly result?: Schema | undefined;
}

/** What a mutator knows of the write that it is run for; the same on both ends. */
export interface MutatorContext {
  /** The client that writes. */
  readonly clientId: string;
  /** The user behind it, as the server has authenticated it; null without. */
  readonly user: Json;
  /** When the write was made, in milliseconds since 1970. */
  readonly now: number;
  /** A new id; the n-th of a write is the same on both ends and in every run. */
  id(): string;
}

/** Any mutator; who runs one has looked up what it takes. */
export interface AnyMutator {
  /** The store that it changes, as the contract names it. */
  readonly store: string;
  /** Checks what it is called with. */
  readonly args?: Schema | undefined;
  /** See {@linkcode MutatorContract.run}. */
  run(draft: never, args: never, context: MutatorContext): unknown;
}

/** A change of one store that has a name: runs at once on the client, and decides on the server. */
export interface MutatorContract<Store, Input, Output, State>
  extends AnyMutator {
  /** The store that it changes, as the contract names it. */
  readonly store: Store & string;
  /** Checks what it is called with. */
  readonly args?: Schema<Input, Output> | undefined;
  /** Changes the draft in place, as a recipe does; what it throws refuses the write. */
  run(draft: State, args: Output, context: MutatorContext): unknown;
}

/**
 * What {@linkcode defineApp} returns. A part that is left out stays untyped and
 * unchecked: any store, function or event may have any name.
 */
export interface App<
  Stores = Readonly<Record<string, StoreContract>>,
  Functions = Readonly<Record<string, FunctionContract>>,
  Mutators = Readonly<Record<string, AnyMutator>>,
  Events = Readonly<Record<string, Schema>>,
  Presence = Schema,
> {
  /** Stores by name. */
  readonly stores?: Stores | undefined;
  /** Functions by name. */
  readonly functions?: Functions | undefined;
  /** Mutators by name. */
  readonly mutators?: Mutators | undefined;
  /** What each event carries, by channel. */
  readonly events?: Events | undefined;
  /** What a client tells the others of itself in a room. */
  readonly presence?: Presence | undefined;
}

/** The mutators of a contract: `Names` has the store of each, `Input` and `Output` its arguments. */
export type MutatorsOf<Stores, Names, Input, Output> = {
  readonly [M in keyof Names]: MutatorContract<
    Names[M],
    M extends keyof Input ? Input[M] : unknown,
    M extends keyof Output ? Output[M] : unknown,
    Names[M] extends keyof Stores ? StateIn<Stores[Names[M]]> : never
  >;
};

/** The state of a {@linkcode StoreContract}. */
export type StateIn<S> = S extends { readonly schema: infer T } ? OutputOf<T>
  : S extends { readonly initial: infer T } ? T
  : never;

/** What may become the state of a {@linkcode StoreContract}: its schema may fill in the rest. */
export type StateInput<S> = S extends { readonly schema: infer T } ? InputOf<T>
  : S extends { readonly initial: infer T } ? T
  : never;

/** Holds `initial` and `migrate` of each store to the store's own schema. */
export type FittingStores<Stores> = {
  readonly [N in keyof Stores]: {
    readonly initial: StateInput<Stores[N]>;
    migrate?(state: unknown, from: number): StateInput<Stores[N]>;
  };
};

/**
 * Defines an application: give the same value to `createServer({ app })` and
 * `createClient(url, { app })`, and names, arguments, results, states and events
 * have types on both. A client that needs no mutators may import the type alone:
 * `createClient<typeof app>(url)`.
 *
 * The server checks by the schemas what comes in, what is stored and what goes
 * out; any library of Standard Schema will do.
 *
 * A contract that a page loads is part of its bundle. Import `defineApp` from
 * `@headwater/sync/client` there, since `@headwater/sync` holds the server, too; and of
 * zod take `import * as z from "zod"` (83 KB minified, 25 KB gzipped), where
 * `import { z } from "zod"` keeps a bundler from leaving anything out (443 KB, 92 KB).
 *
 * @example A contract
 * ```ts
 * import { defineApp } from "@headwater/sync/client";
 * import * as z from "zod";
 *
 * export const app = defineApp({
 *   stores: {
 *     Todos: {
 *       schema: z.object({ items: z.array(z.object({ id: z.string(), text: z.string() })) }),
 *       initial: { items: [] },
 *     },
 *     "Room:*": { initial: { messages: [] as string[] } }, // typed, not checked
 *   },
 *   functions: {
 *     "todos.count": { result: z.number() },
 *   },
 *   mutators: {
 *     addTodo: {
 *       store: "Todos",
 *       args: z.object({ text: z.string().min(1) }),
 *       run: (todos, { text }, ctx) => void todos.items.push({ id: ctx.id(), text }),
 *     },
 *   },
 *   events: { toast: z.object({ text: z.string() }) },
 * });
 * ```
 *
 * @throws {TypeError} if there is no such part or field, it is of another kind, a mutator
 * changes a store that is not in the contract, or an event has the name of a channel on
 * which clients speak of themselves, such as `"connected"`.
 */
export function defineApp<
  Stores extends Readonly<Record<string, StoreContract>>,
  Functions extends Readonly<Record<string, FunctionContract>>,
  Names extends Readonly<Record<string, keyof Stores>>,
  Input extends Readonly<Record<keyof Names, unknown>>,
  Output extends Readonly<Record<keyof Names, unknown>>,
  Events extends Readonly<Record<string, Schema>>,
  Presence extends Schema,
>(parts: {
  readonly stores?: Stores & FittingStores<Stores>;
  readonly functions?: Functions;
  // The first tells a mutator its types; a compiler that has only that does not
  // see what the arguments are before it reads `run`.
  readonly mutators?:
    & {
      readonly [M in keyof Names]: {
        readonly store: Names[M];
        readonly args?: Schema<Input[M], Output[M]>;
        run(
          draft: StateIn<Stores[Names[M]]>,
          args: Output[M],
          context: MutatorContext,
        ): unknown;
      };
    }
    & {
      readonly [M in keyof Input]: {
        readonly args?: Schema<Input[M], unknown>;
      };
    }
    & {
      readonly [M in keyof Output]: {
        readonly args?: Schema<unknown, Output[M]>;
      };
    };
  readonly events?: Events;
  readonly presence?: Presence;
}): App<
  Stores,
  Functions,
  MutatorsOf<Stores, Names, Input, Output>,
  Events,
  Presence
> {
  checkContract(parts);
  // The compiler cannot put the three views of a mutator together again.
  return parts as App<
    Stores,
    Functions,
    MutatorsOf<Stores, Names, Input, Output>,
    Events,
    Presence
  >;
}
