/**
 * What may happen next in a history, and how often.
 *
 * @module
 */
import { ACCESS_MOVES } from "./access_moves.ts";
import { KV_MOVES } from "./kv_moves.ts";
import type { Move } from "./move.ts";
import { NETWORK_MOVES } from "./network_moves.ts";
import { PROCESS_MOVES } from "./process_moves.ts";
import { USE_MOVES } from "./use_moves.ts";
import type { World } from "./world.ts";

const MOVES: readonly Move[] = [
  ...USE_MOVES,
  ...PROCESS_MOVES,
  ...NETWORK_MOVES,
  ...KV_MOVES,
  ...ACCESS_MOVES,
];

/** Lets one thing happen, and a little time pass. */
export async function makeMove(world: World): Promise<void> {
  world.access.retry();
  const weights = MOVES.map((move) => move.weight(world));
  const sum = weights.reduce((a, b) => a + b, 0);
  let rest = world.random.float() * sum;
  const index = weights.findIndex((weight) => (rest -= weight) < 0);
  await MOVES.at(index)?.run(world);
  await world.simulation.advance(world.random.pick([0, 1, 3, 10, 40, 150]));
}
