/** A server that dies at any await of what it does with the KV breaks no promise. */
import assert from "node:assert/strict";
import { createSimulation } from "../adapters/testing/mod.ts";
import { settleAndCheck } from "./simulation/checks.ts";
import type { Plan } from "./simulation/plan.ts";
import { World } from "./simulation/world.ts";

/** Two servers, one of which dies; states that outgrow the log, so that it is compacted. */
const PLAN: Plan = {
  servers: 2,
  clients: 2,
  moves: 0,
  stores: ["Ledger", "Room:a"],
  latencyMs: [1, 3],
  isLong: false,
  isLocal: false,
  sync: true,
  keptVersions: 1,
  padSize: 90_000,
  outboxBytes: 256 * 1024,
  trouble: { network: 0, kv: 0, processes: 0 },
  isBroken: false,
  isRestored: false,
  commitMs: 5_000,
  isGuarded: false,
};

Deno.test("Server: a crash at any await of its commits, compactions and deletions breaks no promise", async () => {
  const operations = await runWithCrash(undefined);
  // Fewer would mean that no snapshot was taken.
  assert.ok(operations > 100, `${operations} operations`);
  for (let operation = 1; operation <= operations; operation++) {
    try {
      await runWithCrash(operation);
    } catch (cause) {
      const message = `A crash at operation ${operation} breaks a promise`;
      throw new Error(message, { cause });
    }
  }
});

/** Runs the same writes, in which server 1 dies at its n-th step; returns how many it made. */
async function runWithCrash(at: number | undefined): Promise<number> {
  const simulation = createSimulation({ seed: 1 });
  const world = new World(simulation, PLAN);
  const dying = world.launch("server-1");
  world.launch("server-2");
  let operations = 0;
  dying.onKvOperation = () => {
    if (++operations === at) dying.crash();
  };
  for (let client = 0; client < PLAN.clients; client++) {
    const person = world.clients.enter();
    for (const store of PLAN.stores) world.clients.look(person, store);
  }
  const [first, second] = world.people;
  assert.ok(first && second);
  for (let round = 0; round < 4; round++) {
    world.caller.call(first, "add", ["Ledger"]);
    world.caller.call(second, "addTogether", ["Room:a", "Ledger"]);
    await simulation.advance(20);
    world.caller.call(first, "addOnce", ["Room:a"]);
    if (!dying.clock.isDead) world.caller.update(dying, "Ledger");
    await simulation.advance(200);
    world.caller.call(second, "remove", ["Room:a", "Ledger"]);
    await simulation.advance(60);
    world.check();
  }
  await settleAndCheck(world);
  for (const person of [...world.people]) world.clients.leave(person);
  await simulation.close();
  world.check();
  return operations;
}
