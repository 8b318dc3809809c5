/** The contract suites of the sources, on Node. */
import { join } from "node:path";
import { Denokv, findDenokv } from "../../bench/denokv.ts";
import type { Check } from "../check.ts";
import { bundleForNode } from "../javascript.ts";
import { NODES } from "../lab.ts";

/** Runs the contract suites on each version of Node. */
export const contracts: Check = {
  name: "contracts",
  claim: "the suites of Kv, Socket and Listener pass on Node 20 and 22",
  async run(lab) {
    const consumer = await lab.consumer("server", ["ws", "@deno/kv"]);
    await bundleForNode(
      lab.root,
      "scripts/npm/suites/contracts.ts",
      join(consumer.path, "contracts.js"),
    );
    await using denokvs = serveDenokvs();
    const results: string[] = [];
    for (const major of [20, 22] as const) {
      const output = await consumer.run(await lab.node(major), [
        "--test-reporter=tap",
        "contracts.js",
      ], { env: denokvs.env });
      const count = (word: string) =>
        Number(new RegExp(`^# ${word} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
      const [passed, skipped] = [count("pass"), count("skipped")];
      if (passed === 0) throw new Error(`No test ran:\n${output}`);
      const ignored = skipped === 0 ? "" : `, ${skipped} without denokv`;
      results.push(`${NODES[major]}: ${passed}${ignored}`);
    }
    return results.join("; ");
  },
};

/** Starts a denokv for each test that asks for one, since only a Deno can here. */
function serveDenokvs(): AsyncDisposable & { env: Record<string, string> } {
  const running = new Map<string, Denokv>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      if (request.url.endsWith("/start")) {
        const denokv = await Denokv.start();
        running.set(denokv.url, denokv);
        return Response.json({ url: denokv.url, token: denokv.token });
      }
      const url = await request.text();
      await running.get(url)?.[Symbol.asyncDispose]();
      running.delete(url);
      return new Response();
    },
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  return {
    env: findDenokv() === undefined ? {} : { HEADWATER_DENOKVS: url },
    async [Symbol.asyncDispose]() {
      for (const denokv of running.values()) {
        await denokv[Symbol.asyncDispose]();
      }
      await server.shutdown();
    },
  };
}
