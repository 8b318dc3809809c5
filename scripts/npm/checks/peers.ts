/** What is said where an optional package is not installed. */
import assert from "node:assert/strict";
import type { Check } from "../check.ts";

const SERVER = `
import { createServer } from "@headwater/sync/server";
const [what] = process.argv.slice(2);
const server = createServer({ kv: "state.db" });
try {
  if (what === "attach") {
    const { createServer: createHttp } = await import("node:http");
    await server.attach(createHttp());
  } else await server.listen({ port: 0 });
  console.log("listens");
} catch (error) {
  console.log(error.message);
}
await server.close();
`;

/** Uninstalls each optional package, and reads what is said then. */
export const peers: Check = {
  name: "peers",
  claim: "a missing optional package is one sentence with the install command",
  async run(lab) {
    const consumer = await lab.consumer("peers", []);
    await consumer.write({ "server.js": SERVER });
    const node = await lab.node(20);
    const said = async (what: string) =>
      (await consumer.run(node, ["server.js", what])).trim();
    const kv =
      'Cannot open KV "PATH": the package "@deno/kv" is not installed; run: npm install @deno/kv';
    const withoutPath = (text: string) =>
      text.replace(/"\/.*state\.db"/, '"PATH"');
    assert.equal(withoutPath(await said("listen")), kv);
    const program = await consumer.run(node, ["node_modules/.bin/headwater"], {
      code: 1,
      env: { PORT: "0", HEADWATER_KV: "state.db" },
    });
    assert.equal(withoutPath(program.trim()), `Headwater stops: ${kv}`);

    await consumer.run("npm", [
      "install",
      "--prefer-offline",
      "@deno/kv@0.14.0",
    ]);
    const ws = 'the package "ws" is not installed; run: npm install ws';
    assert.equal(await said("listen"), `Cannot listen: ${ws}`);
    assert.equal(await said("attach"), `Cannot attach: ${ws}`);

    await consumer.run("npm", ["install", "--prefer-offline", "ws@8.23.0"]);
    assert.equal(await said("listen"), "listens");
    return ws;
  },
};
