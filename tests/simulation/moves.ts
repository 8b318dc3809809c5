/**
 * What may happen next in a history, and how often.
 *
 * @module
 */
import type { Link, SimulatedServer } from "../../adapters/testing/mod.ts";
import {
  askWhoHasACommitOnItsWay,
  askWhoHasNotHeard,
  dieBeforeALateCommit,
  lookAwayAndBack,
  loseAnAnswer,
  outage,
  runTwiceAtOnce,
  setBackWhileOneSleeps,
  sleepInACommit,
  sleepPastTheFeeds,
  startWhileOneCompacts,
} from "./sequences.ts";
import type { World } from "./world.ts";
import {
  editOneList,
  leaveWithWritesPending,
  MANNERS,
  writeAgainstOthers,
  writeAndCut,
  writeOffline,
  writeOnAnOldBase,
  writeToAnEndedLife,
  writeTogether,
} from "./writing.ts";

/** One thing that may happen. */
interface Move {
  readonly name: string;
  /** How often, beside the others; 0 where the plan does without it. */
  weight(world: World): number;
  run(world: World): void | Promise<void>;
}

const always = (weight: number) => () => weight;
const network = (weight: number) => ({ plan }: World) =>
  weight * plan.trouble.network;
const kv = (weight: number) => ({ plan }: World) => weight * plan.trouble.kv;
const processes = (weight: number) => ({ plan }: World) =>
  weight * plan.trouble.processes;

/** Functions that are called, the usual ones more often. */
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

const MOVES: readonly Move[] = [
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
        (server) => world.update(server, world.pickStore()),
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
      world.call(person, "add", [store]);
      await simulation.advance(random.integer(0, 40));
      for (const link of person.running.links) link.cut();
      world.call(random.pick(world.people), "remove", [store]);
      await simulation.advance(random.integer(0, 40));
      // Each may begin the next life, or find that it has begun.
      for (const server of simulation.servers) world.update(server, store);
      await simulation.advance(random.integer(0, 60));
      if (random.chance(0.3)) onServer(world, (server) => crash(world, server));
    },
  },
  {
    name: "look",
    weight: always(8),
    run: (world) => {
      const person = world.random.pick(world.people);
      world.look(person, world.pickStore());
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
      onServer(world, (server) => world.read(server, world.pickStore())),
  },
  {
    name: "write to who does not read",
    weight: network(5),
    run: async (world) => {
      const { random, simulation } = world;
      const person = random.pick(world.people);
      const store = world.pickStore();
      world.look(person, store);
      await simulation.advance(50);
      for (const link of person.running.links) {
        link.down.stall();
        simulation.clock.schedule(5_000, () => link.down.resume());
      }
      for (let i = 0; i < 25; i++) {
        onServer(world, (server) => world.update(server, store, true));
        await simulation.advance(2);
      }
      askForTheHealth(world);
    },
  },
  {
    name: "ask for the health",
    weight: network(10),
    run: askForTheHealth,
  },
  {
    name: "another client",
    weight: processes(2),
    run: (world) => {
      const person = world.random.pick(world.people);
      world.replace(person, [...person.observers.keys()]);
    },
  },
  {
    name: "crash",
    weight: processes(4),
    run: (world) => onServer(world, (server) => crash(world, server)),
  },
  {
    name: "crash at the next operations",
    weight: processes(6),
    run: (world) =>
      onServer(world, (server) => {
        let left = world.random.integer(1, 25);
        world.note(`${server.name} will crash at its ${left}th operation`);
        server.onKvOperation = () => {
          if (--left === 0) crash(world, server);
        };
      }),
  },
  {
    name: "start",
    weight: processes(14),
    run: (world) => {
      const name = world.stoppedServer;
      if (name === undefined) return;
      world.note(`${name} starts`);
      world.launch(name);
    },
  },
  {
    name: "close",
    weight: processes(2),
    run: (world) =>
      onServer(world, (server) => {
        world.note(`${server.name} closes`);
        server.close().catch(world.fail);
      }),
  },
  {
    name: "suspend",
    weight: processes(2),
    run: (world) =>
      onServer(world, (server) => {
        const ms = world.random.pick([200, 5_000, 90_000]);
        world.note(`${server.name} is suspended for ${ms} ms`);
        server.clock.suspend();
        world.simulation.clock.schedule(ms, () => server.clock.resume());
      }),
  },
  {
    name: "sleep at the next operations",
    weight: ({ plan }) => plan.isLong ? 6 : 0,
    run: (world) =>
      onServer(world, (server) => {
        const ms = world.random.integer(11, 25) * 60_000;
        let left = world.random.integer(1, 12);
        world.note(`${server.name} will sleep at its ${left}th operation`);
        server.onKvOperation = () => {
          if (--left !== 0) return;
          world.note(`${server.name} sleeps for ${ms} ms`);
          server.clock.suspend();
          world.simulation.clock.schedule(ms, () => server.clock.resume());
        };
      }),
  },
  {
    name: "sleep past the feeds",
    weight: ({ plan }) => plan.isLong ? 6 : 0,
    run: sleepPastTheFeeds,
  },
  {
    name: "sleep in a commit",
    weight: ({ plan }) => plan.isLong ? 6 : 0,
    run: sleepInACommit,
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
    name: "die before a late commit",
    weight: ({ plan }) => plan.commitMs < 1_000 ? 2 : 0,
    run: dieBeforeALateCommit,
  },
  {
    name: "start while one compacts",
    weight: ({ plan }) => plan.padSize >= 30_000 ? 8 : 0,
    run: startWhileOneCompacts,
  },
  {
    name: "a long time",
    weight: ({ plan }) => plan.isLong ? 3 : 0,
    run: async (world) => {
      const minutes = world.random.integer(6, 16);
      world.note(`${minutes} minutes pass`);
      await world.simulation.advance(minutes * 60_000);
    },
  },
  {
    name: "clock jump",
    weight: processes(2),
    run: (world) =>
      onServer(world, (server) => {
        const ms = world.random.integer(-30_000, 30_000);
        world.note(`the clock of ${server.name} jumps by ${ms} ms`);
        world.faults.clockJumps++;
        server.clock.jump(ms);
      }),
  },
  {
    name: "cut",
    weight: network(8),
    run: (world) => onLink(world, "a connection is cut", (link) => link.cut()),
  },
  {
    name: "cut silently",
    weight: network(3),
    run: (world) =>
      onLink(world, "a connection dies silently", (link) => link.cutSilently()),
  },
  {
    name: "stall",
    weight: network(4),
    run: (world) =>
      onLink(world, "a connection stalls", (link) => {
        const direction = world.random.pick([link.up, link.down]);
        const ms = world.random.pick([100, 2_000, 30_000]);
        direction.stall();
        world.simulation.clock.schedule(ms, () => direction.resume());
      }),
  },
  {
    name: "other network",
    weight: network(4),
    run: (world) => {
      const { random, plan, simulation } = world;
      const { faults } = simulation.network;
      faults.latencyMs = random.pick([plan.latencyMs, [1, 5], [0, 200]]);
      faults.refuse = random.pick([0, 0, 0.5]);
      faults.bytesPerMs = random.pick([Infinity, Infinity, 100, 10]);
      world.note(`the network changes: ${JSON.stringify(faults)}`);
    },
  },
  {
    name: "other KV",
    weight: kv(8),
    run: (world) => {
      const { plan, random, simulation: { kv: { faults } } } = world;
      const rarely = (most: number) =>
        random.chance(0.3) ? random.float() * most : 0;
      faults.latencyMs = random.pick([plan.latencyMs, [0, 3], [1, 20]]);
      faults.spike = { chance: rarely(0.2), ms: [300, 12_000] };
      faults.locked = rarely(0.4);
      faults.lockedAfter = rarely(0.1);
      // Who follows nobody is told of nothing that a dead server's commit did late.
      faults.outlives = plan.sync ? rarely(1) : 0;
      // The driver of a KV that is far away sends again without a word.
      faults.resends = plan.isLocal ? 0 : rarely(0.2);
      faults.throwsBefore = rarely(0.2);
      faults.throwsAfter = rarely(0.2);
      faults.landsLate = { chance: rarely(0.3), ms: [10, 9_000] };
      faults.hangs = rarely(0.05);
      faults.watch = random.pick(
        ["prompt", "prompt", "late", "dead", "ends"] as const,
      );
      world.note(`the KV changes: ${JSON.stringify(faults)}`);
    },
  },
  {
    name: "hiccup",
    weight: kv(5),
    run: async (world) => {
      // What is sent now is given up before it arrives, and takes effect all the same.
      const { faults } = world.simulation.kv;
      const { spike } = faults;
      world.note("the KV hiccups");
      faults.spike = { chance: 1, ms: [600, 4_000] };
      for (const server of world.simulation.servers) {
        world.update(server, world.pickStore());
      }
      await world.simulation.advance(2);
      faults.spike = spike;
    },
  },
  {
    name: "outage",
    weight: kv(1),
    run: (world) => {
      outage(world, world.random.pick([100, 3_000, 20_000]));
    },
  },
  {
    name: "restore a backup",
    weight: ({ plan }) => plan.isRestored ? 3 : 0,
    run: (world) => {
      // Once: twice could bring back an epoch that the first time has ended.
      if (world.isRestored) return;
      if (world.isBackedUp) return world.restore();
      world.backUp();
    },
  },
  {
    name: "set back while one sleeps",
    // Whoever compacts must not live through it: what it trims may be needed again.
    weight: ({ plan }) => plan.isRestored && plan.padSize < 1_000 ? 20 : 0,
    run: setBackWhileOneSleeps,
  },
  {
    name: "break the watches",
    weight: kv(4),
    run: (world) => {
      world.note("the watches end");
      world.faults.brokenWatches += world.simulation.kv.watches;
      world.simulation.kv.breakWatches();
    },
  },
  {
    name: "calm",
    weight: kv(4),
    run: (world) => {
      world.note("the KV is well");
      world.healKv();
    },
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

/** Lets one thing happen, and a little time pass. */
export async function makeMove(world: World): Promise<void> {
  const weights = MOVES.map((move) => move.weight(world));
  const sum = weights.reduce((a, b) => a + b, 0);
  let rest = world.random.float() * sum;
  const index = weights.findIndex((weight) => (rest -= weight) < 0);
  await MOVES.at(index)?.run(world);
  await world.simulation.advance(world.random.pick([0, 1, 3, 10, 40, 150]));
}

/** The process is gone, and with it all that it had not written. */
function crash(world: World, server: SimulatedServer): void {
  world.note(`${server.name} crashes`);
  server.crash();
}

function askForTheHealth({ simulation, checkBacklog, fail }: World): void {
  for (const { name, server } of simulation.servers) {
    server.health().then((health) => checkBacklog(name, health)).catch(fail);
  }
}

function callOf(
  world: World,
  functions: readonly string[],
  stores: readonly string[],
): void {
  const { random, people } = world;
  const name = random.pick(functions);
  const isOptimistic = PREDICTABLE.includes(name) && random.chance(0.4);
  world.call(random.pick(people), name, stores, { isOptimistic });
}

function onServer(
  { random, simulation: { servers } }: World,
  run: (server: SimulatedServer) => void,
): void {
  if (servers.length > 0) run(random.pick(servers));
}

function onLink(
  world: World,
  what: string,
  run: (link: Link) => void,
): void {
  const links = [...world.simulation.network.links];
  if (links.length === 0) return;
  world.note(what);
  run(world.random.pick(links));
}
