/**
 * Hooks for the client itself. This module is browser compatible.
 *
 * @module
 */
import type { Client, ClientEvents, ClientStatus } from "../../client/mod.ts";
import { useBinding } from "./provider.ts";
import {
  useEffect,
  useInsertionEffect,
  useRef,
  useSyncExternalStore,
} from "./react.ts";

/**
 * The client of the provider, for what the other hooks do not have: `batch`, `setToken`,
 * handles with `undo`. It is connected once the provider is on the page.
 *
 * @example Two writes that take effect together
 * ```tsx
 * import { useClient, useUpdate } from "@headwater/sync/react";
 *
 * export function Move() {
 *   const client = useClient();
 *   const here = useUpdate<{ n: number }>("Here");
 *   const there = useUpdate<{ n: number }>("There");
 *   const move = () =>
 *     client.batch(() => {
 *       here((draft) => draft.n--);
 *       there((draft) => draft.n++);
 *     });
 *   return <button type="button" onClick={() => void move()}>Move one</button>;
 * }
 * ```
 */
export function useClient(): Client {
  const binding = useBinding("useClient");
  return useSyncExternalStore(
    binding.onStatus,
    binding.client,
    binding.client,
  );
}

/**
 * Where the client stands; `"idle"` on a server.
 *
 * @example A line that shows while there is no connection
 * ```tsx
 * import { useStatus } from "@headwater/sync/react";
 *
 * export function Offline() {
 *   if (useStatus() !== "reconnecting") return null;
 *   return <p>Offline: your changes are kept</p>;
 * }
 * ```
 */
export function useStatus(): ClientStatus {
  const binding = useBinding("useStatus");
  return useSyncExternalStore(binding.onStatus, binding.status, idle);
}

/**
 * Listens to an event of the server, or of the client itself, while the component is on
 * the page. The listener may be another one with each render: the last one is called.
 *
 * @example The last notification
 * ```tsx
 * import { useEvent } from "@headwater/sync/react";
 * import { useState } from "react";
 *
 * export function Toast() {
 *   const [text, setText] = useState("");
 *   useEvent("toast", (toast: { text: string }) => setText(toast.text));
 *   return <output>{text}</output>;
 * }
 * ```
 */
export function useEvent<K extends keyof ClientEvents>(
  channel: K,
  listener: (data: ClientEvents[K]) => void,
): void;
/** Listens to an event of the server. */
export function useEvent<T = unknown>(
  channel: string,
  listener: (data: T) => void,
): void;
export function useEvent(
  channel: string,
  listener: (data: never) => void,
): void {
  const binding = useBinding("useEvent");
  const last = useRef<(data: never) => void>(listener);
  // Before any other effect, one of which may bring about an event; and gone with the
  // component, not some time after that.
  useInsertionEffect(() => {
    last.current = listener;
    return () => {
      last.current = () => {};
    };
  });
  useEffect(
    // What the server sends is the caller's claim.
    () => binding.client().on(channel, (data) => last.current(data as never)),
    [binding, channel],
  );
}

function idle(): ClientStatus {
  return "idle";
}
