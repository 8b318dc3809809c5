/**
 * A guest book: an HTTP API by Express 5, and the same list live, on one port.
 *
 * On Node, after `npm install @headwater/sync ws @deno/kv express`, run it by
 * `node server.ts` (from 22.18 on; before, compile it); on Deno by
 * `deno run -A examples/express/server.ts`. Then `curl localhost:3000/guests`, and
 * clients connect to `ws://localhost:3000/sync`.
 *
 * @module
 */
import process from "node:process";
import { createServer } from "@headwater/sync/server";
// @ts-types="@types/express"
import express from "express";

const server = createServer({ kv: process.env["GUESTS_KV"] ?? ":memory:" });
const guests = server.createStore("Guests", { names: [] as string[] });

const app = express();
app.use(express.json());

app.get("/guests", async (_request, response) => {
  response.json(await guests.get());
});

app.post("/guests", async (request, response) => {
  const name = String(request.body.name);
  const { version } = await guests.update((draft) => {
    draft.names.push(name);
  });
  response.status(201).json({ version });
});

const http = app.listen(Number(process.env["PORT"] ?? 3000), () => {
  const address = http.address();
  const port = typeof address === "object" ? address?.port : address;
  console.log(`Guests at http://localhost:${port}/guests`);
});
await server.attach(http, { path: "/sync" });

process.once("SIGTERM", async () => {
  await server.close(); // first: http.close() waits for the sockets
  http.close();
});
