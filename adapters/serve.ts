/**
 * Servers for `deno serve` and Deno Deploy, which listen by themselves and want a
 * `{ fetch }` as default export. This module's own is a server with the start page.
 *
 * State is in `.headwater/state.db`, or where `HEADWATER_KV` says; on Deno Deploy
 * in the app's own KV.
 *
 * @module
 */
import { createServer } from "../server/mod.ts";
import { endBySignal } from "./end_by_signal.ts";
import { Isolates } from "./isolates.ts";
import { defineStartApp, START_PAGES } from "./start_app.ts";

/** Answers requests, WebSocket upgrades included. */
export interface Handler {
  /** Answers one request; `info` is what `Deno.serve` gives. */
  fetch(
    request: Request,
    info?: { readonly remoteAddr: object },
  ): Promise<Response>;
}

/** What {@linkcode serve} needs of a server; of an application around one as well. */
export interface Served {
  /** Answers one request. */
  fetch(
    request: Request,
    info?: { readonly remoteAddr: object },
  ): Response | Promise<Response>;
  /** Ends what runs, and frees everything. */
  close(): Promise<void>;
}

/** The handler: one server, started at the first request. */
const handler: Handler = createHandler();

export default handler;

/**
 * Makes a server the default export of a module that `deno serve` or Deno Deploy runs.
 *
 * - Until it is used it opens nothing, and listens for no signal: isolates are also
 *   started to be looked at.
 * - At SIGINT or SIGTERM Deno tells all clients to come back (1001), and the server is
 *   closed; the process ends when all isolates are through, within 5 seconds.
 * - What was acknowledged is kept; a call that runs is sent again to the next server,
 *   and applies once.
 *
 * @example One module for both
 * ```ts
 * import { createServer } from "@headwater/sync/server";
 * import { serve } from "@headwater/sync/serve";
 *
 * const server = createServer({ kv: ":memory:" });
 * server.createStore("Todos", { items: [] as string[] });
 * export default serve(server);
 * ```
 */
export function serve(server: Served): Handler {
  let isUsed = false;
  return {
    async fetch(request, info) {
      if (!isUsed) {
        isUsed = true;
        const isolates = new Isolates();
        endBySignal(() => server.close().finally(() => isolates.leave()));
      }
      return await server.fetch(request, info);
    },
  };
}

function createHandler(): Handler {
  let started: Handler | undefined;
  return {
    async fetch(request, info) {
      started ??= serve(startServer());
      return await started.fetch(request, info);
    },
  };
}

function startServer(): Served {
  const kv = Deno.env.get("HEADWATER_KV") ?? ".headwater/state.db";
  const server = createServer({ kv, pages: START_PAGES });
  defineStartApp(server);
  return server;
}
