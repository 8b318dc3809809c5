/**
 * Steps of which moves with several steps are made.
 *
 * @module
 */
import type {
  KvOperationKind,
  SimulatedServer,
} from "../../adapters/testing/mod.ts";
import type { Person } from "./person.ts";
import type { World } from "./world.ts";

/** Lets a server's commits travel for so long. */
export function delayCommits(
  world: World,
  server: SimulatedServer,
  ms: readonly [number, number],
): void {
  delay(world, server, { kinds: ["commit"], ms });
}

/** Lets a server's operations of some kinds travel for so long. */
export function delay(
  { simulation }: World,
  server: SimulatedServer,
  { kinds, ms }: {
    kinds: readonly KvOperationKind[];
    ms: readonly [number, number];
  },
): void {
  const { faults } = simulation.kv;
  let before: typeof faults.spike | undefined;
  server.onKvOperation = (kind, moment) => {
    if (moment !== "asked" || !kinds.includes(kind)) return;
    // Of two in one turn the second would take the delay for what was there before.
    if (before === undefined) {
      before = faults.spike;
      // The request is sent within this call; others must not be hit.
      queueMicrotask(() => {
        faults.spike = before!; // it was set just now
        before = undefined;
      });
    }
    faults.spike = { chance: 1, ms };
  };
}

/** A server stands still, and does not notice. */
export function sleep(world: World, server: SimulatedServer): void {
  world.note(`${server.name} sleeps`);
  world.faults.suspensions++;
  server.clock.suspend();
}

/** A server deletes a store. */
export function remove(
  world: World,
  { name, server }: SimulatedServer,
  store: string,
): void {
  world.note(`${name} deletes ${store}`);
  // What fails has no effect that anybody counts on.
  server.store(store)?.delete().catch(() => {});
}

/** The server that a client is connected to. */
export function serverOf(
  { simulation }: World,
  { running }: Person,
): SimulatedServer | undefined {
  const links = new Set(running.links);
  return simulation.servers.find((server) =>
    server.links.some((link) => links.has(link))
  );
}

/** Two servers that run, in any order; undefined where there is one. */
export function pickTwo(
  { random, simulation: { servers } }: World,
): [SimulatedServer, SimulatedServer] | undefined {
  if (servers.length < 2) return undefined;
  const first = random.pick(servers);
  return [first, random.pick(servers.filter((server) => server !== first))];
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
