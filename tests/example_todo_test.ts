import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type FreshProcess,
  freshProcess,
  tempKvPath,
  within,
} from "./_harness.ts";

const FOLDER = join(import.meta.dirname ?? ".", "../examples/todo");

Deno.test("examples/todo shares its state, keeps it, and ends by itself", async () => {
  await using kv = await tempKvPath();
  {
    await using server = startServer(kv.path);
    await using first = await runClient(server, "Ship it");
    const missing = 'Error: No store is defined for the name "Nowhere"';
    const lines = first.output.trim().split("\n");
    const clientId = lines[0]?.replace("I am ", "");
    assert.deepEqual(lines.slice(1), [
      "Todos: none",
      "At once: Ship it",
      "Todos: [ ] Ship it", // the guess
      "Todos: [ ] Ship it", // with the server's id
      "Added: Ship it",
      "Todos: [x] Ship it",
      "Event: I finished Ship it",
      "Room: Done: Ship it",
      'Refused: Cannot finish "nothing": there is no such item',
      "Deleted: Room:general",
      missing,
    ]);
    await server.line(new RegExp(`^${clientId} is here$`));
    await server.line(/^The end of general$/);
    await server.line(new RegExp(`^${clientId} has left$`));
    assert.equal((await server.kill("SIGTERM")).code, 0, server.output);
  }
  await using server = startServer(kv.path);
  await using second = await runClient(server, "Celebrate");
  assert.match(second.output, /^Todos: \[x\] Ship it$/m);
  assert.match(second.output, /^Todos: \[x\] Ship it, \[x\] Celebrate$/m);
});

Deno.test("examples/todo stays short", async () => {
  for (const file of ["server.ts", "client.ts"]) {
    const text = await Deno.readTextFile(join(FOLDER, file));
    assert.ok(text.split("\n").length <= 60, `${file} is longer than 60 lines`);
  }
});

function startServer(kvPath: string): FreshProcess {
  return freshProcess([join(FOLDER, "server.ts")], {
    PORT: "0",
    TODO_KV: kvPath,
  });
}

/** Runs the client to its end. */
async function runClient(
  server: FreshProcess,
  text: string,
): Promise<FreshProcess> {
  const [, url = ""] = await server.line(/^Todos at (ws:\S+)/);
  const client = freshProcess([join(FOLDER, "client.ts"), url, text]);
  const { code } = await within(client.exited, {
    ms: 20_000,
    describe: () => client.output,
  });
  assert.equal(code, 0, client.output);
  return client;
}
