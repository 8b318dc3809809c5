/**
 * A server with the start page, ready for `deno serve` and Deno Deploy.
 *
 * State is in `.headwater/state.db`, or where `HEADWATER_KV` says; on Deno Deploy
 * in the project's own KV.
 *
 * @module
 */
import { createServer } from "../server/mod.ts";
import type { Server } from "../server/server.ts";
import { onShutdownSignal } from "./signals.ts";
import { defineStartApp, START_PAGES } from "./start_app.ts";

/** Answers requests, WebSocket upgrades included. */
export interface Handler {
  /** Answers one request; `info` is what `Deno.serve` gives. */
  fetch(
    request: Request,
    info?: { readonly remoteAddr: object },
  ): Promise<Response>;
}

/** The handler: one server, started at the first request. */
const handler: Handler = createHandler();

export default handler;

/** Nothing is opened before the first request: isolates are also started to be looked at. */
function createHandler(): Handler {
  let starting: Promise<Server> | undefined;
  return {
    async fetch(request, info) {
      // A KV that cannot be opened now may be there for the next request.
      starting ??= start().catch((error) => {
        starting = undefined;
        throw error;
      });
      return await (await starting).fetch(request, info);
    },
  };
}

async function start(): Promise<Server> {
  const isDeploy = Deno.env.get("DENO_DEPLOYMENT_ID") !== undefined;
  const kv = isDeploy
    ? await Deno.openKv()
    : Deno.env.get("HEADWATER_KV") ?? ".headwater/state.db";
  const server = createServer({ kv, pages: START_PAGES });
  defineStartApp(server);
  // `deno serve` does not end while a watch or timer of ours is pending.
  onShutdownSignal(() => void server.close().finally(() => Deno.exit()));
  return server;
}
