/**
 * What `createStore` may be told of the behaviour of its stores.
 *
 * @module
 */
import type { StateRules } from "../../protocol/contract.ts";
import type { History } from "../log/compaction.ts";
import { checkKinds, type Kind } from "../option_kinds.ts";
import type { InterceptContext } from "./intercept.ts";
import type { ViewContext } from "./views.ts";
import type { AccessContext } from "./writer.ts";

/**
 * Who may: all, none, or those for whom it returns true. It must be synchronous; anything
 * but true refuses, and the server's `error` tells once where that was neither false nor
 * absent, such as a promise.
 */
export type AccessRule = boolean | ((context: AccessContext) => boolean);

/** Behaviour of the stores of one definition. */
export interface StoreOptions<T = Record<string, unknown>> extends StateRules {
  /**
   * Whether clients may subscribe to a store: all, none, or those for which this
   * returns true; it must be synchronous. It is asked before the store is loaded or created, and again
   * whenever the user behind a connection has changed: who may not any more gets
   * nothing further of it. Where it throws, nobody may.
   *
   * @default true
   */
  readonly read?: AccessRule;
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
   * - What mutators, `intercept` and the schema throw may quote what is hidden: clients
   *   are told no more than that it failed, unless it is a {@linkcode HeadwaterError}
   *   that a mutator or `intercept` has thrown.
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
   * those for which this returns true; it must be synchronous, and where it throws, nobody
   * may. Functions write in any case.
   *
   * What a client has written on a state of the store that was deleted meanwhile is
   * refused with `store_deleted`, and brings nothing back. A mutator runs on whatever
   * there is: where there is no such store, it creates it, as subscribing does.
   *
   * @default false
   */
  readonly write?: AccessRule;
  /** Sees each write before it counts, and may change or drop it; see {@linkcode Interceptor}. */
  intercept?(
    updates: Partial<T>,
    context: InterceptContext<T>,
  ): Partial<T> | null;
  /**
   * A store ends by itself so many milliseconds after its creation: a whole number, at most
   * 100 years.
   *
   * @default Infinity, which is never
   */
  readonly ttlMs?: number;
  /**
   * Asked whenever a subscriber has left, with how many are left on all servers, and
   * when the store was created: where it returns true, the store is deleted.
   *
   * @example A room ends with its last guest, or after a day
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * server.createStore("Room:*", { lines: [] as string[] }, {
   *   ttlMs: 24 * 60 * 60 * 1000,
   *   selfDestruct: (clientsLeft) => clientsLeft === 0,
   * });
   * ```
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

/** What each option is; absent are those that a contract has. */
const OPTIONS: Readonly<
  Record<keyof ContractStoreOptions<unknown>, Kind>
> = {
  read: "rule",
  view: "function",
  audience: "function",
  write: "rule",
  intercept: "function",
  ttlMs: "any",
  selfDestruct: "function",
  history: "object",
};

const RULES: Readonly<Record<keyof StateRules, Kind>> = {
  schema: "any",
  version: "number",
  migrate: "function",
};

const HISTORY: Readonly<Record<keyof History, Kind>> = {
  versions: "number",
  ageMs: "number",
  bytes: "number",
};

/**
 * Checks the options of `createStore`, for a store of that name; where there is a contract,
 * they hold nothing that is for the contract to say.
 *
 * @throws {TypeError} if there is no such option, or it is of another kind.
 */
export function checkStoreOptions(
  name: string,
  options: { readonly history?: unknown },
  { hasContract = false }: { hasContract?: boolean } = {},
): void {
  const action = `Cannot create store "${name}"`;
  checkKinds(action, options, hasContract ? OPTIONS : { ...OPTIONS, ...RULES });
  if (options.history === undefined) return;
  checkKinds(`${action}: its history`, options.history, HISTORY);
}
