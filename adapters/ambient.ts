/**
 * What carries the current call through the awaits of its handler.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Ambient } from "../server/ports.ts";

/** An {@linkcode Ambient} of the runtime's own, on Deno and Node. */
export function createAmbient(): Ambient {
  const storage = new AsyncLocalStorage<object>();
  return {
    run: (value, run) => storage.run(value, run),
    get: () => storage.getStore(),
  };
}
