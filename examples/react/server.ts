/**
 * A list that everybody shares, in React: run it by `deno run -A examples/react/server.ts`,
 * open two tabs, and stop it while you go on.
 *
 * @module
 */
import { createServer } from "@headwater/sync/server";
import { bundlePage, serve } from "../serve_page.ts";
import { app } from "./contract.ts";

const server = createServer({
  app,
  kv: Deno.env.get("TODOS_KV") ?? ".headwater/react.db",
  pages: await bundlePage(new URL("page/", import.meta.url), {
    main: "main.tsx",
  }),
});
server.createStore("Todos", { write: true });

await serve(server, "Todos");
