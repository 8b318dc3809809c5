/**
 * How a life of a store ends: by whatever is asked for, after its `onTerminate`.
 *
 * The hook runs under a claim, so that of several servers that end the same life
 * one runs it. One that dies in it has ended nothing: whoever ends the store next
 * waits until the claim has run out, and runs the hook again.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { CallScopes } from "../call_scope.ts";
import { claimKey, type StoreId } from "../log/keys.ts";
import { readHead } from "../log/reader.ts";
import type { Kv } from "../ports.ts";
import type { Claim, Claims } from "./claims.ts";
import type { Definitions } from "./definitions.ts";
import type { TerminateHook } from "./store_options.ts";
import { hookError, runWaited } from "./hooks.ts";
import { refuseFailure } from "./opener.ts";
import type { Store } from "./store.ts";

/** What endings need. */
export interface EndingsOptions {
  readonly kv: Kv;
  readonly definitions: Definitions;
  readonly scopes: CallScopes;
  readonly claims: Claims;
  readonly onError: (error: unknown, id: StoreId) => void;
}

/** How a life is ended. */
export interface EndOptions {
  /** Finds the store again, once the hook has run. */
  readonly find: () => Promise<Store | undefined>;
  /** Whether somebody waits who can be told that the hook failed; then that ends nothing. */
  readonly isAsked: boolean;
}

/** See the module's documentation. */
export class Endings {
  readonly #options: EndingsOptions;

  /** Ends nothing yet. */
  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /**
   * Runs the hook, and then `act` on the store; undefined where that life has ended
   * otherwise. A store that is not initialised has no hook to run.
   */
  async end<T>(
    store: Store,
    act: (store: Store) => Promise<T>,
    options: EndOptions,
  ): Promise<T | undefined> {
    const { id } = store;
    const hook = this.#options.definitions.find(id.name)?.onTerminate;
    if (!hook) return await act(store);
    const acquired = this.#options.claims.acquire(claimKey(id));
    const claim = await refuseFailure(id, acquired);
    try {
      return await this.#end(store, { ...options, act, hook, claim });
    } finally {
      await claim.release();
    }
  }

  async #end<T>(
    store: Store,
    { act, hook, claim, find, isAsked }: EndOptions & {
      act: (store: Store) => Promise<T>;
      hook: TerminateHook;
      claim: Claim;
    },
  ): Promise<T | undefined> {
    const { kv, definitions, scopes, onError } = this.#options;
    const { id } = store;
    // What this server knows may be old: another one may just have ended this life.
    const read = await refuseFailure(id, readHead(kv, id));
    const { epoch } = store;
    if (read?.head.epoch !== epoch) return undefined;
    if (read.head.initialized) {
      const key = definitions.find(id.name)?.keyOf(id.name) ?? null;
      try {
        const place = { hook: "onTerminate", store } as const;
        await runWaited(scopes, place, () => hook(key));
      } catch (error) {
        onError(hookError("onTerminate", id, error), id);
        if (isAsked) throw error;
      }
    }
    // The hook may have taken so long that the store was unloaded meanwhile.
    const found = await find();
    if (found?.epoch !== epoch) return undefined;
    if (claim.isLost) throw lostError(id);
    return await act(found);
  }
}

function lostError({ name }: StoreId): HeadwaterError {
  return new HeadwaterError(
    "unavailable",
    `Cannot end store "${name}": this server was silent for so long that another may do it`,
    { outcome: "notApplied" },
  );
}
