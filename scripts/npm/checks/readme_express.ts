/** The README's quick start beside Express, on each version of Node. */
import assert from "node:assert/strict";
import { createClient } from "../../../client/mod.ts";
import { within } from "../../../tests/_waiting.ts";
import { readmeBlock, replaced } from "../../readme_blocks.ts";
import type { Check } from "../check.ts";
import { NODES } from "../lab.ts";

/** Asks the route, and follows the store beside it. */
export const readmeExpress: Check = {
  name: "readme_express",
  claim: "the README's Express has its route and its store on one port",
  async run(lab) {
    const consumer = await lab.consumer("frameworks", [
      "ws",
      "@deno/kv",
      "express",
      "fastify",
      "hono",
      "@hono/node-server",
    ]);
    const block = replaced(await readmeBlock("js express"), "(3000)", "(0)");
    await consumer.write({
      "readme.js": `${block}console.log(\`port \${http.address().port}\`);\n`,
    });
    for (const major of [20, 22] as const) {
      await using running = consumer.start(await lab.node(major), [
        "readme.js",
      ]);
      const [, port] = await running.line(/^port (\d+)$/);
      const response = await fetch(`http://127.0.0.1:${port}/todos`);
      assert.deepEqual(await response.json(), { items: [] });
      using client = createClient(`ws://127.0.0.1:${port}/sync`);
      const todos = client.subscribe("Todos");
      await within(todos.ready(), {
        describe: () => `the state:\n${running.output}`,
      });
      assert.deepEqual(todos.getState(), { items: [] });
    }
    return `Node ${NODES[20]} and ${NODES[22]}`;
  },
};
