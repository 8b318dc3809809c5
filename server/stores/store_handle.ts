/**
 * What the handles of stores have in common, whatever `createStore` returns.
 *
 * @module
 */
import { checkFunction } from "../../protocol/shown.ts";
import type { StoreDefinition } from "./definition.ts";
import type { Definitions } from "./definitions.ts";
import type { CreateHook, IdleHook, TerminateHook } from "./store_options.ts";
import type { Writer } from "./writer.ts";

/** How the server writes. */
export interface UpdateOptions {
  /**
   * On whose behalf: what an interceptor sees, and the history names. By default the
   * caller of the function that writes, or nobody.
   */
  readonly as?: Writer;
}

/** Hooks of a definition; each returns the handle, so that they chain. */
export abstract class StoreHandle<T> {
  /** @ignore */
  protected readonly definition: StoreDefinition;

  /**
   * Made by {@linkcode Server.createStore}.
   *
   * @ignore
   */
  constructor(definition: StoreDefinition) {
    this.definition = definition;
  }

  /**
   * Runs once per life of a store, at its first subscription, change or `init()`,
   * and again at the first use after a reset. What it returns is merged into the
   * initial state. It may be async; everybody who waits for the store waits for it.
   */
  onCreate(hook: CreateHook<T>): this {
    // Stored untyped: the definition does not know T.
    this.definition.onCreate = hook as CreateHook<unknown>;
    return this;
  }

  /**
   * Runs before a store is reset or deleted, by whomever, its time to live or
   * `selfDestruct` included; it may still read the state. It runs once for each time
   * that `onCreate` has run, also with several servers over one KV: others that end
   * the same life wait for it.
   *
   * - Where it throws, `delete()` or `reset()` is refused with that, and the store
   *   lives on; a store that ends by itself ends all the same. Either is reported.
   * - A server that dies in it has ended nothing. Whoever ends the store next runs it
   *   again, once the other was silent for `limits.leaseMs`.
   */
  onTerminate(hook: TerminateHook): this {
    this.definition.onTerminate = hook;
    return this;
  }

  /**
   * Runs when the last subscriber of a store has left, be it by closing its
   * connection; the store still exists. With several servers over one KV, that is the
   * last one on any of them, and the server that it has left runs the hook.
   *
   * - It runs a tenth of a second later, in the background: who comes back before has
   *   never left. Where it throws, that is reported, and nothing else comes of it.
   * - Clients of a server that was closed or killed count as its subscribers for
   *   another `limits.leaseMs`; another server, or the next one, then runs the hook,
   *   unless they have come back to it.
   * - It may run again where a server dies in it.
   *
   * @example
   * ```ts
   * import { createServer } from "@headwater/sync/server";
   *
   * await using server = createServer({ kv: ":memory:" });
   * const rooms = server.createStore("Room:*", { messages: [] as string[] })
   *   .onIdle(async (key) => {
   *     if (key !== null) await rooms.delete(key);
   *   });
   * ```
   */
  onIdle(hook: IdleHook): this {
    this.definition.onIdle = hook;
    return this;
  }
}

/** Whether a handle is of these definitions: of one server, and no other. */
export function isDefinedBy(
  handle: StoreHandle<unknown>,
  definitions: Definitions,
): boolean {
  return definitions.has(handle["definition"]);
}

/** Callers without types may have forgotten the recipe. */
export function checkRecipe(
  recipe: unknown,
  { name }: { readonly name: string },
): void {
  checkFunction(recipe, `Cannot update store "${name}": the recipe`);
}
