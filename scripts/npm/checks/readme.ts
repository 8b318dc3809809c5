/** That the quick starts in the README run on Node as they stand there. */
import assert from "node:assert/strict";
import { join } from "node:path";
import ts from "typescript";
import type { FreshProcess } from "../../../tests/_fresh_process.ts";
import type { Check } from "../check.ts";
import { type Consumer, NODES } from "../lab.ts";

/** Runs server, client and Express of the README on each version of Node. */
export const readme: Check = {
  name: "readme",
  claim: "the quick starts of the README run on Node 20 and 22",
  async run(lab) {
    const text = await Deno.readTextFile(join(lab.root, "README.md"));
    const consumer = await lab.consumer("readme", [
      "@deno/kv",
      "express",
      "ws",
    ]);
    await consumer.write({
      "websocket.js":
        'import { WebSocket } from "ws";\nglobalThis.WebSocket ??= WebSocket;\n',
      "server.js": withPort(block(text, "ts server"), "4400") +
        "console.log(`port ${server.port}`);\n",
      "express.js": withPort(block(text, "js express"), "3000") +
        "console.log(`port ${http.address().port}`);\n",
    });
    for (const major of [20, 22] as const) {
      const node = await lab.node(major);
      // Both keep their state in the folder that they run in.
      await consumer.run("rm", ["-rf", ".headwater"]);
      await using server = consumer.start(node, ["server.js"]);
      const url = `ws://localhost:${await portOf(server)}`;
      const seen = await runClient(consumer, node, { text, url });
      assert.match(seen, /^\[ 'Ship it' \]$/m);
      await server.kill();

      await using app = consumer.start(node, ["express.js"]);
      const port = await portOf(app);
      const todos = await fetch(`http://localhost:${port}/todos`);
      // What the server before it has kept.
      assert.deepEqual(await todos.json(), { items: ["Ship it"] });
      const live = await runClient(consumer, node, {
        text: text.replace(/^.*client\.call\(.*$/m, ""),
        url: `ws://localhost:${port}/sync`,
      });
      assert.match(live, /^\[ 'Ship it' \]$/m);
    }
    return `server, client and Express on ${NODES[20]} and ${NODES[22]}`;
  },
};

async function runClient(
  consumer: Consumer,
  node: string,
  { text, url }: { text: string; url: string },
): Promise<string> {
  const client = block(text, "ts client").replace("ws://localhost:4400", url);
  await consumer.write({ "client.js": client });
  return await consumer.run(node, ["--import=./websocket.js", "client.js"]);
}

async function portOf(server: FreshProcess): Promise<string> {
  const [, port = ""] = await server.line(/^port (\d+)$/);
  return port;
}

/** The one block that is fenced with `info`, as JavaScript. */
function block(text: string, info: string): string {
  const blocks = [...text.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === info);
  assert.equal(blocks.length, 1, `The README has not one block "${info}"`);
  return ts.transpileModule(blocks[0]?.[2] ?? "", {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
  }).outputText;
}

function withPort(text: string, port: string): string {
  assert.ok(text.includes(port), `The block does not listen on ${port}`);
  return text.replace(port, "0");
}
