/**
 * Moves in which processes end, sleep, start, and live with a clock that is wrong.
 *
 * @module
 */
import { crash, type Move, onServer, processes } from "./move.ts";
import {
  dieBeforeALateCommit,
  sleepInACommit,
  sleepPastTheFeeds,
  startWhileOneCompacts,
} from "./process_sequences.ts";

/** What happens to processes. */
export const PROCESS_MOVES: readonly Move[] = [
  {
    name: "another client",
    weight: processes(2),
    run: (world) => {
      const person = world.random.pick(world.people);
      world.clients.replace(person, [...person.observers.keys()]);
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
        world.faults.suspensions++;
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
];
