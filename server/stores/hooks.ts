/**
 * Runs the hooks of definitions: outside of the call that made one necessary, and
 * so that code in it can be told by the store that it is a hook of.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { CallScopes } from "../call_scope.ts";
import { Errand } from "../errand.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { Store } from "./store.ts";

/** Hooks of a store that others wait for. */
export type WaitedHook = "onCreate" | "onTerminate";

/** That code runs in a hook of a store. */
export class HookPlace extends Errand {
  readonly hook: WaitedHook;
  readonly store: Store;
  readonly #outer: HookPlace | undefined;
  #isOver = false;

  /** A hook of `store`, in whatever hook `outer` is. */
  constructor(hook: WaitedHook, store: Store, outer: HookPlace | undefined) {
    super(`${hook} of store "${store.id.name}"`);
    this.hook = hook;
    this.store = store;
    this.#outer = outer;
  }

  /** The hook of the store that this is, or is in. */
  of(id: StoreId): HookPlace | undefined {
    const isOwn = storeKey(this.store.id) === storeKey(id);
    return isOwn && !this.#isOver ? this : this.#outer?.of(id);
  }

  /** What runs on behind the hook is outside again. */
  override end(): void {
    this.#isOver = true;
    super.end();
  }
}

/** The hook of the store in which the current code runs. */
export function hookOf(
  scopes: CallScopes,
  id: StoreId,
): HookPlace | undefined {
  const place = scopes.place();
  return place instanceof HookPlace ? place.of(id) : undefined;
}

/** The error for what would wait for the end of the hook that it is called in. */
export function inHookError(
  action: string,
  { hook, store }: HookPlace,
): HeadwaterError {
  const { name } = store.id;
  return new HeadwaterError(
    "refused",
    `Cannot ${action} store "${name}" in its own ${hook}`,
    { outcome: "notApplied" },
  );
}

/** Runs a hook for whose end others wait. */
export async function runWaited<T>(
  scopes: CallScopes,
  { hook, store }: { hook: WaitedHook; store: Store },
  run: () => T | Promise<T>,
): Promise<T> {
  const outer = scopes.place();
  const place = new HookPlace(
    hook,
    store,
    outer instanceof HookPlace ? outer : undefined,
  );
  return await scopes.runErrand(place, run);
}

/** What is reported where nobody waits for the hook. */
export function hookError(
  hook: WaitedHook | "onIdle" | "selfDestruct",
  { name }: StoreId,
  cause: unknown,
): Error {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Error(`${hook} of store "${name}" failed: ${reason}`, { cause });
}
