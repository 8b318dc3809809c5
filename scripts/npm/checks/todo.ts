/** The todo example, server and client, on each version of Node. */
import assert from "node:assert/strict";
import { within } from "../../../tests/_waiting.ts";
import type { Check } from "../check.ts";
import { copyExample } from "../examples.ts";
import { type Consumer, NODES } from "../lab.ts";

/** Runs a server and clients of the example, twice over one file. */
export const todo: Check = {
  name: "todo",
  claim: "the todo example runs on Node 20 and 22, and keeps its state",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await copyExample(lab, consumer, "todo");
    // What the README says for a Node that has no WebSocket.
    await consumer.write({
      "websocket.js":
        'import { WebSocket } from "ws";\nglobalThis.WebSocket ??= WebSocket;\n',
    });
    await runOn(consumer, await lab.node(20), {
      name: "20",
      file: (name) => ["--import=./websocket.js", `todo/compiled/${name}.js`],
    });
    await runOn(consumer, await lab.node(22), {
      name: "22",
      file: (name) => [
        "--disable-warning=ExperimentalWarning",
        `todo/${name}.ts`,
      ],
    });
    return `${NODES[20]} compiled, ${NODES[22]} as it is`;
  },
};

interface Way {
  readonly name: string;
  readonly file: (name: "server" | "client") => string[];
}

async function runOn(
  consumer: Consumer,
  node: string,
  { name, file }: Way,
): Promise<void> {
  const env = { PORT: "0", TODO_KV: `todo-${name}/state.db` };
  for (const [round, text] of ["Ship it", "Celebrate"].entries()) {
    await using server = consumer.start(node, file("server"), env);
    const [, url = ""] = await server.line(/^Todos at (ws:\S+)$/);
    const output = await consumer.run(node, [...file("client"), url, text]);
    assert.match(output, new RegExp(`^At once: ${text}$`, "m"));
    assert.match(output, new RegExp(`^Added: ${text}$`, "m"));
    assert.match(output, new RegExp(`^Event: I finished ${text}$`, "m"));
    assert.match(output, /^Deleted: Room:general$/m);
    assert.match(output, /^Refused: Cannot finish "nothing"/m);
    if (round > 0) assert.match(output, /^Todos: \[x\] Ship it$/m);
    const { code } = await within(server.kill("SIGTERM"), {
      describe: () => `an end of\n${server.output}`,
    });
    assert.equal(code, 0, server.output);
  }
}
