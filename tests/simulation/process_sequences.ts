/**
 * Moves of several steps in which servers sleep, die and start at the worst moment:
 * each leads to where a promise hangs on one rule.
 *
 * @module
 */
import { comeToRest } from "./checks.ts";
import { delay, delayCommits, pickTwo, sleep } from "./steps.ts";
import type { World } from "./world.ts";

/** Everything that works does it by then. */
const SOON_MS = 15_000;

/**
 * A server sleeps for so long that what others wrote has left their feeds, and
 * nobody writes any more: it has to find out by itself.
 */
export async function sleepPastTheFeeds(world: World): Promise<void> {
  const { random, simulation } = world;
  // Who was set back is told by the next write only.
  if (world.isRestored || world.plan.isBroken) return;
  const pair = pickTwo(world);
  if (!pair) return;
  const [sleeper, other] = pair;
  world.heal();
  const stores = world.plan.stores;
  for (const store of stores) world.caller.update(sleeper, store);
  await simulation.advance(random.integer(20, 200));
  sleep(world, sleeper);
  const written = stores.filter(() => random.chance(0.7));
  for (const store of written) world.caller.update(other, store);
  await simulation.advance(random.integer(11, 15) * 60_000);
  world.note(`${sleeper.name} wakes`);
  sleeper.clock.resume();
  // It has seen nothing yet, so that whoever serves it does not look twice.
  world.clients.replace(random.pick(world.people), stores);
  await comeToRest(world);
}

/** A server sleeps in the middle of a commit, and is then in the way of another one. */
export async function sleepInACommit(world: World): Promise<void> {
  const { random, simulation } = world;
  if (world.isRestored || world.plan.isBroken) return;
  await comeToRest(world);
  const pair = pickTwo(world);
  if (!pair) return;
  const [sleeper, other] = pair;
  const store = world.pickStore();
  for (const { name } of [sleeper, other]) world.note(`${name} is to conflict`);
  world.caller.update(sleeper, store);
  await simulation.advance(random.integer(20, 100));
  let left = random.integer(1, 2);
  sleeper.onKvOperation = () => {
    if (--left === 0) sleep(world, sleeper);
  };
  world.caller.update(sleeper, store);
  await simulation.advance(random.integer(4, 9) * 60_000);
  world.note(`${sleeper.name} wakes`);
  sleeper.onKvOperation = undefined;
  sleeper.clock.resume();
  await simulation.advance(100);
  for (let round = 0; round < 4; round++) {
    for (const server of simulation.servers) world.caller.update(server, store);
    await simulation.advance(random.integer(0, 20));
  }
  await comeToRest(world, SOON_MS);
}

/**
 * The KV is set back while a server sleeps, and somebody who knows of nothing
 * writes on over what it has seen last.
 */
export async function setBackWhileOneSleeps(world: World): Promise<void> {
  const { random, simulation } = world;
  // Once: twice could bring back an epoch that the first time has ended.
  if (world.isRestored) return;
  const pair = pickTwo(world);
  if (!pair) return;
  const [sleeper, other] = pair;
  const store = world.pickStore();
  world.caller.update(sleeper, store);
  await simulation.advance(random.integer(50, 300));
  world.backups.take();
  const ahead = random.pick([1, 1, 2, 3, 7]);
  for (let i = 0; i < ahead; i++) {
    world.caller.update(other, store);
    await simulation.advance(random.integer(50, 200));
  }
  sleep(world, sleeper);
  world.backups.restore(sleeper);
  if (random.chance(0.5)) { for (const link of sleeper.links) link.cut(); }
  // Whoever has seen what is lost would tell it to those who begin anew.
  const { faults } = simulation.network;
  const { refuse } = faults;
  if (random.chance(0.8)) faults.refuse = 1;
  world.launchAll();
  await simulation.advance(random.integer(50, 200));
  const rounds = random.chance(0.6) ? ahead + 1 : random.integer(0, ahead);
  for (let i = 0; i < rounds; i++) {
    for (const server of simulation.servers) {
      if (server !== sleeper) world.caller.update(server, store);
    }
    await simulation.advance(random.integer(50, 200));
  }
  faults.refuse = refuse;
  // Clients that have seen what is lost come first, or the server that has.
  if (random.chance(0.5)) await simulation.advance(random.integer(100, 3_000));
  world.note(`${sleeper.name} wakes`);
  sleeper.clock.resume();
  await simulation.advance(random.integer(50, 3_000));
  // Later it might be gone, and what it believes with it.
  await comeToRest(world);
}

/**
 * A server gives up a commit, makes another one, and dies; then the first one arrives,
 * when there is nobody any more to tell of it.
 */
export async function dieBeforeALateCommit(world: World): Promise<void> {
  const { random, simulation, plan } = world;
  const [late, ...rest] = world.plan.stores;
  const pair = pickTwo(world);
  if (!pair || !late || rest.length === 0 || !plan.sync) return;
  const [dying, other] = pair;
  const { faults } = simulation.kv;
  for (const store of plan.stores) {
    for (const server of pair) world.caller.update(server, store);
    for (const person of world.people) world.clients.look(person, store);
  }
  await simulation.advance(random.integer(50, 300));
  const { outlives } = faults;
  delayCommits(world, dying, [plan.commitMs + 150, plan.commitMs + 400]);
  world.caller.update(dying, late);
  await simulation.advance(2);
  dying.onKvOperation = undefined;
  await simulation.advance(plan.commitMs - random.integer(0, 30));
  for (const store of rest) world.caller.update(dying, store);
  await simulation.advance(random.integer(20, 150));
  if (random.chance(0.7)) {
    world.note(`${dying.name} crashes, and ${other.name} goes on`);
    faults.outlives = 1;
    dying.crash();
  }
  await simulation.advance(500);
  faults.outlives = outlives;
  if (!world.isRestored && !plan.isBroken) await comeToRest(world);
}

/** Servers start, and read, while another one compacts what they read. */
export async function startWhileOneCompacts(world: World): Promise<void> {
  const { random, simulation } = world;
  const pair = pickTwo(world);
  if (!pair) return;
  const [compacting, starting] = pair;
  const store = world.pickStore();
  for (let round = 0; round < 2; round++) {
    const { name } = starting;
    const before = simulation.servers.find((server) => server.name === name);
    // Where it goes on, it reads what it has missed, and no whole state.
    if (random.chance(0.5)) before?.crash();
    else if (before) world.caller.update(before, store);
    delayCommits(world, compacting, random.pick([[1, 10], [5, 60]] as const));
    for (let i = 0; i < 3; i++) {
      world.caller.update(compacting, store, true);
      await simulation.advance(random.integer(5, 120));
    }
    const reading = simulation.servers.find((server) => server.name === name) ??
      world.launch(name);
    delay(world, reading, { kinds: ["list"], ms: [20, 400] });
    await simulation.advance(random.integer(0, 60));
    world.caller.read(reading, store);
    for (let i = 0; i < 3; i++) {
      world.caller.update(compacting, store, true);
      await simulation.advance(random.integer(5, 120));
    }
    delayCommits(world, reading, [20, 200]);
    world.caller.update(compacting, store, true);
    await simulation.advance(random.integer(50, 500));
  }
  for (const server of simulation.servers) server.onKvOperation = undefined;
}
