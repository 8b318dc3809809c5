/**
 * Hooks that write to stores. This module is browser compatible.
 *
 * @module
 */
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "../../client/mod.ts";
import { useBinding } from "./provider.ts";
import { useCallback, useEffect } from "./react.ts";

/** Writes to a store by a recipe, as `update` of a handle does. */
export type Update<T> = (
  recipe: (draft: T) => unknown,
  options?: WriteOptions,
) => Promise<ClientWritten>;

/** Runs a mutator, as `mutate` of a client does. */
export type Mutate = (
  args?: unknown,
  options?: MutateOptions,
) => Promise<ClientWritten>;

/**
 * Writes to a store that lets clients: gives a function, the same in each render, that
 * takes a recipe. What it writes shows at once. It follows the store, too, since nothing
 * can be written before there is a state; it does not render the component again.
 *
 * @example An input whose text everybody shares
 * ```tsx
 * import { useStore, useUpdate } from "@headwater/sync/react";
 *
 * export function Title() {
 *   const { data } = useStore("Page", (page: { title: string }) => page.title);
 *   const update = useUpdate<{ title: string }>("Page");
 *   const write = (title: string) => void update((page) => void (page.title = title));
 *   if (data === undefined) return null;
 *   return <input value={data} onChange={({ target }) => write(target.value)} />;
 * }
 * ```
 */
export function useUpdate<T = unknown>(name: string): Update<T> {
  const source = useBinding("useUpdate").source(name);
  useEffect(() => source.subscribe(() => {}), [source]);
  return useCallback<Update<T>>(
    // The draft's shape is the caller's claim about the store.
    (recipe, options) =>
      source.update(recipe as (draft: object) => unknown, options),
    [source],
  );
}

/**
 * Runs a mutator of the contract: gives a function, the same in each render, that takes
 * its arguments. What it changes shows at once. The provider's client must have the
 * contract (`app` in its options).
 *
 * @example A button
 * ```tsx
 * import { useMutation } from "@headwater/sync/react";
 *
 * export function Clear() {
 *   const clear = useMutation("clear");
 *   return <button type="button" onClick={() => void clear()}>Clear</button>;
 * }
 * ```
 */
export function useMutation(name: string): Mutate {
  const binding = useBinding("useMutation");
  return useCallback<Mutate>(
    (args, options) => {
      const written = binding.client().mutate(name, args, options);
      binding.tell();
      return written;
    },
    [binding, name],
  );
}
