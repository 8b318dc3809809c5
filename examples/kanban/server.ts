/**
 * A board of cards that works offline: run it by `deno run -A examples/kanban/server.ts`,
 * open two tabs, and stop it while you move cards. What you do meanwhile outlives the
 * tab, too.
 *
 * @module
 */
import { createServer } from "@headwater/sync/server";
import { bundlePage, serve } from "../serve_page.ts";
import { app } from "./contract.ts";

const server = createServer({
  app,
  kv: Deno.env.get("KANBAN_KV") ?? ".headwater/kanban.db",
  pages: await bundlePage(new URL("page/", import.meta.url)),
});
server.createStore("Board", { write: true });

await serve(server, "Kanban");
