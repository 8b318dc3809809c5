/**
 * The provider, and how hooks find it. This module is browser compatible.
 *
 * @module
 */
import type {
  App,
  Client,
  ClientOptions,
  StateOf,
  StoreName,
} from "../../client/mod.ts";
import { Binding } from "./binding.ts";
import {
  createContext,
  createElement,
  type ReactNode,
  Suspense,
  use,
  useEffect,
  useMemo,
} from "./react.ts";

const BindingContext = createContext<Binding | undefined>(undefined);

/** States by the full name of their store, as far as they are known. */
// Without a contract any name and any state will do.
export type StatesOf<A extends App> = [StoreName<A>] extends [never]
  ? Readonly<Record<string, object>>
  : { readonly [N in StoreName<A>]?: StateOf<A, N> };

/** Properties of {@linkcode HeadwaterProvider}. */
export type HeadwaterProviderProps<A extends App = App> =
  & {
    /**
     * What the stores begin with, by full name, until the server gives their states: what a
     * server has rendered with, so that the browser's first render gives the same.
     */
    readonly initialStates?: StatesOf<A> | undefined;
    /**
     * What shows while a component below waits for a store by `useStoreData`, and no
     * `Suspense` is between.
     */
    readonly fallback?: ReactNode;
    /** The components that use the client. */
    readonly children?: ReactNode;
  }
  & (
    | {
      /** A client of yours. It is used, and never ended. */
      readonly client: Client<A>;
      readonly url?: undefined;
      readonly options?: undefined;
    }
    | {
      readonly client?: undefined;
      /**
       * Where to connect. The client is made and connected when the provider is on the page,
       * another one when the URL changes; it is destroyed when the provider is taken off.
       */
      readonly url: string | URL;
      /** Options of the client, as they are when it is made. */
      readonly options?: ClientOptions<A> | undefined;
    }
  );

/**
 * Gives the components below it a client: yours, or one of its own.
 *
 * On a server it opens no connection: give it `initialStates`, there and in the browser.
 *
 * @example A page as a server renders it
 * ```tsx
 * import { HeadwaterProvider, useStore } from "@headwater/sync/react";
 * import { createServer } from "@headwater/sync/server";
 * import assert from "node:assert/strict";
 * import { renderToString } from "react-dom/server";
 *
 * const server = createServer({ kv: ":memory:" });
 * const counter = server.createStore("Counter", { count: 41 });
 * await counter.update((draft) => draft.count++);
 *
 * function Count() {
 *   return <p>{useStore("Counter", ({ count }: { count: number }) => count).data}</p>;
 * }
 * const initialStates = { Counter: await counter.get() };
 * const html = renderToString(
 *   <HeadwaterProvider url="ws://localhost:4400" initialStates={initialStates}>
 *     <Count />
 *   </HeadwaterProvider>,
 * );
 * assert.ok(html.includes("<p>42</p>"));
 * await server.close();
 * ```
 */
export function HeadwaterProvider<A extends App = App>(
  props: HeadwaterProviderProps<A>,
): ReactNode {
  const { client, fallback, children } = props;
  const url = props.url === undefined ? undefined : String(props.url);
  const { options, initialStates } = props;
  const binding = useMemo(
    () => new Binding({ client, url, options, initialStates }),
    [client, url],
  );
  useEffect(() => binding.mount(), [binding]);
  // Without a boundary of its own a provider that is below the page's only boundary would
  // never be shown while a store is waited for, and so never connect.
  return createElement(
    BindingContext,
    { value: binding },
    createElement(Suspense, { fallback }, children),
  );
}

/** What the provider around the component gives. */
export function useBinding(hook: string): Binding {
  const binding = use(BindingContext);
  if (binding) return binding;
  throw new TypeError(
    `Cannot use ${hook}(): there is no HeadwaterProvider around the component`,
  );
}
