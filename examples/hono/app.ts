/**
 * A guest book: the routes of Hono and the store behind them, for `node.ts` and
 * `deno.ts`.
 *
 * @module
 */
import process from "node:process";
import { createServer } from "@headwater/sync/server";
import { Hono } from "hono";

/** What is shared. */
export const server = createServer({
  kv: process.env["GUESTS_KV"] ?? ":memory:",
});
const guests = server.createStore("Guests", { names: [] as string[] });

/** The HTTP API. */
export const app = new Hono();

app.get("/guests", async (context) => context.json(await guests.get()));

app.post("/guests", async (context) => {
  const { name } = await context.req.json<{ name: string }>();
  const { version } = await guests.update((draft) => {
    draft.names.push(name);
  });
  return context.json({ version }, 201);
});
