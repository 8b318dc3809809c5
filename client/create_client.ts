/**
 * Makes clients. This module is browser compatible.
 *
 * @module
 */
import type { App } from "../protocol/contract.ts";
import type { Client } from "./api.ts";
import { HeadwaterClient } from "./client.ts";
import type { ClientOptions } from "./client_options.ts";
import type { HostedOptions } from "./settings.ts";

/**
 * Makes a client, and connects it if it gets a URL.
 *
 * Subscriptions and calls may be made at any time; they reach the server when
 * there is a connection. A lost connection is made again by itself, and every
 * subscription then gets what it missed.
 *
 * @example Follow a store and change it
 * ```ts
 * import { createClient } from "@headwater/sync/client";
 * import { createServer } from "@headwater/sync/server";
 * import assert from "node:assert/strict";
 *
 * const server = createServer({ kv: ":memory:" });
 * const counter = server.createStore("Counter", { count: 0 });
 * server.handle("add", async (args: { by: number }) => {
 *   await counter.update((draft) => {
 *     draft.count += args.by;
 *   });
 * });
 * await server.listen({ port: 0 });
 *
 * const client = createClient(`ws://localhost:${server.port}`);
 * const handle = client.subscribe<{ count: number }>("Counter");
 * await handle.ready();
 * await client.call("add", { by: 2 });
 * assert.deepEqual(handle.getState(), { count: 2 });
 *
 * client.destroy();
 * await server.close();
 * ```
 *
 * @throws {TypeError} If the URL or an option is not as it must be.
 */
export function createClient<A extends App = App>(
  url?: string | URL,
  options: ClientOptions<A> = {},
): Client<A> {
  return createHostedClient(url, options);
}

/** The same for a host that has the part that writes already, as tests do. */
export function createHostedClient<A extends App = App>(
  url: string | URL | undefined,
  options: HostedOptions,
): Client<A> {
  const client: Client = new HeadwaterClient(options);
  if (url !== undefined) client.connect(url);
  // The contract is the caller's claim about the server: nothing here depends on it.
  return client;
}
