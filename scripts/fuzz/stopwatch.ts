/**
 * Measures what was slow under load again, alone.
 *
 * @module
 */
import { SLOW_MS } from "./contract.ts";

/** What takes so long needs no second look, whatever else the machine does. */
export const HOPELESS_MS = 100 * SLOW_MS;

/** What is so far over the limit alone is not so because of others. */
const CLEAR_MS = 4 * SLOW_MS;

/** So many slow inputs, and so large a share of all, are no accident of a busy machine. */
const MOSTLY = { slow: 50, share: 0.01 };

/** Whether a run should end early: what it runs is slow, not some inputs. */
export function isMostlySlow(slow: number, inputs: number): boolean {
  return slow >= MOSTLY.slow && slow > inputs * MOSTLY.share;
}

const ROUNDS = 10;
const PAUSE_MS = 500;

/**
 * The best of three measurements. Where that is over the limit it is done again
 * some times, since others may use the machine.
 */
export async function measureAlone(
  measure: () => Promise<number>,
): Promise<number> {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    for (let attempt = 0; attempt < 3; attempt++) {
      best = Math.min(best, await measure());
    }
    if (best <= SLOW_MS || best > CLEAR_MS) break;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return best;
}
