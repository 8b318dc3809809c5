/**
 * What the handles of stores have in common, whatever `createStore` returns.
 *
 * @module
 */
import { checkFunction, shown } from "../../protocol/shown.ts";
import { cleanValue, freezeDeep } from "../../protocol/value.ts";
import { checkKinds, type Kind } from "../option_kinds.ts";
import type { StoreDefinition } from "./definition.ts";
import type { Definitions } from "./definitions.ts";
import type { CreateHook, IdleHook, TerminateHook } from "./store_options.ts";
import type { Writer } from "./writer.ts";

/** How the server writes. */
export interface UpdateOptions {
  /**
   * On whose behalf: what an interceptor sees, and whose `clientId` and user's id the
   * history names. By default the caller of the function that writes, or nobody.
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
   * Runs at the first subscription, change or `init()` in the life of a store, and again
   * at the first use after a reset. What it returns is merged into the initial state, and
   * takes effect once. It may be async; everybody who waits for the store waits for it.
   *
   * - With several servers over one KV it may run on each that the store is first used on
   *   at that moment: what the first of them returned takes effect, and the others' is
   *   dropped. What it does elsewhere, such as a mail that it sends, may be done twice.
   * - Where it throws, whoever asked for the store is refused with that, the store does not
   *   begin to live, and the next one who asks runs it again.
   * - A server that dies in it has begun nothing: it runs again at the next use, on whichever
   *   server.
   * - The store is not there yet: writing to it in its own hook is refused.
   *
   * @throws {TypeError} if it is no function, or there is one already. The same goes for
   * the other hooks.
   */
  onCreate(hook: CreateHook<T>): this {
    this.#check("onCreate", hook);
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
    this.#check("onTerminate", hook);
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
    this.#check("onIdle", hook);
    this.definition.onIdle = hook;
    return this;
  }

  /** A second hook in the place of the first would pass as one beside it. */
  #check(name: "onCreate" | "onTerminate" | "onIdle", hook: unknown): void {
    const { pattern, [name]: known } = this.definition;
    checkFunction(hook, `Cannot set ${name} of store "${pattern}": the hook`);
    if (!known) return;
    throw new TypeError(
      `Cannot set ${name} of store "${pattern}": it has one already`,
    );
  }
}

/** Whether a handle is of these definitions: of one server, and no other. */
export function isDefinedBy(
  handle: StoreHandle<unknown>,
  definitions: Definitions,
): boolean {
  return definitions.has(handle["definition"]);
}

const UPDATE_OPTIONS: Readonly<Record<keyof UpdateOptions, Kind>> = {
  as: "any",
};

/**
 * On whose behalf a store is written to, copied; undefined where that was not said.
 *
 * @throws {TypeError} if there is no such option, or it is of another kind.
 * @throws {HeadwaterError} `bad_value` if the user cannot be shared.
 */
export function writerOf(
  options: UpdateOptions | undefined,
  { name }: { readonly name: string },
): Writer | undefined {
  if (options === undefined) return undefined;
  const action = `Cannot write to store "${name}"`;
  checkKinds(action, options, UPDATE_OPTIONS);
  const as: unknown = options.as;
  if (as === undefined) return undefined;
  const { user, clientId } = typeof as === "object" && as !== null
    ? as as Readonly<Record<string, unknown>> // it may have anything
    : {};
  if (
    user === undefined || clientId !== undefined && typeof clientId !== "string"
  ) {
    throw new TypeError(
      `${action}: as must be { user } or { user, clientId }, with a client's id that is a string, not ${
        shown(as)
      }`,
    );
  }
  return {
    user: freezeDeep(cleanValue(user, { what: "the user of as" })),
    ...(clientId !== undefined && { clientId }),
  };
}

/** Callers without types may have forgotten the recipe. */
export function checkRecipe(
  recipe: unknown,
  { name }: { readonly name: string },
): void {
  checkFunction(recipe, `Cannot update store "${name}": the recipe`);
}
