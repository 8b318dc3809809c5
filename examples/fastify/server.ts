/**
 * A guest book: an HTTP API by Fastify 5, and the same list live, on one port.
 *
 * On Node, after `npm install @headwater/sync ws @deno/kv fastify`, run it by
 * `node server.ts` (from 22.18 on; before, compile it); on Deno by
 * `deno run -A examples/fastify/server.ts`. Then `curl localhost:3000/guests`, and
 * clients connect to `ws://localhost:3000/sync`.
 *
 * @module
 */
import process from "node:process";
import { createServer } from "@headwater/sync/server";
import Fastify from "fastify";

const server = createServer({ kv: process.env["GUESTS_KV"] ?? ":memory:" });
const guests = server.createStore("Guests", { names: [] as string[] });

const app = Fastify();

app.get("/guests", async () => await guests.get());

app.post<{ Body: { name: string } }>("/guests", {
  schema: {
    body: {
      type: "object",
      required: ["name"],
      properties: { name: { type: "string" } },
    },
  },
}, async ({ body }, reply) => {
  const { version } = await guests.update((draft) => {
    draft.names.push(body.name);
  });
  return reply.code(201).send({ version });
});

// Before Fastify waits for what is open, and so for the sockets.
app.addHook("preClose", () => server.close());
await server.attach(app.server, { path: "/sync" });
const url = await app.listen({ port: Number(process.env["PORT"] ?? 3000) });
console.log(`Guests at ${url}/guests`);

process.once("SIGTERM", () => void app.close());
