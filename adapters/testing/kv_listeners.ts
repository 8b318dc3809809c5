/**
 * Which watches are rung when a key is written.
 *
 * @module
 */
import type { KvHandle } from "./kv_handle.ts";
import type { KvRoute } from "./kv_route.ts";
import type { SimulatedWatch } from "./simulated_watch.ts";

/** Whose watch it is. */
export interface KvListener {
  readonly handle: KvHandle;
  readonly route: KvRoute;
}

/** See the module's documentation. Keys are those of `encodeKey()`. */
export class KvListeners {
  readonly #byKey = new Map<string, Map<SimulatedWatch, KvListener>>();

  /** Rings the watch from now on; returns how to stop that. */
  add(
    keys: readonly string[],
    watch: SimulatedWatch,
    listener: KvListener,
  ): () => void {
    for (const key of keys) {
      const watches = this.#byKey.get(key) ?? new Map();
      this.#byKey.set(key, watches.set(watch, listener));
    }
    return () => {
      for (const key of keys) {
        const watches = this.#byKey.get(key);
        watches?.delete(watch);
        if (watches?.size === 0) this.#byKey.delete(key);
      }
    };
  }

  /** Rings those that watch one of the keys and can see what the writer does. */
  ring(writer: KvHandle, keys: Iterable<{ readonly key: string }>): void {
    if (this.#byKey.size === 0) return;
    for (const { key } of keys) {
      for (const [watch, { handle, route }] of this.#byKey.get(key) ?? []) {
        if (handle === writer || route.knob("isWatchShared")) watch.ring();
      }
    }
  }
}
