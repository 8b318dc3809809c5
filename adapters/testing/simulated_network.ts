/**
 * A network of names: servers listen under one, clients connect to one, and what
 * lies between them is as bad as a test wants it.
 *
 * @module
 */
import type { WebSocketClass } from "../../client/mod.ts";
import type {
  HostFetch,
  Listener,
  Socket,
  SocketEvents,
} from "../../server/ports.ts";
import {
  type Link,
  type NetworkCounts,
  type NetworkFaults,
  SimulatedLink,
} from "./link.ts";
import { addKnobs, CHANCE, type Knob, SPEED, WHOLE_DELAY } from "./knobs.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { ClientEnd } from "./simulated_socket.ts";
import type { HostClock, VirtualClock } from "./virtual_clock.ts";

/** The name under which clients reach any of the servers, as behind a balancer. */
export const ANY_SERVER = "any";

/** No faults, and no time lost either. */
const PERFECT: Readonly<NetworkFaults> = {
  latencyMs: [0, 0],
  refuse: 0,
  lose: 0,
  duplicate: 0,
  bytesPerMs: Infinity,
};

const KNOBS: Readonly<Record<keyof NetworkFaults, Knob>> = {
  latencyMs: WHOLE_DELAY,
  refuse: CHANCE,
  lose: CHANCE,
  duplicate: CHANCE,
  bytesPerMs: SPEED,
};

/** What lies between clients and servers. */
export interface SimulatedNetwork {
  /** How it behaves from now on. */
  readonly faults: NetworkFaults;
  /** Connections that are up, or that somebody still believes in. */
  readonly links: ReadonlySet<Link>;
  /** What has gone wrong so far. */
  readonly counts: Readonly<NetworkCounts>;
  /**
   * Turns every knob back and lets what has stalled be read again: whatever is sent
   * from now on arrives. What was cut stays so.
   */
  heal(): void;
}

/** See the module's documentation. */
export class NetworkOfNames implements SimulatedNetwork {
  readonly faults: NetworkFaults = addKnobs(
    { ...PERFECT },
    KNOBS,
    "network.faults",
  );
  readonly links: ReadonlySet<Link>;
  readonly counts: NetworkCounts = {
    lostMessages: 0,
    doubledMessages: 0,
    refusedConnections: 0,
    cuts: 0,
  };
  readonly #links = new Set<SimulatedLink>();
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;
  readonly #servers = new Map<string, ListeningServer>();
  readonly #upgrading = new Map<string, (accepted: Accept) => void>();
  #attempts = 0;

  /** An empty network. */
  constructor(clock: VirtualClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
    this.links = this.#links;
  }

  heal(): void {
    Object.assign(this.faults, PERFECT);
    for (const { up, down } of this.#links) {
      up.resume();
      down.resume();
    }
  }

  /** Takes requests for a name, for the process that lives by `clock`. */
  listen(name: string, clock: HostClock, fetch: HostFetch): Promise<Listener> {
    // A process may die on its way here: it must not be found under its name.
    if (clock.isDead) return new Promise(() => {});
    const server = { clock, fetch };
    this.#servers.set(name, server);
    return Promise.resolve({
      port: 0,
      close: () => {
        // Another process may listen under that name by now.
        if (this.#servers.get(name) === server) this.#servers.delete(name);
        return Promise.resolve();
      },
    });
  }

  /** The process that lives by `clock` has died, with all of its connections. */
  kill(clock: HostClock): void {
    for (const [name, server] of this.#servers) {
      if (server.clock === clock) this.#servers.delete(name);
    }
    for (const link of [...this.#links]) {
      if (link.serverClock === clock) link.serverDied();
      if (link.clientClock === clock) link.clientDied();
    }
  }

  /** Connections of the process that lives by `clock`. */
  linksOf(clock: HostClock): readonly Link[] {
    return [...this.#links].filter(({ clientClock, serverClock }) =>
      clientClock === clock || serverClock === clock
    );
  }

  /** Answers the upgrade that {@linkcode NetworkOfNames.socketClass} asked for. */
  upgrade(request: Request, accept: Accept): Response {
    this.#upgrading.get(request.headers.get(ATTEMPT) ?? "")?.(accept);
    // A 101 cannot be made by hand; nobody looks at it.
    return new Response(null);
  }

  /** The class of the sockets of a client that lives by `clock`. */
  socketClass(clock: HostClock): WebSocketClass {
    const connect = (end: ClientEnd, url: string) =>
      this.#connect(end, { name: new URL(url).hostname, clock });
    return class extends ClientEnd {
      constructor(url: string) {
        super();
        connect(this, url);
      }
    };
  }

  #connect(
    client: ClientEnd,
    { name, clock }: { name: string; clock: HostClock },
  ): void {
    const { faults } = this;
    const random = this.#random;
    const travelMs = () => random.integer(...faults.latencyMs);
    this.#clock.schedule(travelMs(), () => {
      const names = [...this.#servers.keys()];
      const serverName = name === ANY_SERVER && names.length > 0
        ? random.pick(names)
        : name;
      const server = this.#servers.get(serverName);
      if (!server || random.chance(faults.refuse)) {
        this.counts.refusedConnections++;
        this.#clock.schedule(travelMs(), () => client.ended(), clock);
        return;
      }
      const attempt = String(++this.#attempts);
      this.#upgrading.set(attempt, (accept) => {
        this.#upgrading.delete(attempt);
        const link = new SimulatedLink({
          clock: this.#clock,
          random,
          faults,
          counts: this.counts,
          forget: (link) => void this.#links.delete(link),
        }, {
          client,
          clientClock: clock,
          serverClock: server.clock,
        });
        this.#links.add(link);
        link.server.events = accept(link.server);
        this.#clock.schedule(travelMs(), () => client.opened(link), clock);
      });
      const headers = { upgrade: "websocket", [ATTEMPT]: attempt };
      const request = new Request(`http://${serverName}/`, { headers });
      void server.fetch(request, undefined);
    }, clock);
  }
}

/** A process that takes requests. */
interface ListeningServer {
  readonly clock: HostClock;
  readonly fetch: HostFetch;
}

/** How a server takes a socket. */
type Accept = (socket: Socket) => SocketEvents;

/** Header that tells the network which attempt to connect a request is. */
const ATTEMPT = "x-simulated-attempt";
