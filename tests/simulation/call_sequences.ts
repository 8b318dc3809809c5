/**
 * Moves of several steps with calls whose answers are lost, or come from who has not
 * heard yet: each leads to where a promise hangs on one rule, which single moves would
 * hardly ever come to by chance.
 *
 * @module
 */
import { delayCommits, outage, remove, serverOf } from "./steps.ts";
import type { World } from "./world.ts";

/** Calls whose second run could go another way than the first. */
const ANSWERED_ONCE = [
  "add",
  "addWhereRefused",
  "addWhereRefused",
  "addOnce",
  "addAndFail",
  "addTwice",
  "refuse",
];

/**
 * An answer is lost on its way, and asked for again at a server that has not heard
 * of the life that it speaks of.
 */
export async function askWhoHasNotHeard(world: World): Promise<void> {
  const { random, simulation } = world;
  const person = random.pick(world.people);
  const server = serverOf(world, person);
  if (!server) return;
  const store = world.pickDynamicStore();
  const { faults } = simulation.kv;
  const { watch } = faults;
  faults.watch = "dead";
  world.note("nobody hears of what others write");
  // Known to all of them, as it is now.
  for (const one of simulation.servers) world.caller.update(one, store);
  world.clients.look(person, store);
  await simulation.advance(random.integer(20, 2_500));
  for (const link of person.running.links) link.down.stall();
  if (random.chance(0.7)) remove(world, server, store);
  world.caller.call(person, random.pick(["add", "addOnce", "addOnce"]), [
    store,
  ]);
  await simulation.advance(random.integer(10, 150));
  // Sometimes it is the only one, and has to open the store again.
  if (random.chance(0.2)) {
    world.note(`${server.name} crashes`);
    server.crash();
    world.launchAll();
  } else {
    for (const link of person.running.links) link.cut();
  }
  await simulation.advance(random.integer(100, 600));
  faults.watch = watch;
}

/**
 * A store is deleted and made anew while a server has a commit on its way to the life
 * before, and then it is asked by somebody who has seen the next one.
 */
export async function askWhoHasACommitOnItsWay(world: World): Promise<void> {
  const { random, simulation } = world;
  const person = random.pick(world.people);
  const server = serverOf(world, person);
  const others = simulation.servers.filter((one) => one !== server);
  if (!server || others.length === 0) return;
  const store = world.pickDynamicStore();
  const { faults } = simulation.kv;
  for (const one of simulation.servers) world.caller.update(one, store);
  world.clients.look(person, store);
  await simulation.advance(random.integer(50, 300));
  const { spike } = faults;
  world.note("the KV hiccups");
  faults.spike = { chance: 1, ms: [600, 4_000] };
  for (const other of others) world.caller.update(other, store);
  await simulation.advance(2);
  faults.spike = spike;
  remove(world, server, store);
  await simulation.advance(random.integer(5, 60));
  world.caller.update(server, store);
  // Told that it was deleted, it looks at the next life.
  for (let i = 0; i < 3; i++) {
    await simulation.advance(random.integer(5, 40));
    world.clients.look(person, store);
  }
  for (const link of person.running.links) link.cut();
  await simulation.advance(random.integer(50, 300));
}

/** A client leaves a store and comes back before the first answer has reached it. */
export async function lookAwayAndBack(world: World): Promise<void> {
  const { random, simulation } = world;
  const person = random.pick(world.people);
  const store = world.pickStore();
  const leave = () => {
    person.observers.get(store)?.handle.unsubscribe();
    person.observers.delete(store);
  };
  leave();
  await simulation.advance(random.integer(0, 100));
  const isLate = random.chance(0.7);
  const { links } = person.running;
  if (isLate) { for (const link of links) link.down.stall(); }
  world.clients.look(person, store);
  await simulation.advance(random.integer(0, 60));
  leave();
  // Its answer may come while the first subscription's last words do.
  world.caller.call(person, "add", [store]);
  await simulation.advance(random.integer(0, 80));
  world.clients.look(person, store);
  for (const link of links) link.down.resume();
}

/** An answer is lost, with its server or without, and the call is sent again to any. */
export async function loseAnAnswer(world: World): Promise<void> {
  const { random, simulation } = world;
  const person = random.pick(world.people);
  const server = serverOf(world, person);
  if (!server) return;
  const store = world.pickStore();
  for (const link of person.running.links) link.down.stall();
  for (let i = random.integer(1, 3); i > 0; i--) {
    world.caller.call(person, random.pick(ANSWERED_ONCE), [store]);
  }
  await simulation.advance(random.integer(10, 150));
  if (random.chance(0.6)) {
    world.note(`${server.name} crashes`);
    server.crash();
    world.launchAll();
  } else {
    for (const link of person.running.links) link.cut();
  }
  if (random.chance(0.3)) outage(world, random.integer(100, 3_000));
  // A call that is run again meets another state than the first time.
  for (const one of simulation.servers) {
    if (random.chance(0.5)) world.caller.update(one, store);
  }
  await simulation.advance(random.integer(50, 400));
}

/**
 * A call is sent again while its first run has its commit on its way; what the second
 * one did is over, or forgotten, when that arrives.
 */
export async function runTwiceAtOnce(world: World): Promise<void> {
  const { random, simulation, plan } = world;
  const person = random.pick(world.people);
  const server = serverOf(world, person);
  if (!server || simulation.servers.length < 2) return;
  const store = world.pickDynamicStore();
  for (const one of simulation.servers) world.caller.update(one, store);
  await simulation.advance(random.integer(30, 200));
  if (random.chance(0.5)) {
    remove(world, server, store);
    await simulation.advance(random.integer(60, 300));
  }
  delayCommits(world, server, [300, 480]);
  world.caller.call(person, "add", [store]);
  await simulation.advance(5 + random.integer(1, 8) * plan.latencyMs[1]);
  for (const link of person.running.links) link.cut();
  await simulation.advance(random.integer(110, 250));
  server.onKvOperation = undefined;
  const others = simulation.servers.filter((one) => one !== server);
  if (random.chance(0.5)) {
    for (const other of others) remove(world, other, store);
  } else {
    for (let i = 0; i < 2; i++) world.caller.call(person, "add", [store]);
  }
  await simulation.advance(random.integer(100, 500));
}
