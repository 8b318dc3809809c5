/**
 * One counter, shown by Vue, Svelte, Solid and Preact side by side.
 *
 * Run it by `deno run -A examples/bindings/server.ts`; `PORT` and `BINDINGS_KV` change
 * where it listens and where it keeps its state.
 *
 * @module
 */
import { createServer } from "@headwater/sync/server";
import { bundlePage, serve } from "../serve_page.ts";
import { svelteFiles } from "./svelte_files.ts";

const folder = new URL("./page/", import.meta.url);
const server = createServer({
  kv: Deno.env.get("BINDINGS_KV") ?? ".headwater/bindings.db",
  pages: await bundlePage(folder, { plugins: [svelteFiles] }),
});
const counter = server.createStore("Counter", { count: 0 });
server.handle("add", async () => {
  await counter.update((draft) => void draft.count++);
});
server.on("subscribe", (name) => console.log(`${name} is looked at`));
server.on("unsubscribe", (name) => console.log(`${name} is left`));
await serve(server, "Bindings");
