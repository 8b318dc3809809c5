/**
 * Lets an application change or drop the writes to a store before they count.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import { runApplication } from "../application_error.ts";
import type { Change } from "./change.ts";
import { type StateObject, toState } from "./state.ts";
import type { Writer } from "./writer.ts";

/** What an interceptor knows of a write. */
export interface InterceptContext<T> {
  /** The state before the write; frozen. */
  readonly state: T;
  /** The state as the write would make it; frozen. */
  readonly next: T;
  /** The client that writes, or whose call does; undefined where the server does by itself. */
  readonly clientId: string | undefined;
  /** The user behind it; null where there is none. */
  readonly user: Json;
  /** Full name of the store. */
  readonly name: string;
  /** Key of the store; null for a static one. */
  readonly key: string | null;
}

/**
 * Sees each write before it is committed, the server's own as well: `updates` has
 * the properties of the state that it changes, with their new values (undefined
 * where one is removed).
 *
 * - What is returned takes the place of `updates`: return `updates` itself to accept
 *   the write, other values to change it, null to drop it. A write that is dropped
 *   rejects with `refused`.
 * - Throw a {@linkcode HeadwaterError} to refuse a write in words of your own. What
 *   else it throws refuses the write, too, but counts as a failure: the server logs it
 *   under an `id`, tells its listeners of `error`, and the client gets the id, and the
 *   message unless there is `maskErrors`, or the store has a `view`.
 * - It is synchronous, and may run more than once for a write.
 *
 * @example A bid below the highest counts as nothing, and one above the limit as that
 * ```ts
 * import { createServer } from "@headwater/sync/server";
 * import assert from "node:assert/strict";
 *
 * await using server = createServer({ kv: ":memory:" });
 * const auction = server.createStore("Auction", { bid: 0 }, {
 *   write: true,
 *   intercept: ({ bid = 0 }, { state }) =>
 *     bid > state.bid ? { bid: Math.min(bid, 1_000) } : null,
 * });
 * await auction.set({ bid: 5_000 });
 * assert.deepEqual(await auction.get(), { bid: 1_000 });
 * await assert.rejects(auction.set({ bid: 10 }), { code: "refused" });
 * ```
 */
export type Interceptor<T> = (
  updates: Partial<T>,
  context: InterceptContext<T>,
) => Partial<T> | null;

/** The change as the interceptor lets it be. */
export function interceptChange(
  intercept: Interceptor<unknown>,
  change: Change,
  about: {
    readonly before: Json;
    readonly writer: Writer;
    readonly name: string;
    readonly key: string | null;
  },
): Change {
  const { writer, name, key } = about;
  // Stores hold nothing but objects.
  const before = about.before as StateObject;
  const next = change.state as StateObject;
  const updates = updatesOf(before, next);
  const returned: unknown = runApplication(() =>
    intercept({ ...updates }, {
      state: before,
      next,
      clientId: writer.clientId,
      user: writer.user,
      name,
      key,
    })
  );
  if (returned === null) {
    throw new HeadwaterError(
      "refused",
      `Cannot write to store "${name}": its interceptor dropped the write`,
      { outcome: "notApplied" },
    );
  }
  const what = `what the interceptor of store "${name}" returned`;
  if (!isUpdates(returned)) {
    throw new TypeError(`Cannot use ${what}: it must be an object or null`);
  }
  if (isSame(returned, updates)) return change;
  const state = toState(withoutUndefined({ ...before, ...returned }), what);
  // Not the difference to the state before, which may name other items of an array than
  // the write has meant: what clients write meanwhile would hit the wrong ones.
  const patch = [...change.patch, ...diffStates(next, state)];
  return { ...change, state, patch };
}

type Updates = Readonly<Record<string, unknown>>;

/** The properties that differ; states share what has not changed. */
function updatesOf(before: StateObject, next: StateObject): Updates {
  const updates: Record<string, unknown> = {};
  for (const name of Object.keys(next)) {
    if (before[name] !== next[name]) updates[name] = next[name];
  }
  for (const name of Object.keys(before)) {
    if (!Object.hasOwn(next, name)) updates[name] = undefined;
  }
  return updates;
}

function isUpdates(returned: unknown): returned is Updates {
  return typeof returned === "object" && !Array.isArray(returned) &&
    !("then" in (returned as object)); // null was refused before
}

function isSame(a: Updates, b: Updates): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name]);
}

function withoutUndefined(state: Updates): Updates {
  return Object.fromEntries(
    Object.entries(state).filter(([, value]) => value !== undefined),
  );
}
