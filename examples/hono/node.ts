/**
 * Hono and live stores on one port, on Node.
 *
 * After `npm install @headwater/sync ws @deno/kv hono @hono/node-server`, run it by
 * `node node.ts` (from 22.18 on; before, compile it). Then
 * `curl localhost:3000/guests`, and clients connect to `ws://localhost:3000/sync`.
 *
 * @module
 */
import process from "node:process";
import { serve } from "@hono/node-server";
import { app, server } from "./app.ts";

const port = Number(process.env["PORT"] ?? 3000);
const http = serve({ fetch: app.fetch, port }, (address) => {
  console.log(`Guests at http://localhost:${address.port}/guests`);
});
await server.attach(http, { path: "/sync" });

process.once("SIGTERM", async () => {
  await server.close(); // first: http.close() waits for the sockets
  http.close();
});
