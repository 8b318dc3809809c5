/**
 * What a component sees of a store. This module is browser compatible.
 *
 * @module
 */
import { useEffect, useMemo, useRef, useSyncExternalStore } from "./react.ts";
import type { Snapshot, StoreSource } from "./store_source.ts";

/** What a component sees of a store: `S` is the state, or what was selected of it. */
export type StoreView<S> =
  /** There is nothing yet. */
  | {
    readonly isPending: true;
    readonly data: undefined;
    readonly error: undefined;
  }
  /** There is a state. */
  | {
    readonly isPending: false;
    readonly data: S;
    readonly error: undefined;
  }
  /** The server gives none, or no further one: then `data` is the last. */
  | {
    readonly isPending: false;
    readonly data: S | undefined;
    readonly error: Error;
  };

/** What is looked at. */
export interface Selection<T, S> {
  /** What is made of the state; the state itself if there is none. */
  readonly selector: ((state: T) => S) | undefined;
  /** Whether two such values are the same to the component. */
  readonly equals: ((a: S, b: S) => boolean) | undefined;
  /** What is seen on a server, and by the first render over what it has made. */
  readonly initial: Snapshot;
}

/** Follows a store; gives the same object while the component has no other to show. */
export function useView<T, S>(
  source: StoreSource,
  { selector, equals = Object.is, initial }: Selection<T, S>,
): StoreView<S> {
  const shown = useRef<StoreView<S> | undefined>(undefined);
  const [read, readInitial] = useMemo(() => {
    let seen: { snapshot: Snapshot; view: StoreView<S> } | undefined;
    const see = (snapshot: Snapshot): StoreView<S> => {
      if (seen?.snapshot === snapshot) return seen.view;
      const next = toView(snapshot, selector);
      // A selector that is written inline is another one in each render: without what
      // was shown, what it makes would be another value each time, and render again.
      const last = seen?.view ?? shown.current;
      const view = last && isSame(last, next, equals) ? last : next;
      seen = { snapshot, view };
      return view;
    };
    return [() => see(source.read()), () => see(initial)];
  }, [source, selector, equals, initial]);
  const view = useSyncExternalStore(source.subscribe, read, readInitial);
  useEffect(() => {
    shown.current = view;
  }, [view]);
  return view;
}

/** What is seen of what is known. */
export function toView<T, S>(
  { state, error }: Snapshot,
  selector: ((state: T) => S) | undefined,
): StoreView<S> {
  if (state === undefined) {
    return error
      ? { isPending: false, data: undefined, error }
      : { isPending: true, data: undefined, error: undefined };
  }
  // The caller's claim about the store; without a selector S is T.
  const data = selector ? selector(state as T) : state as S;
  return { isPending: false, data, error };
}

function isSame<S>(
  a: StoreView<S>,
  b: StoreView<S>,
  equals: (a: S, b: S) => boolean,
): boolean {
  if (a.isPending !== b.isPending || a.error !== b.error) return false;
  if (a.data === undefined || b.data === undefined) return a.data === b.data;
  return equals(a.data, b.data);
}
