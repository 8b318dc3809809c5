/** That a client on Node talks to a server on Deno, and the other way round. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { freshProcess } from "../../../tests/_fresh_process.ts";
import type { Check } from "../check.ts";
import { copyExample } from "../examples.ts";

/** Runs one half of the todo example on each runtime. */
export const across: Check = {
  name: "across",
  claim: "a client on Node talks to a server on Deno, and the other way round",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await copyExample(lab, consumer, "todo");
    const node = await lab.node(22);
    const example = (name: string) => join(lab.root, "examples/todo", name);
    {
      await using server = freshProcess([example("server.ts")], {
        PORT: "0",
        TODO_KV: ":memory:",
      });
      const [, url = ""] = await server.line(/^Todos at (ws:\S+)$/);
      const output = await consumer.run(node, [
        "todo/compiled/client.js",
        url,
        "From Node",
      ]);
      assert.match(output, /^Added: From Node$/m);
      assert.match(output, /^Event: I finished From Node$/m);
    }
    await using server = consumer.start(node, ["todo/compiled/server.js"], {
      PORT: "0",
      TODO_KV: ":memory:",
    });
    const [, url = ""] = await server.line(/^Todos at (ws:\S+)$/);
    await using client = freshProcess([example("client.ts"), url, "From Deno"]);
    assert.equal((await client.exited).code, 0, client.output);
    const output = await client.whole();
    assert.match(output, /^Added: From Deno$/m);
    assert.match(output, /^Event: I finished From Deno$/m);
    return "the todo example, both ways";
  },
};
