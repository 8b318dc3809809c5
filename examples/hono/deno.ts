/**
 * Hono and live stores on one port, on Deno: there a response can be a socket.
 *
 * Run it by `deno run -A examples/hono/deno.ts`. Then `curl localhost:3000/guests`,
 * and clients connect to `ws://localhost:3000/sync`.
 *
 * @module
 */
import { app, server } from "./app.ts";

app.get("/sync", (context) => {
  const info = context.env as Deno.ServeHandlerInfo; // what Deno.serve gives along
  return server.fetch(context.req.raw, info);
});

const port = Number(Deno.env.get("PORT") ?? 3000);
const http = Deno.serve({
  port,
  onListen: ({ port }) =>
    console.log(`Guests at http://localhost:${port}/guests`),
}, app.fetch);

Deno.addSignalListener("SIGTERM", async () => {
  await server.close();
  await http.shutdown();
});
