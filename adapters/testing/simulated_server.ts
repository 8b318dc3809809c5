/**
 * One server process of a simulation.
 *
 * @module
 */
import type { ServerOptions } from "../../server/options.ts";
import type { Clock, OpenedKv, Ports } from "../../server/ports.ts";
import { Server } from "../../server/server.ts";
import { createAmbient } from "../ambient.ts";
import type { Link } from "./link.ts";
import type { SeededRandom } from "./seeded_random.ts";
import type {
  KvDatabase,
  KvHandle,
  KvOperationKind,
  KvOperationMoment,
} from "./simulated_kv.ts";
import type { NetworkOfNames } from "./simulated_network.ts";
import type { HostClock } from "./virtual_clock.ts";

/** Options of {@linkcode Simulation.startServer}: those of `createServer`, and its surroundings. */
export interface SimulatedServerOptions extends Omit<ServerOptions, "kv"> {
  /**
   * Its name in the network: small letters, digits, "-" and ".". Servers that run side
   * by side need one each; one that starts again may have it again.
   *
   * @default "server"
   */
  readonly name?: string;
  /** How often a client must be heard, in milliseconds; 0: never. @default 30000 */
  readonly heartbeatMs?: number;
  /**
   * Whether it takes the KV for a file of its machine, with one writer, or for one
   * that is far away.
   *
   * @default true
   */
  readonly isLocal?: boolean;
}

/** One server process. Made by {@linkcode Simulation.startServer}. */
export interface SimulatedServer {
  /** Its name in the network. */
  readonly name: string;
  /** The server itself. */
  readonly server: Server;
  /** Its clock: `jump`, `suspend` and `resume` it as you like. */
  readonly clock: HostClock;
  /** Its connections. */
  readonly links: readonly Link[];
  /** Resolves when it listens; rejects if it cannot, as where its KV cannot be opened. */
  readonly listening: Promise<void>;
  /**
   * Called when an operation of it on the KV begins, and again when that has taken
   * effect and is not answered yet: a good place for {@linkcode SimulatedServer.crash}.
   */
  onKvOperation:
    | ((kind: KvOperationKind, moment: KvOperationMoment) => void)
    | undefined;
  /**
   * Ends the process at once, as `kill -9` does: its timers, connections and
   * watches are gone, and what it has committed stays.
   */
  crash(): void;
  /**
   * Ends it in good order. Takes virtual time, so await it by
   * {@linkcode Simulation.until}.
   */
  close(): Promise<void>;
}

/** Where a server process lives. */
export interface ServerSurroundings {
  readonly network: NetworkOfNames;
  readonly kv: KvDatabase;
  /** The clock of the process. */
  readonly clock: HostClock;
  readonly random: SeededRandom;
  /** It has crashed, or was closed. */
  readonly ended: () => void;
}

/** See the module's documentation. */
export class ServerProcess implements SimulatedServer {
  readonly name: string;
  readonly server: Server;
  readonly clock: HostClock;
  readonly listening: Promise<void>;
  onKvOperation: SimulatedServer["onKvOperation"];
  readonly #surroundings: ServerSurroundings;
  readonly #isLocal: boolean;
  readonly #handles: KvHandle[] = [];
  #isOver = false;

  /** Defines a server by `define`, and lets it begin to listen. */
  constructor(
    define: (server: Server, clock: Clock) => void,
    {
      name = "server",
      heartbeatMs = 30_000,
      isLocal = true,
      ...options
    }: SimulatedServerOptions,
    surroundings: ServerSurroundings,
  ) {
    const { network, clock, random } = surroundings;
    const ports: Ports = {
      // Another handle each time: one that was closed stays so.
      openKv: () => Promise.resolve(this.#openKv()),
      clock,
      random,
      createAmbient,
      upgrade: (request, accept) => network.upgrade(request, accept),
      lendKv: () => unsupported("a KV of its own"),
      attach: () => unsupported("an HTTP server"),
      listen: (_target, fetch) => network.listen(name, clock, fetch),
    };
    this.#surroundings = surroundings;
    this.#isLocal = isLocal;
    this.name = name;
    this.clock = clock;
    this.server = new Server({ ...options, kv: "simulated" }, ports);
    define(this.server, clock);
    this.listening = this.server.listen({ heartbeatMs }).catch((error) => {
      this.#isOver = true;
      throw error;
    });
  }

  get links(): readonly Link[] {
    return this.#surroundings.network.linksOf(this.clock);
  }

  crash(): void {
    if (this.clock.isDead) return;
    this.clock.kill();
    for (const handle of this.#handles) handle.kill();
    this.#surroundings.network.kill(this.clock);
    this.#surroundings.ended();
  }

  /** Whether another process may have its name: it closes, or could not listen. */
  get isOver(): boolean {
    return this.#isOver;
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.server.close();
    this.#surroundings.ended();
  }

  #openKv(): OpenedKv {
    const { clock } = this;
    const handle = this.#surroundings.kv.open({
      isLocal: this.#isLocal,
      clock,
    });
    handle.onOperation = (kind, moment) => this.onKvOperation?.(kind, moment);
    this.#handles.push(handle);
    if (clock.isDead) handle.kill();
    return handle.toOpened();
  }
}

/** Nothing in a simulation asks for it. */
function unsupported(what: string): never {
  throw new TypeError(`A simulated server cannot have ${what}`);
}
