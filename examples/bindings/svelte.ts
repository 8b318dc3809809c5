import type { Client } from "@headwater/sync/client";
import type { Readable } from "svelte/store";

/** A store's state as a Svelte store, for `$store`: subscribed while somebody looks. */
export function storeOf<T>(
  client: Client,
  name: string,
): Readable<T | undefined> {
  return {
    subscribe(run) {
      run(undefined); // Svelte wants a value at once
      const handle = client.subscribe<T>(name, run);
      return () => handle.unsubscribe();
    },
  };
}
