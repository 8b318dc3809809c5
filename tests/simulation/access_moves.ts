/**
 * Moves in which those behind the clients may do more, or less, than before.
 *
 * @module
 */
import { ACCESS_MS } from "./access.ts";
import type { Move } from "./move.ts";
import type { Person } from "./person.ts";
import { levelFor, TOP_LEVEL } from "./rules.ts";
import { delay, delayCommits, pickTwo, serverOf } from "./steps.ts";
import type { World } from "./world.ts";

const guarded = (weight: number) => ({ plan }: World): number =>
  plan.isGuarded ? weight : 0;

/** What happens to tokens, and to what users may do at most. */
export const ACCESS_MOVES: readonly Move[] = [
  { name: "another token", weight: guarded(10), run: changeToken },
  {
    name: "another limit",
    weight: guarded(6),
    run: (world) => {
      const { random, access, people, simulation: { servers } } = world;
      if (servers.length === 0) return;
      const person = random.pick(people);
      const level = access.pickLevel();
      const only = random.chance(0.2) ? person : undefined;
      const { userId } = person;
      access.revoke(random.pick(servers), { userId, level, only });
    },
  },
  { name: "lose a store", weight: guarded(5), run: loseAStore },
  {
    name: "lose a store at a server that hears nothing",
    weight: ({ plan }) => plan.isGuarded && plan.servers > 1 ? 3 : 0,
    run: loseAStoreUnheard,
  },
  {
    name: "be refused when it is sent again",
    weight: guarded(8),
    run: beRefusedLater,
  },
  {
    name: "users cannot be looked up",
    weight: guarded(3),
    run: ({ random, access, note }) => {
      access.faults = {
        lateMs: random.pick([0, 20, 500, 4_000]),
        fails: random.pick([0, 0.1, 0.5]),
      };
      note(`users are looked up so: ${JSON.stringify(access.faults)}`);
    },
  },
];

/** Somebody shows another token: at once, or on the next connection. */
function changeToken(world: World): void {
  const { random, access, people, plan } = world;
  const person = random.pick(people);
  if (random.chance(0.25)) {
    for (const link of person.running.links) link.cut();
  }
  show(world, person, access.pickLevel());
  if (person.nextLevel !== undefined && random.chance(0.5)) {
    for (const link of person.running.links) link.cut();
  }
  for (const store of plan.stores) {
    if (random.chance(0.3)) world.clients.look(person, store);
  }
}

/** Somebody looks at a store, and may not any more, while others write to it. */
async function loseAStore(world: World): Promise<void> {
  const { random, access, people, plan, simulation } = world;
  const person = random.pick(people);
  const guardedStores = plan.stores.filter((one) => levelFor("read", one) > 0);
  if (guardedStores.length === 0) return;
  const store = random.pick(guardedStores);
  await raise(world, person);
  world.clients.look(person, store);
  await simulation.advance(random.integer(50, 300));
  const { servers } = simulation;
  if (servers.length === 0) return;
  const { faults } = simulation.kv;
  const { watch } = faults;
  if (random.chance(0.5)) faults.watch = "dead";
  if (random.chance(0.45)) {
    // Who they are is asked before, and answered after.
    access.faults = { lateMs: 2_000, fails: 0 };
    for (const link of person.running.links) link.cut();
    await simulation.advance(random.integer(100, 500));
  }
  const level = levelFor("read", store) - 1;
  if (random.chance(0.7)) {
    const only = random.chance(0.2) ? person : undefined;
    const { userId } = person;
    access.revoke(random.pick(servers), { userId, level, only });
  } else {
    show(world, person, level);
  }
  for (let rounds = random.integer(2, 8); rounds > 0; rounds--) {
    for (const server of simulation.servers) {
      if (random.chance(0.5)) world.caller.update(server, store);
    }
    await simulation.advance(random.integer(100, 2_500));
  }
  faults.watch = watch;
  access.heal();
}

/** A server hears nothing of the KV while one of its users loses a store. */
async function loseAStoreUnheard(world: World): Promise<void> {
  const { random, access, plan, simulation } = world;
  const pair = pickTwo(world);
  const store = plan.stores.find((one) => levelFor("read", one) > 0);
  if (!pair || store === undefined) return;
  const [deaf, other] = pair;
  const isThere = (one: Person) => serverOf(world, one) === deaf;
  const person = world.people.find(isThere);
  if (!person) return;
  await raise(world, person);
  world.clients.look(person, store);
  await simulation.advance(random.integer(50, 300));
  world.note(`${deaf.name} hears nothing of the KV`);
  delay(world, deaf, { kinds: ["get", "list"], ms: [12_000, 12_000] });
  await simulation.advance(random.integer(0, 200));
  const { userId } = person;
  access.revoke(other, { userId, level: levelFor("read", store) - 1 });
  await simulation.advance(ACCESS_MS * 2);
  world.note(`${deaf.name} hears of the KV again`);
  deaf.onKvOperation = undefined;
  for (let round = 0; round < 12; round++) {
    world.caller.update(other, store);
    await simulation.advance(random.integer(50, 400));
  }
}

/**
 * A write has its commit on its way when its connection is lost; sent again, to any
 * server, it is that of somebody who may do less.
 */
async function beRefusedLater(world: World): Promise<void> {
  const { random, people, plan, simulation } = world;
  const person = random.pick(people);
  const store = world.pickStore();
  await raise(world, person);
  const server = serverOf(world, person);
  if (!server) return;
  world.clients.look(person, store);
  await simulation.advance(random.integer(30, 200));
  delayCommits(world, server, [300, 480]);
  for (let left = random.integer(1, 2); left > 0; left--) {
    world.client.write(person, store, { kind: "own", isMarked: true });
  }
  await simulation.advance(5 + random.integer(1, 8) * plan.latencyMs[1]);
  for (const link of person.running.links) link.cut();
  const isRefusedAtOnce = random.chance(0.3);
  const level = isRefusedAtOnce ? levelFor("write", store) - 1 : TOP_LEVEL - 1;
  show(world, person, Math.max(0, level));
  await simulation.advance(random.integer(110, 250));
  server.onKvOperation = undefined;
  await simulation.advance(random.integer(100, 600));
}

/** Lets somebody do everything, by and by. */
async function raise(world: World, person: Person): Promise<void> {
  const { random, access, simulation } = world;
  const { userId } = person;
  const [server] = simulation.servers;
  if (server && access.levelOf(userId) < TOP_LEVEL) {
    access.revoke(server, { userId, level: TOP_LEVEL });
  }
  show(world, person, TOP_LEVEL);
  if (person.nextLevel !== undefined) {
    for (const link of person.running.links) link.cut();
  }
  await simulation.advance(random.integer(150, 400));
}

function show({ access, note }: World, person: Person, level: number): void {
  if (person.nextLevel === undefined) return access.setToken(person, level);
  access.changes++;
  note(`${person.name} will show a token of level ${level}`);
  person.nextLevel = level;
}
