import type { Client } from "@headwater/sync/client";
import { type Accessor, createSignal, onCleanup } from "solid-js";

/** A store's state as a signal, as long as its owner lives. */
export function createStoreSignal<T>(
  client: Client,
  name: string,
): Accessor<T | undefined> {
  const [state, setState] = createSignal<T>();
  const handle = client.subscribe<T>(name, (next) => setState(() => next));
  onCleanup(() => handle.unsubscribe());
  return state;
}
