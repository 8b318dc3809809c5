/** The client on Node, with sockets of `ws`, against a real server. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { startApp } from "./_app.ts";
import { startProxy, tempDir, until, within } from "./_harness.ts";

const OLDEST_NODE = 20;

/** Whether there is a Node that the client promises to work on. */
function hasNode(): boolean {
  try {
    const version = execFileSync("node", ["--version"], { encoding: "utf8" });
    return Number(/^v(\d+)/.exec(version)?.[1]) >= OLDEST_NODE;
  } catch {
    return false;
  }
}

/** Bundles the script, with the packages of Deno's cache, into a module that Node runs alone. */
async function bundle(outfile: string): Promise<void> {
  const require = createRequire(import.meta.url);
  try {
    await esbuild.build({
      entryPoints: [join(import.meta.dirname ?? ".", "servers/node_client.ts")],
      outfile,
      bundle: true,
      platform: "node",
      target: `node${OLDEST_NODE}`,
      format: "esm",
      logLevel: "silent",
      // What `ws` takes where it is installed.
      external: ["bufferutil", "utf-8-validate"],
      // CommonJS modules in the bundle ask for Node's own by require().
      banner: {
        js:
          'import { createRequire } from "node:module"; const require = createRequire("/");',
      },
      plugins: [{
        name: "packages-of-deno",
        setup(build) {
          build.onResolve(
            { filter: /^(@msgpack\/msgpack|mutative\/.*|ws)$/ },
            ({ path }) => ({ path: require.resolve(path) }),
          );
        },
      }],
    });
  } finally {
    await esbuild.stop();
  }
}

Deno.test({
  name:
    `the client works on Node ${OLDEST_NODE} and later with ws: subscribe, call, reconnect, destroy`,
  ignore: !hasNode(),
  // The bundler's process belongs to the package, which keeps parts of it.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using folder = await tempDir();
    const script = join(folder.path, "client.mjs");
    await bundle(script);
    await using app = await startApp();
    await using proxy = await startProxy(app.port);
    const child = new Deno.Command("node", {
      args: [script, `ws://127.0.0.1:${proxy.port}`],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const errors = new Response(child.stderr).text();
    let output = "";
    const reading = (async () => {
      for await (
        const text of child.stdout.pipeThrough(new TextDecoderStream())
      ) output += text;
    })();
    try {
      const describe = () => output;
      await until(() => output.includes("first 1"), { ms: 10_000, describe });
      proxy.refuse(true);
      proxy.cut();
      await until(() => output.includes("refused"), { describe });
      await app.entries.update((draft) => void draft.items.push("meanwhile"));
      proxy.refuse(false);
      const { code } = await within(child.status, { ms: 10_000, describe });
      await reading;
      assert.equal(code, 0, `${output}\n${await errors}`);
      assert.deepEqual(output.trim().split("\n").slice(1), [
        "first 1",
        "disconnected",
        "refused",
        "offline 3",
        'state ["from node","meanwhile","offline"]',
        "unacked 0 connected",
        "disconnected",
        "destroyed",
      ]);
      assert.equal(await errors, "");
    } finally {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
  },
});
