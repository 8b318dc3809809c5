/**
 * One simulated connection: two directions, each in order, as slow, lossy or dead
 * as a test makes them.
 *
 * @module
 */
import type { SeededRandom } from "./seeded_random.ts";
import type { ClientEnd } from "./simulated_socket.ts";
import { ServerEnd } from "./simulated_socket.ts";
import type { HostClock, VirtualClock } from "./virtual_clock.ts";

/**
 * How the network behaves. Each knob may be turned at any moment, and is for what is
 * sent from then on. Chances are from 0, never, to 1, always. A knob that is turned to
 * what it cannot be throws a RangeError.
 */
export interface NetworkFaults {
  /** Whole milliseconds that a message travels. At first none. */
  latencyMs: readonly [leastMs: number, mostMs: number];
  /** Chance that an attempt to connect fails. At first 0. */
  refuse: number;
  /**
   * Chance that a message is lost though its connection stays, as no TCP but a
   * broken proxy does it. At first 0.
   */
  lose: number;
  /** Chance that a message to a client arrives twice, by such a proxy. At first 0. */
  duplicate: number;
  /** Bytes that each direction of a connection carries in a millisecond. At first `Infinity`. */
  bytesPerMs: number;
}

/** One connection of a client to a server. */
export interface Link {
  /** From the client to the server. */
  readonly up: LinkDirection;
  /** From the server to the client. */
  readonly down: LinkDirection;
  /** Loses the connection: what is on its way is lost, and both ends are told. */
  cut(): void;
  /**
   * Loses it without a word to either end, as a tunnel does, or a cable that was
   * pulled: they find out by their heartbeats.
   */
  cutSilently(): void;
}

/** What one end of a {@linkcode Link} sends to the other, in order. */
export interface LinkDirection {
  /** Bytes that the sender's system was given, and could not pass on yet. */
  readonly bufferedBytes: number;
  /** Stops being read: what is sent stays in the sender's buffer. */
  stall(): void;
  /** Is read again, beginning with what has waited. */
  resume(): void;
}

/** A message that comes twice comes again within that. */
const REPEAT_MS = 300;

/** What has gone wrong on a network, and how often. */
export interface NetworkCounts {
  /** Messages that were lost on a connection that stayed. */
  lostMessages: number;
  /** Messages that came twice. */
  doubledMessages: number;
  /** Attempts to connect that were refused, or found nobody. */
  refusedConnections: number;
  /** Connections that were cut, with or without a word. */
  cuts: number;
}

/** What a link needs of its network. */
export interface LinkHost {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: NetworkFaults;
  readonly counts: NetworkCounts;
  /** Both ends have let go of it. */
  forget(link: SimulatedLink): void;
}

/** Who is at the ends of a link. */
export interface LinkEnds {
  readonly client: ClientEnd;
  /** The client's process. */
  readonly clientClock: HostClock;
  /** The server's process. */
  readonly serverClock: HostClock;
}

/** How an end is told that the other has closed. */
export interface CloseFrame {
  readonly code: number;
  readonly reason: string;
}

/** Where a direction ends. */
interface Receiver {
  /** The process there: what arrives while it is suspended waits. */
  readonly clock: HostClock;
  /** Whether messages may come twice. */
  readonly isRepeated: boolean;
  receive(bytes: Uint8Array<ArrayBuffer>): void;
  ended(cause: CloseFrame | undefined): void;
}

/** See the module's documentation. */
export class SimulatedLink implements Link {
  /** The server's end. */
  readonly server: ServerEnd;
  readonly up: Direction;
  readonly down: Direction;
  /** The client's process. */
  readonly clientClock: HostClock;
  /** The server's process. */
  readonly serverClock: HostClock;
  readonly #host: LinkHost;
  readonly #left = new Set<"client" | "server">();

  /** A connection that has just been accepted. */
  constructor(host: LinkHost, ends: LinkEnds) {
    const { client, clientClock, serverClock } = ends;
    const server = new ServerEnd(this);
    this.#host = host;
    this.server = server;
    this.clientClock = clientClock;
    this.serverClock = serverClock;
    this.up = new Direction(host, {
      clock: serverClock,
      isRepeated: false,
      receive: (bytes) => server.receive(bytes),
      // Deno may say it twice; the core has to bear that.
      ended: () => server.ended(host.random.chance(0.2) ? 2 : 1),
    });
    this.down = new Direction(host, {
      clock: clientClock,
      isRepeated: true,
      receive: (bytes) => client.receive(bytes),
      ended: (cause) => client.ended(cause),
    });
  }

  cut(): void {
    this.#host.counts.cuts++;
    this.up.cut();
    this.down.cut();
  }

  cutSilently(): void {
    this.#host.counts.cuts++;
    this.up.die();
    this.down.die();
  }

  /**
   * The server's process has died. The client is told, after what was sent already
   * or at once; where the whole machine lost power it is not.
   */
  serverDied(): void {
    const { random } = this.#host;
    this.server.events = undefined;
    this.up.die();
    if (random.chance(0.2)) this.down.die();
    else if (random.chance(0.5)) this.down.cut();
    else this.down.end(undefined);
    this.left("server");
  }

  /** The client's process has died: the server is told, or not. */
  clientDied(): void {
    this.down.die();
    if (this.#host.random.chance(0.2)) this.up.die();
    else this.up.end(undefined);
    this.left("client");
  }

  /** One end has let go of it; a link that the other still believes in stays. */
  left(end: "client" | "server"): void {
    this.#left.add(end);
    if (this.#left.size === 2) this.#host.forget(this);
  }
}

/** What one end sends to the other; knows what is on its way. */
export class Direction implements LinkDirection {
  readonly #host: LinkHost;
  readonly #to: Receiver;
  /** Sizes of what the sender's system has not passed on yet. */
  #bufferedBytes = 0;
  /** When the last of it will have been passed on, and arrived. */
  #passedMs = 0;
  #arrivedMs = 0;
  #isStalled = false;
  #isOver = false;
  #isDead = false;
  /** What was sent while nothing was read. */
  readonly #stalled: (() => void)[] = [];

  /** Messages to one end. */
  constructor(host: LinkHost, to: Receiver) {
    this.#host = host;
    this.#to = to;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Sends one message. */
  send(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const { random, faults, counts } = this.#host;
    this.#bufferedBytes += bytes.byteLength;
    this.#afterStall(() => this.#pass(bytes.byteLength));
    if (random.chance(faults.lose)) {
      counts.lostMessages++;
      return;
    }
    // A copy, as a real network makes one: what a sender changes later must not arrive.
    const copy = bytes.slice();
    this.#arrive(() => this.#to.receive(copy), bytes.byteLength);
    if (this.#to.isRepeated && random.chance(faults.duplicate)) {
      counts.doubledMessages++;
      this.#repeat(copy);
    }
  }

  /** Delivers a message once more, after others that were sent later. */
  #repeat(bytes: Uint8Array<ArrayBuffer>): void {
    const { clock, random } = this.#host;
    const ms = random.integer(0, REPEAT_MS);
    clock.schedule(ms, () => {
      if (!this.#isOver) this.#arrive(() => this.#to.receive(bytes.slice()), 0);
    });
  }

  /** Sends the end, a lost connection without a cause; nothing comes after it. */
  end(cause: CloseFrame | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#arrive(() => this.#to.ended(cause), 0);
  }

  /** Loses what is on its way; the receiver is told. */
  cut(): void {
    if (this.#isDead) return;
    this.die();
    const [least, most] = this.#host.faults.latencyMs;
    this.#host.clock.schedule(
      this.#host.random.integer(least, most),
      () => this.#to.ended(undefined),
      this.#to.clock,
    );
  }

  /** Loses what is on its way and all that will be sent; nobody is told. */
  die(): void {
    this.#isOver = true;
    this.#isDead = true;
  }

  stall(): void {
    this.#isStalled = true;
  }

  resume(): void {
    this.#isStalled = false;
    for (const run of this.#stalled.splice(0)) run();
  }

  #afterStall(run: () => void): void {
    if (this.#isStalled) this.#stalled.push(run);
    else run();
  }

  /** The system passes bytes on as quickly as the link carries them. */
  #pass(byteLength: number): void {
    const { clock, faults } = this.#host;
    const ms = byteLength / faults.bytesPerMs;
    this.#passedMs = Math.max(this.#passedMs, clock.elapsedMs) + ms;
    const free = () => void (this.#bufferedBytes -= byteLength);
    // An event for each message would be half of all events.
    if (ms === 0) free();
    else clock.schedule(this.#passedMs - clock.elapsedMs, free);
  }

  #arrive(run: () => void, byteLength: number): void {
    this.#afterStall(() => {
      const { clock, random, faults: { latencyMs: [least, most] } } =
        this.#host;
      const sentMs = byteLength === 0
        ? clock.elapsedMs
        : Math.max(this.#passedMs, clock.elapsedMs);
      // In order: a message never overtakes the one before it.
      this.#arrivedMs = Math.max(
        this.#arrivedMs,
        sentMs + random.integer(least, most),
      );
      clock.schedule(this.#arrivedMs - clock.elapsedMs, () => {
        if (!this.#isDead) run();
      }, this.#to.clock);
    });
  }
}
