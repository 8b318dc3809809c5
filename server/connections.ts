/**
 * All connections of a server: who is let in, who has gone silent, and the end.
 *
 * @module
 */
import { CLOSE, type CloseCode } from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import type { Logger } from "./logger.ts";
import { Outboxes } from "./outbox.ts";
import { partBytes } from "./part_queue.ts";
import type {
  Clock,
  ConnectionInfo,
  Socket,
  SocketEvents,
  Timer,
} from "./ports.ts";

/** A connection is silent once nothing was heard for so many heartbeats. */
const SILENT_HEARTBEATS = 2.5;

/** What connections need of their server. */
export interface ConnectionsOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  /** Whether limits per address count for loopback as well. */
  readonly isLoopbackLimited: boolean;
  readonly dispatch: ConnectionHost["dispatch"];
  readonly logger: Logger;
  /** The connection's session may be forgotten. */
  readonly onEnded: (connection: Connection) => void;
}

/** See the module's documentation. */
export class Connections {
  readonly outboxes: Outboxes;
  readonly #options: ConnectionsOptions;
  readonly #connections = new Set<Connection>();
  readonly #byAddress = new Map<string, number>();
  #heartbeatMs = 30_000;
  #heartbeat: Timer | undefined;
  #isClosed = false;

  /** No connections yet. */
  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.outboxes = new Outboxes(options.clock, options.limits);
    this.outboxes.partBytes = partBytes(this.#heartbeatMs);
  }

  /** How many there are. */
  get size(): number {
    return this.#connections.size;
  }

  /** Addresses that are counted. */
  get addresses(): number {
    return this.#byAddress.size;
  }

  /** Subscriptions of all connections. */
  get subscriptions(): number {
    let sum = 0;
    for (const { subscriptions } of this.#connections) {
      sum += subscriptions.size;
    }
    return sum;
  }

  /** How often clients must be heard; 0: never. */
  get heartbeatMs(): number {
    return this.#heartbeatMs;
  }
  set heartbeatMs(ms: number) {
    this.#heartbeatMs = ms;
    this.outboxes.partBytes = partBytes(ms);
    this.#heartbeat?.cancel();
    this.#heartbeat = undefined;
    if (this.#connections.size > 0) this.#listen();
  }

  /** Takes over an open socket. */
  accept(socket: Socket, info: ConnectionInfo): SocketEvents {
    const refusal = this.#refusal(info);
    if (refusal) {
      socket.close(...refusal);
      return { message: () => {}, closed: () => {} };
    }
    const { clock, limits, dispatch, logger, onEnded } = this.#options;
    const connection = new Connection(socket, info, {
      clock,
      limits,
      outboxes: this.outboxes,
      dispatch,
      ended: (connection) => {
        this.#delete(connection);
        onEnded(connection);
      },
      failed: (connection, error) => {
        const clientId = connection.session?.clientId;
        logger.error("A frame could not be handled: {error}", {
          clientId,
          error,
        });
      },
    });
    this.#connections.add(connection);
    if (info.address !== undefined) {
      this.#byAddress.set(
        info.address,
        (this.#byAddress.get(info.address) ?? 0) + 1,
      );
    }
    this.#listen();
    return connection;
  }

  /**
   * Lets what is under way be answered, for at most `graceMs`, then tells every
   * client to come back later.
   */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    this.#heartbeat?.cancel();
    const drained = Promise.all(
      [...this.#connections].map((connection) => connection.drain()),
    );
    let grace: Timer | undefined;
    const tooLate = new Promise<void>((resolve) => {
      grace = this.#options.clock.setTimer(graceMs, resolve);
    });
    await Promise.race([drained, tooLate]);
    grace?.cancel();
    for (const connection of [...this.#connections]) {
      connection.close(CLOSE.goingAway, "The server is going away");
    }
    this.outboxes.close();
  }

  #refusal({ address }: ConnectionInfo): [CloseCode, string] | undefined {
    const { limits, isLoopbackLimited } = this.#options;
    if (this.#isClosed) return [CLOSE.goingAway, "The server is going away"];
    if (this.#connections.size >= limits.connections) {
      return [
        CLOSE.full,
        `The server has its limit of ${limits.connections} connections`,
      ];
    }
    if (address === undefined || (!isLoopbackLimited && isLoopback(address))) {
      return undefined;
    }
    if ((this.#byAddress.get(address) ?? 0) < limits.connectionsPerAddress) {
      return undefined;
    }
    return [
      CLOSE.full,
      `The limit is ${limits.connectionsPerAddress} connections from one address`,
    ];
  }

  #delete(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    const { address } = connection.info;
    if (address === undefined) return;
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }

  /** One timer for all connections. */
  #listen(): void {
    if (this.#heartbeatMs === 0 || this.#heartbeat || this.#isClosed) return;
    const { clock } = this.#options;
    this.#heartbeat = clock.setTimer(this.#heartbeatMs / 2, () => {
      this.#heartbeat = undefined;
      const since = clock.monotonic() - this.#heartbeatMs * SILENT_HEARTBEATS;
      for (const connection of [...this.#connections]) {
        if (connection.heardAtMs >= since) continue;
        connection.close(
          CLOSE.silent,
          `Nothing was heard for ${SILENT_HEARTBEATS} heartbeats`,
        );
      }
      if (this.#connections.size > 0) this.#listen();
    });
  }
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") ||
    address.startsWith("::ffff:127.");
}
