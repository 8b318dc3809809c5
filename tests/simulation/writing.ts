/**
 * Moves of several steps in which clients write: while others do, on a state that is
 * old, without a connection, and until they are gone.
 *
 * @module
 */
import type { WriteKind, WriteManner } from "./client_writer.ts";
import type { Person } from "./person.ts";
import { delayCommits, serverOf } from "./steps.ts";
import type { World } from "./world.ts";

const named = (kind: WriteKind): WriteManner => ({ kind, isNamed: true });
const exact = (kind: WriteKind): WriteManner => ({ kind, isExact: true });

/** Ways to write, the usual ones more often. */
export const MANNERS: readonly WriteManner[] = [
  { kind: "add" },
  { kind: "add" },
  { kind: "own" },
  { kind: "own" },
  { kind: "insert" },
  { kind: "insert" },
  { kind: "mark" },
  { kind: "remove" },
  { kind: "both" },
  { kind: "set" },
  { kind: "merge" },
  named("add"),
  named("mark"),
  named("both"),
  exact("add"),
  exact("own"),
  { kind: "own", isNamed: true, isExact: true },
];

/** Those that insert, mark and remove items. */
const LIST_MANNERS: readonly WriteManner[] = [
  { kind: "insert" },
  { kind: "insert" },
  { kind: "mark" },
  { kind: "remove" },
  { kind: "both" },
  { kind: "both" },
  { kind: "own" },
];

/** A batch over one store or two. */
export function writeTogether(world: World): void {
  const { random, people, plan, client } = world;
  const person = random.pick(people);
  const others = random.chance(0.6) ? plan.stores : [world.pickStore()];
  const count = random.integer(2, 4);
  const manners = random.chance(0.5) ? LIST_MANNERS : MANNERS;
  client.batch(
    person,
    Array.from({ length: count }, () => ({
      store: random.pick(others),
      manner: random.pick(manners),
    })),
  );
}

/** Everybody writes to one store at once. */
export async function writeAgainstOthers(world: World): Promise<void> {
  const { random, people, client, simulation } = world;
  const store = world.pickStore();
  for (const person of people) world.clients.look(person, store);
  await simulation.advance(random.integer(0, 100));
  const manners = random.chance(0.6) ? LIST_MANNERS : MANNERS;
  for (let round = random.integer(1, 4); round > 0; round--) {
    for (const person of people) {
      client.write(person, store, random.pick(manners));
    }
    for (const server of simulation.servers) {
      if (random.chance(0.2)) world.caller.update(server, store);
    }
    await simulation.advance(random.integer(0, 10));
  }
}

/** Everybody edits one list at once. */
export async function editOneList(world: World): Promise<void> {
  const { random, people, client, simulation } = world;
  const store = world.pickStore();
  for (const person of people) world.clients.look(person, store);
  await simulation.advance(random.integer(20, 100));
  const writer = random.pick(people);
  for (let left = 4; left > 0; left--) {
    client.write(writer, store, { kind: "insert" });
  }
  await simulation.advance(random.integer(40, 200));
  for (let round = random.integer(1, 3); round > 0; round--) {
    for (const person of people) {
      // What it removes first moves what it marks then.
      const kinds = ["insert", "insert", "remove", "both", "both"] as const;
      for (let left = random.integer(1, 2); left > 0; left--) {
        client.write(person, store, { kind: random.pick(kinds) });
      }
    }
    await simulation.advance(random.integer(0, 20));
  }
}

/** Somebody does not hear what others write, and writes. */
export async function writeOnAnOldBase(world: World): Promise<void> {
  const { random, people, client, simulation } = world;
  const person = random.pick(people);
  const store = world.pickStore();
  world.clients.look(person, store);
  await simulation.advance(random.integer(20, 200));
  const { links } = person.running;
  for (const link of links) link.down.stall();
  for (const server of simulation.servers) {
    if (random.chance(0.7)) world.caller.update(server, store);
  }
  for (const other of people) {
    if (other !== person) client.write(other, store, random.pick(LIST_MANNERS));
  }
  await simulation.advance(random.integer(20, 120));
  for (let left = random.integer(1, 3); left > 0; left--) {
    const manner = random.chance(0.5)
      ? random.pick(MANNERS)
      : exact(random.pick(["add", "own", "insert"] as const));
    client.write(person, store, manner);
    await simulation.advance(random.integer(0, 60));
  }
  for (const link of links) link.down.resume();
}

/** Writes come right behind a batch whose stores are busy. */
export async function writeBehindABatch(world: World): Promise<void> {
  const { random, people, client, simulation, plan } = world;
  const person = random.pick(people);
  for (const store of plan.stores) world.clients.look(person, store);
  await simulation.advance(random.integer(20, 200));
  for (const server of simulation.servers) {
    if (random.chance(0.4)) world.caller.update(server, world.pickStore());
  }
  const stores = Array.from({ length: random.integer(2, 3) }, world.pickStore);
  const kinds = ["add", "own", "insert"] as const;
  client.batch(
    person,
    stores.map((store) => ({ store, manner: { kind: random.pick(kinds) } })),
  );
  for (let left = random.integer(1, 2); left > 0; left--) {
    client.write(person, random.pick(stores), {
      kind: random.pick(kinds),
      isNamed: random.chance(0.7),
    });
  }
  await simulation.advance(random.integer(0, 100));
}

/** Somebody who reads too slowly expects a version that others have left behind. */
export async function expectWhileBehind(world: World): Promise<void> {
  const { random, people, client, simulation, plan } = world;
  const person = random.pick(people);
  const store = world.pickStore();
  world.clients.look(person, store);
  await simulation.advance(random.integer(60, 300));
  const server = serverOf(world, person);
  if (!server) return;
  const { links } = person.running;
  for (const link of links) link.down.stall();
  delayCommits(world, server, [20, 60]);
  world.caller.update(server, store, true);
  await simulation.advance(random.integer(0, 10));
  client.write(person, store, exact("own"));
  for (let left = random.integer(1, 2); left > 0; left--) {
    world.caller.update(server, store, true);
    await simulation.advance(random.integer(0, 10));
  }
  await simulation.advance(plan.latencyMs[1] + random.integer(50, 200));
  server.onKvOperation = undefined;
  for (const link of links) link.down.resume();
  await simulation.advance(random.integer(20, 200));
}

/** Somebody writes to a life of a store that has ended, and does not know it yet. */
export async function writeToAnEndedLife(world: World): Promise<void> {
  const { random, people, client, simulation } = world;
  const person = random.pick(people);
  const other = random.pick(people);
  const store = world.pickDynamicStore();
  for (const one of [person, other]) world.clients.look(one, store);
  await simulation.advance(random.integer(20, 150));
  for (let left = random.integer(1, 2); left > 0; left--) {
    client.write(person, store, { kind: "insert" });
  }
  await simulation.advance(random.integer(20, 200));
  const { links } = person.running;
  if (person !== other) { for (const link of links) link.down.stall(); }
  world.caller.call(other, "remove", [store]);
  await simulation.advance(random.integer(5, 60));
  for (const server of simulation.servers) world.caller.update(server, store);
  world.clients.look(other, store);
  await simulation.advance(random.integer(5, 60));
  for (let left = random.integer(1, 4); left > 0; left--) {
    client.write(other, store, { kind: "insert", isNamed: true });
  }
  await simulation.advance(random.integer(5, 60));
  client.write(person, store, random.pick(LIST_MANNERS));
  await simulation.advance(random.integer(0, 40));
  for (const link of links) link.down.resume();
}

/** Writes queue up while there is no connection, and others write meanwhile. */
export async function writeOffline(world: World): Promise<void> {
  const { random, people, client, simulation, plan } = world;
  const person = random.pick(people);
  const stores = random.chance(0.5) ? plan.stores : [world.pickStore()];
  for (const store of stores) world.clients.look(person, store);
  await simulation.advance(random.integer(20, 200));
  world.note(`${person.name} is offline`);
  const { faults } = simulation.network;
  const { refuse } = faults;
  faults.refuse = 1;
  for (const link of person.running.links) link.cut();
  await simulation.advance(plan.latencyMs[1] + random.integer(0, 5));
  const count = random.integer(2, 8);
  for (let i = 0; i < count; i++) {
    writeSomehow(world, person, random.pick(stores));
    if (random.chance(0.3)) {
      for (const server of simulation.servers) {
        world.caller.update(server, random.pick(stores));
      }
    }
    for (const other of people) {
      if (other === person || random.chance(0.6)) continue;
      client.write(other, random.pick(stores), random.pick(LIST_MANNERS));
    }
    await simulation.advance(random.integer(0, 100));
  }
  faults.refuse = refuse;
  await simulation.advance(random.integer(0, 400));
}

/** Writes are on their way when their connection is lost, with their server or without. */
export async function writeAndCut(world: World): Promise<void> {
  const { random, people, simulation, plan } = world;
  const person = random.pick(people);
  const store = world.pickStore();
  world.clients.look(person, store);
  await simulation.advance(random.integer(20, 150));
  for (const link of person.running.links) link.down.stall();
  for (let left = random.integer(1, 4); left > 0; left--) {
    writeSomehow(world, person, store);
    await simulation.advance(random.integer(0, 5));
  }
  await simulation.advance(random.integer(0, 2 * plan.latencyMs[1] + 20));
  for (const server of simulation.servers) {
    if (random.chance(0.4)) world.caller.update(server, store);
  }
  for (const link of person.running.links) link.cut();
  await simulation.advance(random.integer(0, 200));
}

/** A client dies with writes that nobody has answered. */
export async function leaveWithWritesPending(world: World): Promise<void> {
  const { random, people, simulation } = world;
  const person = random.pick(people);
  for (let left = random.integer(1, 4); left > 0; left--) {
    writeSomehow(world, person, world.pickStore());
  }
  await simulation.advance(random.integer(0, 20));
  world.clients.replace(person, [...person.observers.keys()]);
}

function writeSomehow(world: World, person: Person, store: string): void {
  const { random, client } = world;
  const chance = random.float();
  if (chance < 0.1) return client.undo(person, store, "undo");
  if (chance < 0.2) {
    return client.batch(person, [
      { store, manner: random.pick(MANNERS) },
      { store: world.pickStore(), manner: random.pick(LIST_MANNERS) },
    ]);
  }
  client.write(person, store, random.pick(MANNERS));
}
