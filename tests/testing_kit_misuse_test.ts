/** What the test kit refuses, and what it says when something does not come. */
import assert from "node:assert/strict";
import {
  createSimulation,
  SeededRandom,
  type Server,
} from "@headwater/sync/testing";

function define(server: Server): void {
  server.createStore("Counter", { count: 0 });
  // A promise that only real time would resolve.
  server.handle("wait", () => new Promise(() => {}));
}

Deno.test("Simulation.until() tells the virtual time, the seed, and who is connected", async () => {
  await using simulation = createSimulation({ seed: 7 });
  await simulation.startServer(define, { name: "north" });
  const lost = await simulation.startServer(define, { name: "south" });
  const [ada, eve] = [
    simulation.createClient({ server: "north", rpcTimeoutMs: Infinity }),
    simulation.createClient({ server: "south" }),
  ];
  await simulation.until(ada.client.ready());
  await simulation.until(eve.client.ready());
  lost.crash();
  const wait = ada.client.call("wait");
  await assert.rejects(simulation.until(wait, { limitMs: 1_000 }), {
    message:
      /^It did not come to that within 1000 ms of virtual time: seed 7, \d{4} ms from its beginning; servers: "north" \(connections: 1\); clients: 1 connected, 1 reconnecting; .*setTimeout, waits for ever$/,
  });
  await using empty = createSimulation();
  await assert.rejects(empty.until(() => false, { limitMs: 5 }), {
    message:
      /within 5 ms of virtual time: seed 1, 5 ms from its beginning; servers: none; clients: none; /,
  });
});

Deno.test("createSimulation() refuses a seed that is no whole number", () => {
  for (
    const [seed, found] of [["x", '"x"'], [1.5, "1.5"], [NaN, "NaN"], [
      null,
      "null",
    ]] as const
  ) {
    const error = {
      name: "RangeError",
      message: `Cannot begin with the seed ${found}: it must be a whole number`,
    };
    // As somebody without types would write it.
    const wrong = seed as unknown as number;
    assert.throws(() => createSimulation({ seed: wrong }), error);
    assert.throws(() => new SeededRandom(wrong), error);
  }
  new SeededRandom(-1);
  new SeededRandom(Date.UTC(2026, 0));
});

Deno.test("the faults of network and KV refuse what they cannot be turned to, and stay as they were", async () => {
  await using simulation = createSimulation();
  const { kv, network } = simulation;
  for (
    const [what, faults, name, values] of [
      ["network", network.faults, "lose", [5, -0.1, NaN, "1", undefined]],
      ["network", network.faults, "latencyMs", [
        [50, 1],
        [-1, 1],
        [0.5, 1],
        [0, Infinity],
        [1],
        5,
      ]],
      ["network", network.faults, "bytesPerMs", [0, -1, NaN, "fast"]],
      ["kv", kv.faults, "latencyMs", [[50, 1], [NaN, NaN], [1, 2, 3]]],
      ["kv", kv.faults, "spike", [0.5, { chance: 2, ms: [0, 1] }, {
        chance: 1,
      }]],
      ["kv", kv.faults, "outage", [1]],
      ["kv", kv.faults, "watch", ["slow"]],
    ] as const
  ) {
    const before = JSON.stringify(faults);
    for (const value of values) {
      assert.throws(() => Reflect.set(faults, name, value), {
        name: "RangeError",
        message: RegExp(
          `^Cannot turn ${what}\\.faults\\.${name} to .*: it must be .`,
        ),
      });
    }
    assert.equal(JSON.stringify(faults), before);
    // One that is misspelt would do nothing.
    assert.throws(() => Object.assign(faults, { latency: [1, 2] }), TypeError);
  }
  network.faults.lose = 1;
  network.faults.latencyMs = [1, 1];
  kv.faults.spike = { chance: 1, ms: [0.5, 2] };
  assert.equal(network.faults.lose, 1);
  simulation.heal();
  assert.deepEqual([network.faults.lose, network.faults.latencyMs], [0, [
    0,
    0,
  ]]);
});

Deno.test("Simulation.startServer() refuses a second server of one name, while the first runs", async () => {
  await using simulation = createSimulation();
  const first = await simulation.startServer(define);
  await assert.rejects(simulation.startServer(define), {
    name: "RangeError",
    message:
      'Cannot start server "server": one of that name runs; close or crash it, or give another name',
  });
  assert.deepEqual(simulation.servers, [first]);
  first.crash();
  const second = await simulation.startServer(define);
  await simulation.until(second.close());
  await simulation.startServer(define);
});

Deno.test("Simulation.startServer() may try again where a server could not open its KV", async () => {
  await using simulation = createSimulation();
  simulation.kv.faults.outage = true;
  await assert.rejects(simulation.startServer(define));
  simulation.kv.faults.outage = false;
  await simulation.startServer(define);
  const { client } = simulation.createClient();
  await simulation.until(client.ready());
});

Deno.test("Simulation.startServer() refuses a name that no client would find", async () => {
  await using simulation = createSimulation();
  for (const name of ["any", "North", "my server", "", "1", "a/b", "a:1"]) {
    await assert.rejects(simulation.startServer(define, { name }), {
      name: "RangeError",
      message:
        `Cannot start server "${name}": a name has small letters, digits, "-" and ".", and is not "any"`,
    });
  }
  await simulation.startServer(define, { name: "north-1.eu" });
  const { client } = simulation.createClient({ server: "north-1.eu" });
  await simulation.until(client.ready());
});

Deno.test("Simulation.createClient() refuses a server that there never was", async () => {
  await using simulation = createSimulation();
  assert.throws(() => simulation.createClient({ server: "nope" }), {
    name: "RangeError",
    message:
      'Cannot make a client of server "nope": there was none of that name, but none at all',
  });
  const north = await simulation.startServer(define, { name: "north" });
  assert.throws(() => simulation.createClient({ server: "nope" }), {
    message:
      'Cannot make a client of server "nope": there was none of that name, but "north"',
  });
  // It may be back later.
  north.crash();
  const { client } = simulation.createClient({ server: "north" });
  await simulation.startServer(define, { name: "north" });
  await simulation.until(client.ready());
  assert.deepEqual(simulation.clients.length, 1);
});
