/**
 * What one thing that may happen in a history is.
 *
 * @module
 */
import type { SimulatedServer } from "../../adapters/testing/mod.ts";
import type { World } from "./world.ts";

/** One thing that may happen. */
export interface Move {
  readonly name: string;
  /** How often, beside the others; 0 where the plan does without it. */
  weight(world: World): number;
  run(world: World): void | Promise<void>;
}

/** As often in each history. */
export const always = (weight: number) => (): number => weight;
/** The more often the more goes wrong with processes. */
export const processes = (weight: number) => ({ plan }: World): number =>
  weight * plan.trouble.processes;

/** Does something with one of the servers that run. */
export function onServer(
  { random, simulation: { servers } }: World,
  run: (server: SimulatedServer) => void,
): void {
  if (servers.length > 0) run(random.pick(servers));
}

/** The process is gone, and with it all that it had not written. */
export function crash(world: World, server: SimulatedServer): void {
  world.note(`${server.name} crashes`);
  server.crash();
}
