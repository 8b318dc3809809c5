/**
 * Moves of several steps: each leads to where a promise hangs on one rule, which
 * single moves would hardly ever come to by chance.
 *
 * @module
 */
import type {
  KvOperationKind,
  SimulatedServer,
} from "../../adapters/testing/mod.ts";
import { comeToRest } from "./checks.ts";
import type { Person, World } from "./world.ts";

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
  for (const store of stores) world.update(sleeper, store);
  await simulation.advance(random.integer(20, 200));
  sleep(world, sleeper);
  const written = stores.filter(() => random.chance(0.7));
  for (const store of written) world.update(other, store);
  await simulation.advance(random.integer(11, 15) * 60_000);
  world.note(`${sleeper.name} wakes`);
  sleeper.clock.resume();
  // It has seen nothing yet, so that whoever serves it does not look twice.
  world.replace(random.pick(world.people), stores);
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
  world.update(sleeper, store);
  await simulation.advance(random.integer(20, 100));
  let left = random.integer(1, 2);
  sleeper.onKvOperation = () => {
    if (--left === 0) sleep(world, sleeper);
  };
  world.update(sleeper, store);
  await simulation.advance(random.integer(4, 9) * 60_000);
  world.note(`${sleeper.name} wakes`);
  sleeper.onKvOperation = undefined;
  sleeper.clock.resume();
  await simulation.advance(100);
  for (let round = 0; round < 4; round++) {
    for (const server of simulation.servers) world.update(server, store);
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
  world.update(sleeper, store);
  await simulation.advance(random.integer(50, 300));
  world.backUp();
  const ahead = random.pick([1, 1, 2, 3, 7]);
  for (let i = 0; i < ahead; i++) {
    world.update(other, store);
    await simulation.advance(random.integer(50, 200));
  }
  sleep(world, sleeper);
  world.restore(sleeper);
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
      if (server !== sleeper) world.update(server, store);
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
  for (const one of simulation.servers) world.update(one, store);
  world.look(person, store);
  await simulation.advance(random.integer(20, 2_500));
  for (const link of person.running.links) link.down.stall();
  if (random.chance(0.7)) remove(world, server, store);
  world.call(person, random.pick(["add", "addOnce", "addOnce"]), [store]);
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
  for (const one of simulation.servers) world.update(one, store);
  world.look(person, store);
  await simulation.advance(random.integer(50, 300));
  const { spike } = faults;
  world.note("the KV hiccups");
  faults.spike = { chance: 1, ms: [600, 4_000] };
  for (const other of others) world.update(other, store);
  await simulation.advance(2);
  faults.spike = spike;
  remove(world, server, store);
  await simulation.advance(random.integer(5, 60));
  world.update(server, store);
  // Told that it was deleted, it looks at the next life.
  for (let i = 0; i < 3; i++) {
    await simulation.advance(random.integer(5, 40));
    world.look(person, store);
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
  world.look(person, store);
  await simulation.advance(random.integer(0, 60));
  leave();
  // Its answer may come while the first subscription's last words do.
  world.call(person, "add", [store]);
  await simulation.advance(random.integer(0, 80));
  world.look(person, store);
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
    world.call(person, random.pick(ANSWERED_ONCE), [store]);
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
    if (random.chance(0.5)) world.update(one, store);
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
  for (const one of simulation.servers) world.update(one, store);
  await simulation.advance(random.integer(30, 200));
  if (random.chance(0.5)) {
    remove(world, server, store);
    await simulation.advance(random.integer(60, 300));
  }
  delayCommits(world, server, [300, 480]);
  world.call(person, "add", [store]);
  await simulation.advance(5 + random.integer(1, 8) * plan.latencyMs[1]);
  for (const link of person.running.links) link.cut();
  await simulation.advance(random.integer(110, 250));
  server.onKvOperation = undefined;
  const others = simulation.servers.filter((one) => one !== server);
  if (random.chance(0.5)) {
    for (const other of others) remove(world, other, store);
  } else {
    for (let i = 0; i < 2; i++) world.call(person, "add", [store]);
  }
  await simulation.advance(random.integer(100, 500));
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
    for (const server of pair) world.update(server, store);
    for (const person of world.people) world.look(person, store);
  }
  await simulation.advance(random.integer(50, 300));
  const { outlives } = faults;
  delayCommits(world, dying, [plan.commitMs + 150, plan.commitMs + 400]);
  world.update(dying, late);
  await simulation.advance(2);
  dying.onKvOperation = undefined;
  await simulation.advance(plan.commitMs - random.integer(0, 30));
  for (const store of rest) world.update(dying, store);
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
    else if (before) world.update(before, store);
    delayCommits(world, compacting, random.pick([[1, 10], [5, 60]] as const));
    for (let i = 0; i < 3; i++) {
      world.update(compacting, store, true);
      await simulation.advance(random.integer(5, 120));
    }
    const reading = simulation.servers.find((server) => server.name === name) ??
      world.launch(name);
    delay(world, reading, { kinds: ["list"], ms: [20, 400] });
    await simulation.advance(random.integer(0, 60));
    world.read(reading, store);
    for (let i = 0; i < 3; i++) {
      world.update(compacting, store, true);
      await simulation.advance(random.integer(5, 120));
    }
    delayCommits(world, reading, [20, 200]);
    world.update(compacting, store, true);
    await simulation.advance(random.integer(50, 500));
  }
  for (const server of simulation.servers) server.onKvOperation = undefined;
}

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

/** Lets a server's commits travel for so long. */
function delayCommits(
  world: World,
  server: SimulatedServer,
  ms: readonly [number, number],
): void {
  delay(world, server, { kinds: ["commit"], ms });
}

function delay(
  { simulation }: World,
  server: SimulatedServer,
  { kinds, ms }: {
    kinds: readonly KvOperationKind[];
    ms: readonly [number, number];
  },
): void {
  const { faults } = simulation.kv;
  server.onKvOperation = (kind, moment) => {
    if (moment !== "asked" || !kinds.includes(kind)) return;
    const { spike } = faults;
    faults.spike = { chance: 1, ms };
    // The request is sent within this call; others must not be hit.
    queueMicrotask(() => faults.spike = spike);
  };
}

function sleep(world: World, server: SimulatedServer): void {
  world.note(`${server.name} sleeps`);
  server.clock.suspend();
}

/** The KV fails, whatever is asked of it, for so long. */
export function outage(world: World, ms: number): void {
  const { simulation } = world;
  world.note(`the KV is gone for ${ms} ms`);
  simulation.kv.faults.outage = true;
  simulation.clock.schedule(ms, () => {
    simulation.kv.faults.outage = false;
  });
}

function remove(
  world: World,
  { name, server }: SimulatedServer,
  store: string,
): void {
  world.note(`${name} deletes ${store}`);
  // What fails has no effect that anybody counts on.
  server.store(store)?.delete().catch(() => {});
}

function serverOf(
  { simulation }: World,
  { running }: Person,
): SimulatedServer | undefined {
  const links = new Set(running.links);
  return simulation.servers.find((server) =>
    server.links.some((link) => links.has(link))
  );
}

/** Two servers that run, in any order; undefined where there is one. */
function pickTwo(
  { random, simulation: { servers } }: World,
): [SimulatedServer, SimulatedServer] | undefined {
  if (servers.length < 2) return undefined;
  const first = random.pick(servers);
  return [first, random.pick(servers.filter((server) => server !== first))];
}
