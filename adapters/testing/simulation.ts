/**
 * Servers and clients in one process, on virtual time, a simulated network and a
 * simulated KV.
 *
 * @module
 */
import { shown } from "../../protocol/shown.ts";
import type { Clock } from "../../server/ports.ts";
import type { Server } from "../../server/server.ts";
import { SeededRandom } from "./seeded_random.ts";
import {
  ClientProcess,
  type SimulatedClient,
  type SimulatedClientOptions,
} from "./simulated_client.ts";
import { KvDatabase } from "./simulated_kv.ts";
import {
  ANY_SERVER,
  NetworkOfNames,
  type SimulatedNetwork,
} from "./simulated_network.ts";
import {
  ServerProcess,
  type ServerSurroundings,
  type SimulatedServer,
  type SimulatedServerOptions,
} from "./simulated_server.ts";
import { type HostClock, VirtualClock } from "./virtual_clock.ts";

/** Virtual milliseconds that {@linkcode Simulation.until} waits by default. */
const PATIENCE_MS = 60_000;

/** Options of {@linkcode createSimulation}. */
export interface SimulationOptions {
  /** Decides everything that is left to chance; any whole number. @default 1 */
  readonly seed?: number;
}

/**
 * Makes a simulation: your stores and functions on the real server, behind the
 * real client, while time, chance, network and KV are simulated. The same seed gives
 * the same run, so that a failure can be seen again.
 *
 * - Time stands still until {@linkcode Simulation.advance} or
 *   {@linkcode Simulation.until} moves it: whatever is awaited goes through the
 *   latter, `await simulation.until(client.call("add"))`. Awaited by itself it would
 *   never come.
 * - Functions and hooks must not wait for real time: neither the real `setTimeout`, nor
 *   `fetch`, files or another process. What keeps time takes the clock that `define`
 *   gets.
 *
 * @example A write survives the crash of its server
 * ```ts
 * import { createSimulation, type Server } from "@headwater/sync/testing";
 * import assert from "node:assert/strict";
 *
 * function define(server: Server) {
 *   const counter = server.createStore("Counter", { count: 0 });
 *   server.handle("add", async ({ by }: { by: number }) => {
 *     await counter.update((draft) => void (draft.count += by));
 *   });
 * }
 *
 * await using simulation = createSimulation({ seed: 7 });
 * const first = await simulation.startServer(define);
 * const { client } = simulation.createClient();
 * const counter = client.subscribe<{ count: number }>("Counter");
 *
 * simulation.network.faults.latencyMs = [5, 50];
 * await simulation.until(client.call("add", { by: 2 }));
 * first.crash();
 * await simulation.startServer(define);
 * await simulation.until(client.call("add", { by: 3 }));
 * assert.deepEqual(counter.getState(), { count: 5 });
 * ```
 *
 * @throws {RangeError} if the seed is no whole number.
 */
export function createSimulation(options: SimulationOptions = {}): Simulation {
  return new Simulation(options);
}

/**
 * Servers, clients, and what lies between them, on virtual time: await everything by
 * {@linkcode Simulation.until}. Made by {@linkcode createSimulation}.
 */
export class Simulation implements AsyncDisposable {
  /** The time of everything. */
  readonly clock: VirtualClock = new VirtualClock();
  /** For what a test decides by chance. */
  readonly random: SeededRandom;
  /** What lies between clients and servers. */
  readonly network: SimulatedNetwork;
  /** The KV that all servers share. */
  readonly kv: KvDatabase;
  readonly #seed: number;
  readonly #network: NetworkOfNames;
  readonly #processRandom: SeededRandom;
  readonly #servers = new Set<ServerProcess>();
  /** Of all servers that there were. */
  readonly #names = new Set<string>();
  readonly #clients = new Set<SimulatedClient>();
  /** Of all processes that there were. */
  readonly #clocks: HostClock[] = [];

  /**
   * Made by {@linkcode createSimulation}.
   *
   * @ignore
   */
  constructor({ seed = 1 }: SimulationOptions) {
    this.random = new SeededRandom(seed);
    this.#seed = seed;
    this.#processRandom = this.random.fork();
    this.#network = new NetworkOfNames(this.clock, this.random.fork());
    this.network = this.#network;
    this.kv = new KvDatabase({
      clock: this.clock.createHost(),
      random: this.random.fork(),
    });
  }

  /** Servers that have neither been closed nor crashed. */
  get servers(): readonly SimulatedServer[] {
    return [...this.#servers];
  }

  /** Clients that have neither been destroyed nor crashed. */
  get clients(): readonly SimulatedClient[] {
    return [...this.#clients];
  }

  /**
   * Starts a server, and resolves when it listens. `define` creates its stores and
   * functions; it gets the clock of its process, for whatever of yours keeps time: the
   * real `setTimeout` does not move with the virtual time.
   *
   * @throws {Error} if it does not listen within a minute of virtual time; what
   * `define` throws, or the server where it cannot open its KV.
   * @throws {RangeError} if its name is none, or a server of that name runs.
   */
  async startServer(
    define: (server: Server, clock: Clock) => void,
    options: SimulatedServerOptions = {},
  ): Promise<SimulatedServer> {
    const started = this.launchServer(define, options);
    await this.until(started.listening);
    return started;
  }

  /**
   * The same without waiting for it to listen, which it may never do: it may crash
   * before, and then {@linkcode SimulatedServer.listening} stays pending.
   */
  launchServer(
    define: (server: Server, clock: Clock) => void,
    options: SimulatedServerOptions = {},
  ): SimulatedServer {
    const { name = "server" } = options;
    this.#checkName(name);
    const started: ServerProcess = new ServerProcess(define, options, {
      ...this.#createSurroundings(),
      kv: this.kv,
      ended: () => this.#servers.delete(started),
    });
    this.#servers.add(started);
    this.#names.add(name);
    return started;
  }

  /**
   * Makes a client, which connects at once, and again after each loss.
   *
   * @throws {RangeError} if no server has had the name that it is to connect to.
   */
  createClient(options: SimulatedClientOptions = {}): SimulatedClient {
    const { server = ANY_SERVER } = options;
    if (server !== ANY_SERVER && !this.#names.has(server)) {
      throw new RangeError(
        `Cannot make a client of server ${
          shown(server)
        }: there was none of that name, but ${
          [...this.#names].map(shown).join(", ") || "none at all"
        }`,
      );
    }
    const created: SimulatedClient = new ClientProcess(options, {
      ...this.#createSurroundings(),
      ended: () => this.#clients.delete(created),
    });
    this.#clients.add(created);
    return created;
  }

  /**
   * Lets `ms` of virtual time pass, with all that happens in it.
   *
   * @throws {RangeError} if `ms` is negative or not finite.
   */
  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  /**
   * Lets time pass until a promise has settled, and gives its value; or until a
   * condition is true, which is asked whenever something has happened.
   *
   * @throws {Error} if that takes over `limitMs` of virtual time, a minute by
   * default, with the seed and who is connected; what the promise rejects with.
   * @throws {RangeError} if `limitMs` is negative or not finite.
   */
  async until<T>(
    what: Promise<T> | (() => boolean),
    { limitMs = PATIENCE_MS }: { limitMs?: number } = {},
  ): Promise<T> {
    let isDone = false;
    const settled = () => void (isDone = true);
    if (typeof what !== "function") what.then(settled, settled);
    const condition = typeof what === "function" ? what : () => isDone;
    if (await this.clock.reaches(condition, limitMs)) {
      // Nothing is promised of a condition.
      return typeof what === "function" ? undefined as T : await what;
    }
    throw new Error(
      `It did not come to that within ${limitMs} ms of virtual time: ${this.#situation()}`,
    );
  }

  /**
   * Ends every fault of network and KV, lets what they have held back go on, and
   * whoever is suspended. Clocks that have jumped stay where they are.
   */
  heal(): void {
    // What has reached them while they slept comes before what was held back since.
    for (const { clock } of [...this.#servers, ...this.#clients]) {
      clock.resume();
    }
    this.network.heal();
    this.kv.faults.heal();
  }

  /**
   * Heals everything, and ends clients and servers in good order.
   *
   * @throws {Error} if any of them leaves something behind: a connection, a
   * watch, an operation of the KV, a timer of a process that did not crash.
   */
  async close(): Promise<void> {
    this.heal();
    for (const client of this.#clients) client.destroy();
    for (const server of this.#servers) {
      await this.until(server.close());
    }
    // The last words of either side are still on their way.
    await this.advance(PATIENCE_MS);
    const left = this.#leftovers();
    if (left.length > 0) throw new Error(`Left behind: ${left.join(", ")}`);
  }

  /** The same as {@linkcode Simulation.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #createSurroundings(): Pick<
    ServerSurroundings,
    "network" | "clock" | "random"
  > {
    const clock = this.clock.createHost();
    this.#clocks.push(clock);
    return {
      network: this.#network,
      clock,
      random: this.#processRandom.fork(),
    };
  }

  /** Who is there, and how it can be seen again. */
  #situation(): string {
    const servers = this.servers.map(({ name, links }) =>
      `${shown(name)} (connections: ${links.length})`
    );
    const statuses = new Map<string, number>();
    for (const { client: { status } } of this.#clients) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    const clients = [...statuses].map(([status, count]) =>
      `${count} ${status}`
    );
    return [
      `seed ${this.#seed}, ${this.clock.elapsedMs} ms from its beginning`,
      `servers: ${servers.join(", ") || "none"}`,
      `clients: ${clients.join(", ") || "none"}`,
      "what waits for real time, such as setTimeout, waits for ever",
    ].join("; ");
  }

  #checkName(name: string): void {
    // As the client's URL will have it: capitals become small there, and "1" an address.
    const url = `ws://${name}/`;
    if (
      name === ANY_SERVER || !URL.canParse(url) ||
      new URL(url).hostname !== name
    ) {
      throw new RangeError(
        `Cannot start server ${
          shown(name)
        }: a name has small letters, digits, "-" and ".", and is not "${ANY_SERVER}"`,
      );
    }
    for (const server of this.#servers) {
      if (server.name !== name || server.isOver) continue;
      throw new RangeError(
        `Cannot start server ${
          shown(name)
        }: one of that name runs; close or crash it, or give another name`,
      );
    }
  }

  /** What is left behind, by name. */
  #leftovers(): string[] {
    const counts = {
      servers: this.#servers.size,
      clients: this.#clients.size,
      connections: this.network.links.size,
      watches: this.kv.watches,
      "operations of the KV": this.kv.pending,
      timers: this.#timers(),
    };
    return Object.entries(counts).filter(([, count]) => count > 0)
      .map(([what, count]) => `${count} ${what}`);
  }

  /** Timers of processes that have ended in good order. */
  #timers(): number {
    let timers = 0;
    for (const { isDead, pendingTimers } of this.#clocks) {
      if (!isDead) timers += pendingTimers;
    }
    return timers;
  }
}
