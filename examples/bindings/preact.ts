import type { Client, SubscriptionHandle } from "@headwater/sync/client";
import { type ReadonlySignal, signal } from "@preact/signals";

/** A store's state as a signal: subscribed while somebody looks. */
export function storeSignal<T>(
  client: Client,
  name: string,
): ReadonlySignal<T | undefined> {
  let handle: SubscriptionHandle<T> | undefined;
  const state = signal<T | undefined>(undefined, {
    watched: () =>
      handle = client.subscribe<T>(name, (next) => state.value = next),
    unwatched: () => handle?.unsubscribe(),
  });
  return state;
}
