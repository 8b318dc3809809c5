/**
 * Moves of those who use an application: they call, write, look, and look away.
 *
 * @module
 */
import {
  askWhoHasACommitOnItsWay,
  askWhoHasNotHeard,
  lookAwayAndBack,
  loseAnAnswer,
  runTwiceAtOnce,
} from "./call_sequences.ts";
import { always, crash, type Move, onServer, processes } from "./move.ts";
import type { World } from "./world.ts";
import {
  editOneList,
  expectWhileBehind,
  leaveWithWritesPending,
  MANNERS,
  writeAgainstOthers,
  writeAndCut,
  writeBehindABatch,
  writeOffline,
  writeOnAnOldBase,
  writeToAnEndedLife,
  writeTogether,
} from "./writing.ts";

const FUNCTIONS = [
  "add",
  "add",
  "add",
  "addTwice",
  "addOnce",
  "addAndFail",
  "addSlowly",
  "addWhereRefused",
  "refuse",
  "replace",
  "reset",
];
/** Those that write to two stores. */
const WIDE_FUNCTIONS = [
  "add",
  "addTogether",
  "addSlowly",
  "remove",
  "transact",
  "transact",
];
/** Those whose effect on a store can be told before. */
const PREDICTABLE = ["add", "addTogether", "addOnce", "transact"];

/** What people do, and servers by themselves. */
export const USE_MOVES: readonly Move[] = [
  {
    name: "call",
    weight: always(30),
    run: (world) => callOf(world, FUNCTIONS, [world.pickStore()]),
  },
  {
    name: "call on two stores",
    weight: always(10),
    run: (world) => {
      const first = world.pickDynamicStore();
      const second = world.plan.stores.filter((store) => store !== first);
      if (second.length === 0) return;
      callOf(world, WIDE_FUNCTIONS, [first, world.random.pick(second)]);
    },
  },
  {
    name: "write",
    weight: always(18),
    run: ({ random, people, client, pickStore }) =>
      client.write(random.pick(people), pickStore(), random.pick(MANNERS)),
  },
  {
    name: "write together",
    weight: always(6),
    run: writeTogether,
  },
  {
    name: "write against others",
    weight: always(6),
    run: writeAgainstOthers,
  },
  {
    name: "edit one list",
    weight: ({ people }) => people.length > 1 ? 4 : 0,
    run: editOneList,
  },
  {
    name: "write on an old base",
    weight: always(3),
    run: writeOnAnOldBase,
  },
  {
    name: "write behind a batch",
    weight: ({ plan }) => plan.stores.length > 1 ? 4 : 0,
    run: writeBehindABatch,
  },
  {
    name: "expect while behind",
    // Where nothing fills a socket, nobody is behind.
    weight: ({ plan }) => plan.padSize > plan.outboxBytes ? 5 : 0,
    run: expectWhileBehind,
  },
  {
    name: "write to an ended life",
    weight: always(3),
    run: writeToAnEndedLife,
  },
  {
    name: "write offline",
    weight: always(4),
    run: writeOffline,
  },
  {
    name: "write and cut",
    weight: always(4),
    run: writeAndCut,
  },
  {
    name: "leave with writes pending",
    weight: processes(4),
    run: leaveWithWritesPending,
  },
  {
    name: "undo",
    weight: always(3),
    run: ({ random, people, client, pickStore }) =>
      client.undo(random.pick(people), pickStore(), "undo"),
  },
  {
    name: "redo",
    weight: always(2),
    run: ({ random, people, client, pickStore }) =>
      client.undo(random.pick(people), pickStore(), "redo"),
  },
  {
    name: "burst",
    weight: always(6),
    run: (world) => {
      const store = world.pickStore();
      const count = world.random.integer(2, 12);
      for (let i = 0; i < count; i++) callOf(world, ["add"], [store]);
    },
  },
  {
    name: "update on a server",
    weight: always(8),
    run: (world) =>
      onServer(
        world,
        (server) => world.caller.update(server, world.pickStore()),
      ),
  },
  {
    name: "remove a store",
    weight: always(4),
    run: (world) => callOf(world, ["remove"], [world.pickDynamicStore()]),
  },
  {
    name: "remove a store between the two runs of a call",
    weight: always(4),
    run: async (world) => {
      const { random, simulation } = world;
      const person = random.pick(world.people);
      const store = world.pickDynamicStore();
      world.caller.call(person, "add", [store]);
      await simulation.advance(random.integer(0, 40));
      for (const link of person.running.links) link.cut();
      world.caller.call(random.pick(world.people), "remove", [store]);
      await simulation.advance(random.integer(0, 40));
      // Each may begin the next life, or find that it has begun.
      for (const server of simulation.servers) {
        world.caller.update(server, store);
      }
      await simulation.advance(random.integer(0, 60));
      if (random.chance(0.3)) onServer(world, (server) => crash(world, server));
    },
  },
  {
    name: "look",
    weight: always(8),
    run: (world) => {
      const person = world.random.pick(world.people);
      world.clients.look(person, world.pickStore());
    },
  },
  {
    name: "look away",
    weight: always(2),
    run: (world) => {
      const { observers } = world.random.pick(world.people);
      const [store] = observers.keys();
      if (store === undefined) return;
      observers.get(store)?.handle.unsubscribe();
      observers.delete(store);
    },
  },
  {
    name: "look away and back",
    weight: always(5),
    run: lookAwayAndBack,
  },
  {
    name: "read",
    weight: always(2),
    run: (world) =>
      onServer(world, (server) => world.caller.read(server, world.pickStore())),
  },
  {
    name: "ask who has not heard",
    weight: always(5),
    run: askWhoHasNotHeard,
  },
  {
    name: "ask who has a commit on its way",
    weight: always(3),
    run: askWhoHasACommitOnItsWay,
  },
  {
    name: "lose an answer",
    weight: always(3),
    run: loseAnAnswer,
  },
  {
    name: "run twice at once",
    weight: always(5),
    run: runTwiceAtOnce,
  },
  {
    name: "wait",
    weight: always(3),
    run: async (world) => {
      const ms = world.random.pick([500, 3_000, 12_000, 25_000]);
      world.note(`${ms} ms pass`);
      await world.simulation.advance(ms);
    },
  },
];

function callOf(
  world: World,
  functions: readonly string[],
  stores: readonly string[],
): void {
  const { random, people } = world;
  const name = random.pick(functions);
  const isOptimistic = PREDICTABLE.includes(name) && random.chance(0.4);
  world.caller.call(random.pick(people), name, stores, { isOptimistic });
}
