/** `npx headwater`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Check } from "../check.ts";

/** Starts the program as its users do, and ends it. */
export const program: Check = {
  name: "program",
  claim: "npx headwater serves its page, and SIGTERM ends it; --help helps",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    const npx = ["--no-install", "headwater"];
    const help = await consumer.run("npx", [...npx, "--help"]);
    assert.match(help, /^Usage: npx headwater \[--help \| --version\]$/m);
    assert.doesNotMatch(help, /deno (task|run)/);
    const version = await consumer.run("npx", [...npx, "--version"]);
    assert.match(version, /^\d+\.\d+\.\d+\n/);
    await consumer.run("npx", [...npx, "--prot"], { code: 2 });

    // Not by npx, which does not hand a signal on.
    const path = join("node_modules", ".bin", "headwater");
    for (const major of [20, 22] as const) {
      await using server = consumer.start(await lab.node(major), [path], {
        PORT: "0",
        HEADWATER_KV: `program-${major}/state.db`,
      });
      const [, url = ""] = await server.line(/(http:\/\/localhost:[1-9]\d*)/);
      await server.line(new RegExp(`program-${major}/state.db`));
      const page = await (await fetch(url)).text();
      assert.match(page, /<title>Headwater<\/title>/);
      const health = await fetch(`${url}/api/v1/health`);
      assert.equal((await health.json()).status, "ok");
      assert.equal((await server.kill("SIGTERM")).code, 0, server.output);
    }
    return version.trim().split("\n")[0] ?? "";
  },
};
