/**
 * All connections of a server: who is let in, who has gone silent, and the end.
 *
 * @module
 */
import { CLOSE, type CloseCode } from "../protocol/frames.ts";
import type { Limits } from "../protocol/limits.ts";
import { matches } from "./access.ts";
import type { ConnectionRequest } from "./authentication.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import type { Failures } from "./failures.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { Outboxes } from "./outbox.ts";
import { partBytes } from "./part_queue.ts";
import type { Revocation } from "./revocations.ts";
import { Roster } from "./roster.ts";
import type { Clock, Socket, SocketEvents, Timer } from "./ports.ts";
import type { Session } from "./session.ts";

/** A connection is silent once nothing was heard for so many heartbeats. */
const SILENT_HEARTBEATS = 2.5;

/** What connections need of their server. */
export interface ConnectionsOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  /** Whether limits per address count for loopback as well. */
  readonly isLoopbackLimited: boolean;
  readonly dispatch: ConnectionHost["dispatch"];
  readonly lifecycle: Lifecycle;
  readonly failures: Failures;
  /** The connection's session may be forgotten. */
  readonly onEnded: (connection: Connection) => void;
}

/** See the module's documentation. */
export class Connections {
  readonly outboxes: Outboxes;
  /** Those that were welcomed. */
  readonly roster = new Roster();
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

  /** Those of a user or client that were welcomed; all of them where neither is given. */
  find(revocation?: Revocation): Connection[] {
    return [...this.#connections].filter((connection) =>
      connection.session && (!revocation || matches(revocation, connection))
    );
  }

  /** Takes over an open socket; `request` is kept where it will be asked for. */
  accept(
    socket: Socket,
    { request, address }: {
      address?: string | undefined;
      request?: ConnectionRequest | undefined;
    },
  ): SocketEvents {
    const refusal = this.#refusal(address);
    if (refusal) {
      socket.close(...refusal);
      return { message: () => {}, closed: () => {} };
    }
    const { clock, limits, dispatch, failures, lifecycle } = this.#options;
    const connection = new Connection(socket, address, {
      clock,
      limits,
      outboxes: this.outboxes,
      dispatch,
      welcomed: (connection, before) => this.#welcomed(connection, before),
      identified: (connection, userId) => {
        const { clientId } = connection;
        this.roster.delete(connection, { clientId, userId });
        if (clientId !== undefined) this.roster.add(connection);
      },
      subscribed: (connection, name) => {
        this.roster.follow(connection, name);
        lifecycle.fire(
          "subscribe",
          name,
          clientOf(connection),
          connection.info,
        );
      },
      unsubscribed: (connection, name) => {
        this.roster.unfollow(connection, name);
        lifecycle.fire(
          "unsubscribe",
          name,
          clientOf(connection),
          connection.info,
        );
      },
      ended: (connection) => this.#ended(connection),
      failed: ({ clientId }, error, what) =>
        failures.tell(error, { code: "unavailable", what, clientId }),
      explain: ({ clientId }, error, what) =>
        failures.explain(error, { code: "unavailable", what, clientId }),
    });
    connection.proof.request = request;
    this.#connections.add(connection);
    if (address !== undefined) {
      this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1);
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

  #refusal(address: string | undefined): [CloseCode, string] | undefined {
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

  #welcomed(connection: Connection, before: Session | undefined): void {
    const { lifecycle } = this.#options;
    const { userId, info } = connection;
    const clientId = clientOf(connection);
    if (before?.clientId === clientId) return;
    if (before) {
      // As whom it was known is over, though the socket is not.
      this.roster.delete(connection, { clientId: before.clientId, userId });
      lifecycle.fire("disconnect", before.clientId, info);
    }
    this.roster.add(connection);
    lifecycle.fire("connection", clientId, info);
  }

  #ended(connection: Connection): void {
    const { lifecycle, onEnded } = this.#options;
    const { clientId, info } = connection;
    this.#delete(connection);
    if (clientId !== undefined) {
      this.roster.delete(connection);
      lifecycle.fire("disconnect", clientId, info);
    }
    onEnded(connection);
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

/** Who it is; only one that was welcomed has subscriptions. */
function clientOf({ clientId = "" }: Connection): string {
  return clientId;
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") ||
    address.startsWith("::ffff:127.");
}
