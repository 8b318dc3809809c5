/** That a Node process exits by itself once its server and client are closed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { within } from "../../../tests/_waiting.ts";
import type { Check } from "../check.ts";
import { bundleForNode } from "../javascript.ts";

const WAYS = ["file", "memory", "lent", "attached"] as const;

/** An end that took so long has waited for something. */
const END_MS = 5_000;

/** Closes everything, and waits for the end of the process. */
export const endings: Check = {
  name: "endings",
  claim:
    "a process with server, client and watch exits by itself after close()",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await bundleForNode(
      lab.root,
      "scripts/npm/suites/ending.ts",
      join(consumer.path, "ending.js"),
    );
    let slowestMs = 0;
    for (const major of [20, 22] as const) {
      for (const way of WAYS) {
        const path = join(consumer.path, `ending-${major}-${way}.db`);
        await using process = consumer.start(
          await lab.node(major),
          ["ending.js", way, path],
        );
        await process.line(/^added 1 \{ count: 1 \}$/);
        await process.line(/^closed$/);
        const closedMs = performance.now();
        const { code } = await within(process.exited, {
          ms: END_MS,
          describe: () => `an end by itself, ${way}:\n${process.output}`,
        });
        slowestMs = Math.max(slowestMs, performance.now() - closedMs);
        assert.equal(code, 0, process.output);
      }
    }
    return `${WAYS.join(", ")}: at most ${slowestMs.toFixed(0)} ms`;
  },
};
