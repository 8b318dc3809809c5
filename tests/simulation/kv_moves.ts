/**
 * Moves in which the KV is late, fails, is gone, or is set back.
 *
 * @module
 */
import type { Move } from "./move.ts";

import { setBackWhileOneSleeps } from "./process_sequences.ts";
import { outage } from "./steps.ts";
import type { World } from "./world.ts";

const kv = (weight: number) => ({ plan }: World): number =>
  weight * plan.trouble.kv;

/** What happens to the KV. */
export const KV_MOVES: readonly Move[] = [
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
        world.caller.update(server, world.pickStore());
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
      if (world.backups.isThere) return world.backups.restore();
      world.backups.take();
    },
  },
  {
    name: "set back while one sleeps",
    // Whoever compacts must not live through it: what it trims may be needed again.
    weight: ({ plan }) =>
      plan.isRestored && !plan.isBroken && plan.padSize < 1_000 ? 20 : 0,
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
];
