/** The README's first quick start, on each version of Node. */
import assert from "node:assert/strict";
import ts from "typescript";
import { readmeBlock, replaced } from "../../readme_blocks.ts";
import type { Check } from "../check.ts";
import type { Consumer } from "../lab.ts";

/** Runs the server and the client as they stand in the README. */
export const readmeNode: Check = {
  name: "readme_node",
  claim: "the README's server and client run on Node",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await consumer.write({
      "readme/websocket.js":
        'import { WebSocket } from "ws";\nglobalThis.WebSocket ??= WebSocket;\n',
    });
    await runOn(consumer, await lab.node(20), {
      ending: "js",
      args: ["--import=./readme/websocket.js"],
    });
    await runOn(consumer, await lab.node(22), {
      ending: "ts",
      args: ["--disable-warning=ExperimentalWarning"],
    });
    return "20 compiled, 22 as it is";
  },
};

async function runOn(
  consumer: Consumer,
  node: string,
  { ending, args }: { ending: "js" | "ts"; args: readonly string[] },
): Promise<void> {
  const write = async (name: string, text: string) => {
    const file = `readme/${name}.${ending}`;
    await consumer.write({ [file]: ending === "js" ? compiled(text) : text });
    return [...args, file];
  };
  const server = await write(
    "server",
    // Each version has a state of its own to begin with.
    `${
      replaced(
        replaced(await readmeBlock("ts server"), "4400", "0"),
        "createServer()",
        `createServer({ kv: "readme/${ending}.db" })`,
      )
    }console.log(\`port \${server.port}\`);\n`,
  );
  await using running = consumer.start(node, server);
  const [, port = ""] = await running.line(/^port (\d+)$/);
  const client = await write(
    "client",
    replaced(await readmeBlock("ts client"), "4400", port),
  );
  const output = await consumer.run(node, client);
  assert.match(output, /^\{ items: \[\] \}$/m);
  assert.match(output, /^\[ 'Ship it' \]$/m);
}

function compiled(text: string): string {
  const { ESNext } = ts.ModuleKind;
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ESNext };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}
