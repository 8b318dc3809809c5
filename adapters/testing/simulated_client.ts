/**
 * One client process of a simulation.
 *
 * @module
 */
import { createHostedClient } from "../../client/create_client.ts";
import type { Client, ClientOptions } from "../../client/mod.ts";
import { startWriting } from "../../client/writing/mod.ts";
import type { Link } from "./link.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { ANY_SERVER, type NetworkOfNames } from "./simulated_network.ts";
import type { HostClock } from "./virtual_clock.ts";

/** Options of {@linkcode Simulation.createClient}: those of `createClient`, and its server. */
export interface SimulatedClientOptions
  extends Omit<ClientOptions, "clock" | "random" | "WebSocket" | "onWake"> {
  /**
   * Name of its server, which was started before, if only once. By default any of those
   * that listen, drawn anew for each connection, as behind a balancer.
   *
   * @default "any"
   */
  readonly server?: string;
}

/** One client process, such as a browser tab. Made by {@linkcode Simulation.createClient}. */
export interface SimulatedClient {
  /** The client itself. */
  readonly client: Client;
  /** Its clock: `jump`, `suspend` and `resume` it as you like. */
  readonly clock: HostClock;
  /** Its connections: one, and none while it is on its way. */
  readonly links: readonly Link[];
  /** Ends the process at once, as a tab that is killed. */
  crash(): void;
  /** Ends it in good order. */
  destroy(): void;
}

/** Where a client process lives. */
export interface ClientSurroundings {
  readonly network: NetworkOfNames;
  /** The clock of the process. */
  readonly clock: HostClock;
  readonly random: SeededRandom;
  /** It has crashed, or was destroyed. */
  readonly ended: () => void;
}

/** See the module's documentation. */
export class ClientProcess implements SimulatedClient {
  readonly client: Client;
  readonly clock: HostClock;
  readonly #surroundings: ClientSurroundings;

  /** A client that connects at once. */
  constructor(
    { server = ANY_SERVER, ...options }: SimulatedClientOptions,
    surroundings: ClientSurroundings,
  ) {
    const { network, clock, random } = surroundings;
    this.#surroundings = surroundings;
    this.clock = clock;
    this.client = createHostedClient(`ws://${server}/`, {
      ...options,
      clock,
      random: () => random.float(),
      onWake: () => () => {},
      WebSocket: network.socketClass(clock),
      // At once: how long a module takes to load is not for the seed to decide.
      loadWriting: () => ({ startWriting }),
    });
  }

  get links(): readonly Link[] {
    return this.#surroundings.network.linksOf(this.clock);
  }

  crash(): void {
    this.clock.kill();
    this.#surroundings.network.kill(this.clock);
    this.#surroundings.ended();
  }

  destroy(): void {
    this.client.destroy();
    this.#surroundings.ended();
  }
}
