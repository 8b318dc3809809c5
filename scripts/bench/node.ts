/**
 * The server on Node, from the npm package: what a delivery costs beside a bare `ws`
 * server, and how many writes it takes beside the same server on Deno.
 *
 * @module
 */
import { join } from "node:path";
import { buildNpm } from "../build_npm.ts";
import { bundleForNode } from "../npm/javascript.ts";
import { type Consumer, Lab } from "../npm/lab.ts";
import { measureCalls } from "./acked_calls.ts";
import { BenchProcess } from "./bench_process.ts";
import { measureDeliveries } from "./fanout.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";

const ITEMS = 20;
const ROOT = join(import.meta.dirname ?? ".", "../..");
const CALLS = { store: "Grid", call: "set" };

/** See the module's documentation. */
export const node: Scenario = {
  name: "node",
  title: "Node, with ws and @deno/kv",
  async run(bench: Bench) {
    const consumer = await install(bench.newFolder());
    const start = (script: string, options: object) =>
      BenchProcess.startProgram("node", [
        join(consumer.path, `${script}.js`),
        JSON.stringify(options),
      ]);
    const fanout = await bench.measure({
      bare: () => measureDeliveries(start("raw_node_server", { items: ITEMS })),
      headwater: () =>
        measureDeliveries(start("server", {
          kv: bench.newKvPath(),
          items: ITEMS,
          limits: { fanoutMs: 0 },
        })),
    });
    const calls = await bench.measure({
      deno: () => measureCalls(bench.startServer(), CALLS),
      node: () =>
        measureCalls(start("server", { kv: bench.newKvPath() }), CALLS),
    });
    return [
      toFigure({
        name: "server CPU per million deliveries",
        unit: "s",
        rounds: fanout.headwater.map(({ cpuS }) => cpuS),
        baseline: {
          name: "bare ws send loop, on Node",
          rounds: fanout.bare.map(({ cpuS }) => cpuS),
        },
        target: { of: "ratio", atMost: 1.15 },
      }),
      toFigure({
        name: "acknowledged calls, each one update",
        unit: "/s",
        rounds: calls.node.map(({ perSecond }) => perSecond),
        baseline: {
          name: "same server on Deno",
          rounds: calls.deno.map(({ perSecond }) => perSecond),
        },
        target: { of: "ratio", atLeast: 0.8 },
      }),
      toFigure({
        name: "server CPU per million calls",
        unit: "s",
        rounds: calls.node.map(({ cpuS }) => cpuS),
        baseline: {
          name: "same server on Deno",
          rounds: calls.deno.map(({ cpuS }) => cpuS),
        },
      }),
    ];
  },
};

/** Installs the package as its users do, and puts the servers under test beside it. */
async function install(folder: string): Promise<Consumer> {
  const built = join(folder, "npm");
  await buildNpm(ROOT, built);
  const lab = new Lab({ root: ROOT, tarball: built, folder });
  const consumer = await lab.consumer("bench", ["ws", "@deno/kv"]);
  for (const name of ["server", "raw_node_server"]) {
    const outfile = join(consumer.path, `${name}.js`);
    await bundleForNode(ROOT, `scripts/bench/${name}.ts`, outfile);
  }
  return consumer;
}
