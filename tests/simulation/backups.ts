/**
 * A backup of the KV, and what it is set back to.
 *
 * @module
 */
import type { SimulatedServer } from "../../adapters/testing/mod.ts";
import type { KvBackup } from "../../adapters/testing/simulated_kv.ts";
import type { World } from "./world.ts";

/** See the module's documentation. */
export class Backups {
  readonly #world: World;
  #backup: KvBackup | undefined;
  #isRestored = false;

  /** Of the KV of a world. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Whether there is one. */
  get isThere(): boolean {
    return this.#backup !== undefined;
  }

  /** Whether the KV was set back to it. */
  get isRestored(): boolean {
    return this.#isRestored;
  }

  /** Takes one. */
  take(): void {
    this.#world.note("a backup is taken");
    this.#backup = this.#world.simulation.kv.backup();
  }

  /** Sets the KV back to the backup, while servers run or not; of them only `survivor`, if given. */
  restore(survivor?: SimulatedServer): void {
    const world = this.#world;
    if (!this.#backup) return;
    world.note("the backup is restored");
    const { kv, network, servers } = world.simulation;
    // A server that compacts must not survive it: what it trims may be needed again.
    // Nor one whose clients are told again, by a proxy, what was set back.
    const survive = world.plan.padSize < 1_000 && !world.plan.isBroken &&
      world.random.chance(0.5);
    kv.faults.outlives = 0;
    for (const server of servers) {
      if (survivor ? server !== survivor : !survive) server.crash();
    }
    // Whoever is at a server that lives goes on without having noticed.
    if (!survivor) { for (const link of network.links) link.cut(); }
    // A file that is restored gives versionstamps a second time. A server that has seen
    // the first could not tell, which is why it must not run meanwhile.
    const { stamp } = survivor || survive ? kv.backup() : this.#backup;
    kv.restore({ ...this.#backup, stamp });
    world.truth.setBack();
    this.#isRestored = true;
  }

  /** Lets every server find out that the KV was set back: with its next write to a store. */
  touchAll(): void {
    if (!this.#isRestored) return;
    const { simulation, plan, caller } = this.#world;
    for (const server of simulation.servers) {
      for (const store of plan.stores) caller.update(server, store);
    }
  }
}
