/** Which KV is opened on Deno Deploy, which is simulated: see `tests/servers/deploy_kv.ts`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DenoServe } from "./_deno_serve.ts";
import {
  type FreshProcess,
  freshProcess,
  RawClient,
  tempDir,
  tempKvPath,
  until,
} from "./_harness.ts";

const STAND_IN = import.meta.resolve("./servers/deploy_kv.ts");
const PORTS = import.meta.resolve("../adapters/deno_kv.ts");
const SERVE = decodeURIComponent(
  new URL(import.meta.resolve("./servers/deploy.ts")).pathname,
);

/** Opens the KV at that location in a process of its own, and prints what came of it. */
async function opening(location: string, env: Record<string, string>) {
  const folder = await tempDir();
  const path = join(folder.path, "script.ts");
  await Deno.writeTextFile(
    path,
    `import ${JSON.stringify(STAND_IN)};
    import { openDenoKv } from ${JSON.stringify(PORTS)};
    try {
      const opened = await openDenoKv(${JSON.stringify(location)});
      console.log(\`isLocal \${opened.isLocal}, \${opened.location}\`);
      await opened.kv.get(["x"]);
      await opened.close();
      await opened.close();
    } catch (error) {
      console.log(error.message);
    }
    console.log("end");`,
  );
  const process = freshProcess([path], env);
  return {
    process,
    async [Symbol.asyncDispose]() {
      await process[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function linesOf(process: FreshProcess): Promise<string[]> {
  await process.line(/^end$/);
  return process.output.split("\n").filter((line) => line && line !== "end");
}

Deno.test("openDenoKv() opens the app's own KV for any path where DENO_DEPLOYMENT_ID is set, as one that is far away", async () => {
  await using kv = await tempKvPath();
  const env = { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv.path };
  for (const path of [".headwater/state.db", "/data/x.db"]) {
    await using script = await opening(path, env);
    assert.deepEqual(await linesOf(script.process), [
      "openKv()",
      "isLocal false, the KV of Deno Deploy",
    ]);
  }
  await using script = await opening(":memory:", env);
  assert.match((await linesOf(script.process))[0] ?? "", /openKv\(:memory:\)/);
});

Deno.test("openDenoKv() says what to do on Deno Deploy where no database is assigned", async () => {
  await using script = await opening("state.db", { DENO_DEPLOYMENT_ID: "d1" });
  assert.deepEqual(await linesOf(script.process), [
    "openKv()",
    "Cannot open the KV of Deno Deploy: No database; is a database of Deno KV assigned to the app?",
  ]);
});

Deno.test("openDenoKv() opens a file for who may not read the environment, and does not ask", async () => {
  await using folder = await tempDir();
  const script = join(folder.path, "script.ts");
  await Deno.writeTextFile(
    script,
    `import { openDenoKv } from ${JSON.stringify(PORTS)};
    const opened = await openDenoKv(${
      JSON.stringify(join(folder.path, "state.db"))
    });
    console.log(opened.isLocal);
    await opened.close();`,
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--no-check", "--unstable-kv"],
      ...["--allow-read", "--allow-write", script],
    ],
    env: { DENO_DEPLOYMENT_ID: "d1", NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert.equal(code, 0, text.decode(stderr));
  assert.equal(text.decode(stdout), "true\n");
});

Deno.test("deno serve adapters/serve.ts on Deno Deploy opens the app's KV once somebody connects, and not for a page", async () => {
  await using kv = await tempKvPath();
  await using server = await DenoServe.start({
    script: SERVE,
    env: { DENO_DEPLOYMENT_ID: "d1", DEPLOY_KV: kv.path },
  });
  const page = await fetch(server.url);
  assert.match(await page.text(), /<title>Headwater<\/title>/);
  assert.doesNotMatch(server.output, /openKv/);
  await using client = await RawClient.connect(server.port);
  await client.hello();
  client.send({ type: "sub", name: "Counter" });
  await client.next("snap");
  await until(() => server.output.includes("openKv"));
  assert.deepEqual(server.output.match(/openKv\(.*/g), ["openKv()"]);
});
