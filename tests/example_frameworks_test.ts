import { join } from "node:path";
import { visitGuests } from "./_guests.ts";
import { freshProcess } from "./_harness.ts";

const EXAMPLES = join(import.meta.dirname ?? ".", "../examples");

for (
  const path of [
    "express/server.ts",
    "fastify/server.ts",
    "hono/node.ts",
    "hono/deno.ts",
  ]
) {
  Deno.test(`examples/${path} has an HTTP API and a live store on one port, on Deno`, async () => {
    await using book = freshProcess([join(EXAMPLES, path)], { PORT: "0" });
    await visitGuests(book);
  });
}
