/** Simulation.close() tells of whatever was left behind, by its kind. */
import assert from "node:assert/strict";
import { NetworkOfNames } from "../adapters/testing/simulated_network.ts";
import {
  createSimulation,
  type Server,
  type Simulation,
} from "@headwater/sync/testing";

function defineNothing(_: Server): void {}

/** What `close()` says of a simulation with one client and server that ran, and what `leave` left. */
async function leftBy(
  leave: (simulation: Simulation) => Promise<void> | void,
): Promise<string> {
  const simulation = createSimulation();
  await simulation.startServer(defineNothing);
  await simulation.until(simulation.createClient().client.ready());
  await leave(simulation);
  try {
    await simulation.close();
    return "nothing";
  } catch (error) {
    assert.ok(error instanceof Error);
    return error.message;
  }
}

Deno.test("Simulation.close() finds nothing where all has ended in good order, or crashed", async () => {
  assert.equal(await leftBy(() => {}), "nothing");
  const crash = ({ servers, clients }: Simulation) => {
    for (const process of [...servers, ...clients]) process.crash();
  };
  assert.equal(await leftBy(crash), "nothing");
});

Deno.test("Simulation.close() tells of a watch", async () => {
  const left = await leftBy(async ({ kv, clock }) => {
    kv.open().watch([["bell"]]);
    await clock.advance(1);
  });
  assert.equal(left, "Left behind: 1 watches");
});

Deno.test("Simulation.close() tells of an operation of the KV", async () => {
  const left = await leftBy(({ kv }) => {
    // It takes longer than anybody waits.
    kv.faults.spike = { chance: 1, ms: [600_000, 600_000] };
    void kv.open().get(["a"]);
  });
  assert.equal(left, "Left behind: 1 operations of the KV");
});

Deno.test("Simulation.close() tells of a connection", async () => {
  const left = await leftBy(async ({ clock, network }) => {
    // Between two who are no processes of the simulation: nobody ends it for them.
    assert.ok(network instanceof NetworkOfNames);
    await network.listen(
      "elsewhere",
      clock.createHost(),
      (request) =>
        network.upgrade(request, () => ({ message() {}, closed() {} })),
    );
    new (network.socketClass(clock.createHost()))("ws://elsewhere/", "");
    await clock.advance(1);
  });
  assert.equal(left, "Left behind: 1 connections");
});

Deno.test("Simulation.close() tells of a server and of a client that were made meanwhile", async () => {
  const client = await leftBy((simulation) => {
    simulation.clock.schedule(1_000, () => void simulation.createClient());
  });
  assert.match(client, /^Left behind: 1 clients, /);
  const server = await leftBy((simulation) => {
    simulation.clock.schedule(
      1_000,
      () => void simulation.launchServer(defineNothing),
    );
  });
  assert.match(server, /^Left behind: 1 servers(,|$)/);
});

Deno.test("Simulation.close() tells of a timer, unless its process has crashed", async () => {
  const leave = (simulation: Simulation) =>
    simulation.startServer((_, clock) => {
      clock.setTimer(10 ** 9, () => {});
    }, { name: "forgetful" });
  const left = await leftBy(async (simulation) => void await leave(simulation));
  assert.equal(left, "Left behind: 1 timers");
  const crashed = await leftBy(async (simulation) => {
    (await leave(simulation)).crash();
  });
  assert.equal(crashed, "nothing");
});
