import type { Client } from "@headwater/sync/client";
import { onScopeDispose, type ShallowRef, shallowRef } from "vue";

/** A store's state as a ref, as long as the component lives. */
export function useStore<T>(
  client: Client,
  name: string,
): Readonly<ShallowRef<T | undefined>> {
  const shown = shallowRef<T>();
  const handle = client.subscribe<T>(name, (state) => shown.value = state);
  onScopeDispose(() => handle.unsubscribe());
  return shown;
}
