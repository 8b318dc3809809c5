/**
 * Moves in which connections are lost, stand still, or are slow.
 *
 * @module
 */
import type { Link } from "../../adapters/testing/mod.ts";
import { type Move, onServer } from "./move.ts";
import type { World } from "./world.ts";

const network = (weight: number) => ({ plan }: World): number =>
  weight * plan.trouble.network;

/** What happens to connections. */
export const NETWORK_MOVES: readonly Move[] = [
  {
    name: "write to who does not read",
    weight: network(5),
    run: async (world) => {
      const { random, simulation } = world;
      const person = random.pick(world.people);
      const store = world.pickStore();
      world.clients.look(person, store);
      await simulation.advance(50);
      for (const link of person.running.links) {
        link.down.stall();
        simulation.clock.schedule(5_000, () => link.down.resume());
      }
      for (let i = 0; i < 25; i++) {
        onServer(world, (server) => world.caller.update(server, store, true));
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
];

function askForTheHealth({ simulation, checkBacklog, fail }: World): void {
  for (const { name, server } of simulation.servers) {
    server.health().then((health) => checkBacklog(name, health)).catch(fail);
  }
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
