/**
 * Hooks that follow a store. This module is browser compatible.
 *
 * @module
 */
import { useBinding } from "./provider.ts";
import { use, useMemo } from "./react.ts";
import { type StoreView, toView, useView } from "./store_view.ts";

/**
 * Follows a store. The component renders again when the state is another, or with a
 * `selector` when what it makes of the state is another by `equals`, and not otherwise.
 *
 * The store is subscribed while a component looks at it, and a second longer.
 *
 * @example A list, and what shows before there is one
 * ```tsx
 * import { useStore } from "@headwater/sync/react";
 *
 * interface Todos {
 *   items: { id: string; text: string }[];
 * }
 *
 * export function TodoList() {
 *   const { data, error, isPending } = useStore("Todos", ({ items }: Todos) => items);
 *   if (isPending) return <p>One moment …</p>;
 *   if (error) return <p>{error.message}</p>;
 *   return <ul>{data.map(({ id, text }) => <li key={id}>{text}</li>)}</ul>;
 * }
 * ```
 */
export function useStore<T = unknown>(name: string): StoreView<T>;
/** Follows what `selector` makes of a store's state, compared by `Object.is` or `equals`. */
export function useStore<T, S>(
  name: string,
  selector: (state: T) => S,
  equals?: (a: S, b: S) => boolean,
): StoreView<S>;
export function useStore<T, S>(
  name: string,
  selector?: (state: T) => S,
  equals?: (a: S, b: S) => boolean,
): StoreView<S> {
  const source = useBinding("useStore").source(name);
  return useView(source, { selector, equals, initial: source.initial });
}

/**
 * Follows a store as {@linkcode useStore} does, and gives the state alone: while there
 * is none the component suspends, and where the server gives none it throws the reason,
 * to the `Suspense` and the error boundary around it.
 *
 * On a server it throws where the provider has no initial state of the store; the
 * browser then renders what is within the next `Suspense`.
 *
 * @example A list within a Suspense
 * ```tsx
 * import { useStoreData } from "@headwater/sync/react";
 * import { Suspense } from "react";
 *
 * function Count() {
 *   return <p>{useStoreData("Todos", (todos: { items: string[] }) => todos.items.length)}</p>;
 * }
 *
 * export function Page() {
 *   return (
 *     <Suspense fallback={<p>One moment …</p>}>
 *       <Count />
 *     </Suspense>
 *   );
 * }
 * ```
 */
export function useStoreData<T = unknown>(name: string): T;
/** What `selector` makes of a store's state, compared by `Object.is` or `equals`. */
export function useStoreData<T, S>(
  name: string,
  selector: (state: T) => S,
  equals?: (a: S, b: S) => boolean,
): S;
export function useStoreData<T, S>(
  name: string,
  selector?: (state: T) => S,
  equals?: (a: S, b: S) => boolean,
): S {
  const source = useBinding("useStoreData").source(name);
  const initial = useMemo(
    () =>
      source.initial.state
        ? source.initial
        : { state: undefined, error: notRendered(name) },
    [source, name],
  );
  const view = useView(source, { selector, equals, initial });
  if (view.error && view.data === undefined) throw view.error;
  // In each render: React does not take it well if one that has suspended does not ask again.
  use(source.settled());
  return dataOf(view.isPending ? toView(source.read(), selector) : view);
}

function dataOf<S>({ data, error }: StoreView<S>): S {
  if (error && data === undefined) throw error;
  return data as S; // what a selector has made, be it undefined
}

function notRendered(name: string): Error {
  return new Error(
    `Cannot render store "${name}" on the server: initialStates of the HeadwaterProvider lack it`,
  );
}
