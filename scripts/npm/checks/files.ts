/** That a KV file written by Deno opens on Node, and back. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Check } from "../check.ts";
import { bundleForNode } from "../javascript.ts";

const SUITE = "scripts/npm/suites/ledger.ts";
/** What one visit adds to the big store. */
const BIG = 100_000 * "deno".length;

/** Lets Deno and Node write to one file by turns, and read what the other wrote. */
export const files: Check = {
  name: "files",
  claim: "a KV file written by Deno opens on Node, and the other way round",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await bundleForNode(lab.root, SUITE, join(consumer.path, "ledger.js"));
    const runs = {
      deno: (path: string) =>
        consumer.run(Deno.execPath(), [
          "run",
          "-A",
          "--no-check",
          `--config=${lab.root}/deno.json`,
          join(lab.root, SUITE),
          path,
          "deno",
        ]),
      node: async (path: string) =>
        await consumer.run(await lab.node(20), ["ledger.js", path, "node"]),
    };
    for (const first of ["deno", "node"] as const) {
      const second = first === "deno" ? "node" : "deno";
      const path = join(consumer.path, `files-${first}.db`);
      const turns = [first, second, first, second] as const;
      let version: number | undefined;
      for (const [index, who] of turns.entries()) {
        const by = turns.slice(0, index + 1);
        const seen = JSON.parse(await runs[who](path));
        version = (version ?? seen.version - 1) + 1;
        assert.deepEqual(seen, {
          version,
          by,
          big: BIG * by.length,
          visits: by.length,
          both: by.length,
          history: version,
          first: { by: [first] },
          stores: [
            "Big",
            "Ledger",
            ...["Room:both", ...by.map((who) => `Room:${who}`)]
              .concat("Room:general").filter((name, at, all) =>
                all.indexOf(name) === at
              ).sort(),
          ],
        });
      }
    }
    return "4 turns each, begun by Deno and by Node";
  },
};
