/** The examples beside Express, Fastify and Hono, on each version of Node. */
import { visitGuests } from "../../../tests/_guests.ts";
import type { Check } from "../check.ts";
import { copyExample } from "../examples.ts";

const FILES = ["express/server", "fastify/server", "hono/node"] as const;

/** Asks each for its HTTP API and its live store. */
export const frameworks: Check = {
  name: "frameworks",
  claim:
    "Express 5, Fastify 5 and Hono have an HTTP route and a live store on one port",
  async run(lab) {
    const consumer = await lab.consumer("frameworks", [
      "ws",
      "@deno/kv",
      "express",
      "fastify",
      "hono",
      "@hono/node-server",
    ]);
    for (const name of ["express", "fastify", "hono"]) {
      await copyExample(lab, consumer, name);
    }
    for (const major of [20, 22] as const) {
      for (const file of FILES) {
        const [folder, name] = file.split("/");
        const path = `${folder}/compiled/${name}.js`;
        await using book = consumer.start(await lab.node(major), [path], {
          PORT: "0",
        });
        await visitGuests(book);
      }
    }
    return `${FILES.join(", ")}, on Node 20 and 22`;
  },
};
