/**
 * The server on Node, from the npm package: what a delivery costs beside a bare `ws`
 * server, and how many writes it takes beside the same server on Deno.
 *
 * @module
 */
import { join } from "node:path";
import { buildNpm } from "../build_npm.ts";
import { bundleForNode } from "../npm/javascript.ts";
import { type Consumer, Lab, NODES } from "../npm/lab.ts";
import { measureCalls } from "./acked_calls.ts";
import { BenchProcess } from "./bench_process.ts";
import { measureDeliveries } from "./fanout.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";

const ITEMS = 20;
const ROOT = join(import.meta.dirname ?? ".", "../..");
const CALLS = { store: "Grid", call: "set" };

/** The version that figures have targets for: its V8 is about as old as Deno's. */
const NEW = 24;
/** The oldest one; its V8 is three years older. */
const OLD = 20;

/** See the module's documentation. */
export const node: Scenario = {
  name: "node",
  title: `Node ${NODES[NEW]}, with ws and @deno/kv`,
  async run(bench: Bench) {
    const lab = await openLab(bench.newFolder());
    const consumer = await install(lab);
    const start = async (
      version: keyof typeof NODES,
      [script, options]: [script: string, options: object],
    ) =>
      await BenchProcess.startProgram(await lab.node(version), [
        join(consumer.path, `${script}.js`),
        JSON.stringify(options),
      ]);
    const bare = (more: object = {}): [string, object] => [
      "raw_node_server",
      { items: ITEMS, ...more },
    ];
    const headwater = (more: object = {}): [string, object] => [
      "server",
      { kv: bench.newKvPath(), items: ITEMS, ...more },
    ];
    const fanout = await bench.measure({
      bare: () => measureDeliveries(start(NEW, bare())),
      headwater: () =>
        measureDeliveries(start(NEW, headwater({ limits: { fanoutMs: 0 } }))),
      committing: () =>
        measureDeliveries(start(NEW, bare({ kv: bench.newKvPath() }))),
    });
    const calls = await bench.measure({
      deno: () => measureCalls(bench.startServer(), CALLS),
      node: () => measureCalls(start(NEW, headwater()), CALLS),
      old: () => measureCalls(start(OLD, headwater()), CALLS),
    });
    const deliveries = fanout.headwater.map(({ cpuS }) => cpuS);
    return [
      toFigure({
        name: "server CPU per million deliveries",
        unit: "s",
        rounds: deliveries,
        baseline: {
          name: "bare ws send loop, on Node",
          rounds: fanout.bare.map(({ cpuS }) => cpuS),
        },
        target: { of: "ratio", atMost: 1.15 },
      }),
      toFigure({
        name: "server CPU per million deliveries",
        unit: "s",
        rounds: deliveries,
        baseline: {
          name: "the same that commits each change by @deno/kv",
          rounds: fanout.committing.map(({ cpuS }) => cpuS),
        },
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
        name: `the same on Node ${NODES[OLD]}`,
        unit: "/s",
        rounds: calls.old.map(({ perSecond }) => perSecond),
        baseline: {
          name: "same server on Deno",
          rounds: calls.deno.map(({ perSecond }) => perSecond),
        },
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

async function openLab(folder: string): Promise<Lab> {
  const built = join(folder, "npm");
  await buildNpm(ROOT, built);
  return new Lab({ root: ROOT, tarball: built, folder });
}

/** Installs the package as its users do, and puts the servers under test beside it. */
async function install(lab: Lab): Promise<Consumer> {
  const consumer = await lab.consumer("bench", [
    "@deno/kv",
    "@msgpack/msgpack",
    "ws",
  ]);
  for (const name of ["server", "raw_node_server"]) {
    const outfile = join(consumer.path, `${name}.js`);
    await bundleForNode(ROOT, `scripts/bench/${name}.ts`, outfile);
  }
  return consumer;
}
