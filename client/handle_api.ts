/**
 * What users see of a subscription. This module is browser compatible.
 *
 * @module
 */
import type { ListenerOptions } from "./state_listeners.ts";
import type { ClientWritten, WriteOptions } from "./write_options.ts";

/**
 * One of any number of handles on a store; all of them on one client share one
 * replica and one subscription on the wire.
 *
 * The state is frozen deeply, and what two versions have in common is shared:
 * an object that is the same by `===` has not changed.
 */
export interface SubscriptionHandle<T> {
  /** Full name of the store. */
  readonly name: string;
  /**
   * Version of the state; undefined before the first. It counts mutations, and
   * begins again at a store that was deleted and made anew.
   */
  readonly version: number | undefined;
  /** When the state was last known to be the server's, in milliseconds since 1970. */
  readonly lastSyncedAt: number | undefined;
  /** False only while every change reaches this handle as it is made. */
  readonly isStale: boolean;
  /**
   * Resolves when there is a state, and what is written from then on shows at once;
   * without a server it waits for ever, as {@linkcode Client.ready} does. Rejects if the server cannot give one, if
   * the handle is unsubscribed or the client ends before. Nobody has to wait for it.
   */
  ready(): Promise<void>;
  /**
   * Resolves with the reason when nothing can come any more: the store was deleted or
   * may not be seen, the handle is unsubscribed or the client destroyed. What failed
   * for now alone, as a store that could not be read, is tried again instead.
   */
  ended(): Promise<Error>;
  /** The state; undefined before the first. */
  getState(): T | undefined;
  /** The state as the server has confirmed it. */
  getServerState(): T | undefined;
  /** True once there is a state; it stays, whatever happens to connection and store. */
  hasData(): boolean;
  /**
   * Changes the state by a recipe on a draft, where the store lets clients write. It
   * shows at once, is sent in order, now or when there is a connection again, and the
   * promise resolves when it is committed.
   *
   * - The recipe is synchronous. It runs again if others wrote to the same place.
   * - A write that is refused is taken back; the promise rejects, and the client fires
   *   `error`. Nobody has to wait for the promise.
   * - Writes have no time-out; `unackedCount` tells how many wait.
   * - What writing takes is loaded apart, beginning with the client. A write before that
   *   waits for it in order, and what the recipe throws rejects. Where it cannot be
   *   loaded, the client fires `error` and tries again with the next write and the next
   *   connection; `ready()` does not wait for that.
   *
   * @throws {HeadwaterError} `refused` if there is no state yet, `bad_value` for what
   * cannot be shared, `limit` if too many wait; then nothing is written.
   * @throws {TypeError} If the recipe is no function, or returns a promise.
   *
   * @example Write, whatever others write meanwhile; or only if nobody does
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({ kv: ":memory:" });
   * server.createStore("List", { items: ["a"], title: "" }, { write: true });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`);
   * const list = client.subscribe<{ items: string[]; title: string }>("List");
   * await list.ready();
   *
   * const written = list.update((draft) => void draft.items.push("b"));
   * assert.deepEqual(list.getState()?.items, ["a", "b"]); // at once
   * await written; // committed
   * const { version } = await list.update((draft) => {
   *   draft.items[0] = "c"; // refused with `conflict` where others have written
   * }, { policy: "expectVersion" });
   * assert.equal(version, list.version);
   *
   * client.destroy();
   * await server.close();
   * ```
   */
  update(
    recipe: (draft: T) => unknown,
    options?: WriteOptions,
  ): Promise<ClientWritten>;
  /** Replaces the whole state; see {@linkcode SubscriptionHandle.update}. */
  set(state: T, options?: WriteOptions): Promise<ClientWritten>;
  /**
   * Gives some of the state's properties other values, and removes those that are
   * undefined; see {@linkcode SubscriptionHandle.update}.
   *
   * @example Give one property another value
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({ kv: ":memory:" });
   * server.createStore("List", { items: ["a"], title: "" }, { write: true });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`);
   * const list = client.subscribe<{ items: string[]; title: string }>("List");
   * await list.ready();
   *
   * await list.merge({ title: "Shopping" });
   * assert.deepEqual(list.getState(), { items: ["a"], title: "Shopping" });
   *
   * client.destroy();
   * await server.close();
   * ```
   */
  merge(partial: Partial<T>, options?: WriteOptions): Promise<ClientWritten>;
  /** Whether there is a change of this client's that can be taken back. */
  readonly canUndo: boolean;
  /** Whether one was taken back, and nothing written here since. */
  readonly canRedo: boolean;
  /**
   * Takes the last change back that this client has written to the store, by its
   * handles, mutators and batches, as a write of its own: what others wrote since
   * stays. Items of arrays are found again where they are now, by their `id` or their
   * value. Resolves when it is committed; at once, with undefined, where there is none.
   * Rejects with `conflict` if others have changed the same since: that change stays,
   * and the one before it is the next to be taken back.
   *
   * @example Take the last own change back, and make it again
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({ kv: ":memory:" });
   * server.createStore("List", { items: ["a"], title: "" }, { write: true });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`);
   * const list = client.subscribe<{ items: string[]; title: string }>("List");
   * await list.ready();
   *
   * await list.merge({ title: "Shopping" });
   * await list.undo();
   * assert.equal(list.getState()?.title, "");
   * await list.redo();
   * assert.equal(list.getState()?.title, "Shopping");
   * assert.equal(list.canRedo, false);
   *
   * client.destroy();
   * await server.close();
   * ```
   */
  undo(): Promise<ClientWritten | undefined>;
  /** Makes the change again that {@linkcode SubscriptionHandle.undo} took back last. */
  redo(): Promise<ClientWritten | undefined>;
  /**
   * Listens to changes of what `selector` makes of the state, with its value now and
   * before. See below.
   */
  listen<S>(
    id: string,
    listener: (selected: S, previous: S | undefined) => void,
    options: ListenerOptions<T, S> & { selector: (state: T) => S },
  ): () => void;
  /**
   * Listens to changes of the state's properties, all or those that are named: gets
   * those that have changed, with their values now and before (undefined where there
   * is or was none). Like `onChange` it is called once per message of the server, and
   * for this client's own writes. A listener with the same `id` on this handle is
   * replaced. Returns its undo.
   *
   * @example Hear of one property alone, and of what is made of the state
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const server = createServer({ kv: ":memory:" });
   * server.createStore("List", { items: ["a"], title: "" }, { write: true });
   * await server.listen({ port: 0 });
   * const client = createClient(`ws://localhost:${server.port}`);
   * const list = client.subscribe<{ items: string[]; title: string }>("List");
   * await list.ready();
   *
   * const heard: unknown[] = [];
   * list.listen("title", ({ title }, previous) => heard.push([previous.title, title]), {
   *   properties: ["title"],
   * });
   * list.listen("count", (now, before) => heard.push([before, now]), {
   *   selector: ({ items }) => items.length,
   * });
   * await list.merge({ title: "Shopping" });
   * await list.update((draft) => void draft.items.push("b"));
   * assert.deepEqual(heard, [["", "Shopping"], [1, 2]]);
   *
   * client.destroy();
   * await server.close();
   * ```
   */
  listen(
    id: string,
    listener: (changed: Partial<T>, previous: Partial<T>) => void,
    options?: { properties?: readonly (keyof T & string)[] | undefined },
  ): () => void;
  /** Removes the listener with that id; returns whether there was one. */
  unlisten(id: string): boolean;
  /** Stops updates. The last state can still be read. */
  unsubscribe(): void;
}
