/**
 * The connections of a `node:http` server that ask for a WebSocket: answered as
 * any request, or handed to `ws`. Whose server it is does not matter here.
 *
 * @module
 */
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import type { Duplex } from "node:stream";
import type { HostFetch, Socket, SocketEvents } from "../server/ports.ts";
import { toRequest, writeResponse } from "./node_http.ts";
import {
  type CheckedUpgrade,
  checkUpgrade,
  refuse,
} from "./upgrade_request.ts";
import { type HandedOver, type WsSocket, WsUpgrader } from "./ws_socket.ts";

/** How long requests and sockets may take to end once there is to be an end. */
const GRACE_MS = 2_000;

/** Answers an upgrade request: with a refusal, or with what {@linkcode WsConnections} takes for a yes. */
export type Upgrade = (accept: (socket: Socket) => SocketEvents) => Response;

/** How each upgrade request that came in by `node:http` is answered. */
export type Upgrades = WeakMap<Request, Upgrade>;

/** What a {@linkcode WsConnections} works with. */
export interface WsConnectionsOptions {
  /** Answers requests. */
  readonly fetch: HostFetch;
  /** Knows how to answer an upgrade request, while `fetch` handles it. */
  readonly upgrades: Upgrades;
  /** Most bytes of one message. */
  readonly messageBytes: number;
  /** Whether requests are waited for at the end, beside sockets. */
  readonly awaitsRequests: boolean;
}

/** What an upgrade request was answered yes with. */
interface WantedSocket extends CheckedUpgrade {
  readonly accept: (socket: Socket) => SocketEvents;
}

/** See the module's documentation. */
export class WsConnections {
  readonly #fetch: HostFetch;
  readonly #upgrades: Upgrades;
  readonly #upgrader: WsUpgrader;
  readonly #awaitsRequests: boolean;
  /** Every connection that was handed over for an upgrade, until TCP has ended; Node forgets them. */
  readonly #upgraded = new Map<Duplex, WsSocket | undefined>();
  /** Connections with requests that are not answered yet, and how many. */
  readonly #answering = new Map<Duplex, number>();
  #drained: (() => void) | undefined;
  #isClosing = false;

  /** There are none yet. */
  constructor(options: WsConnectionsOptions) {
    const { fetch, upgrades, messageBytes, awaitsRequests } = options;
    this.#fetch = fetch;
    this.#awaitsRequests = awaitsRequests;
    this.#upgrades = upgrades;
    this.#upgrader = new WsUpgrader(messageBytes);
  }

  /** Counts a request, until it is answered or its peer is lost. */
  count({ socket }: IncomingMessage, outgoing: ServerResponse): void {
    this.#answering.set(socket, (this.#answering.get(socket) ?? 0) + 1);
    outgoing.on("close", () => {
      const left = (this.#answering.get(socket) ?? 1) - 1;
      if (left > 0) this.#answering.set(socket, left);
      else this.#answering.delete(socket);
      this.#checkDrained();
    });
  }

  /** The answer to a request. */
  async respond(
    request: Request | undefined,
    { socket }: IncomingMessage,
  ): Promise<Response> {
    if (request === undefined) return refuse(400, "The request is malformed");
    if (this.#isClosing) {
      return refuse(503, "The server is going away", { connection: "close" });
    }
    try {
      return await this.#fetch(request, socket.remoteAddress);
    } catch {
      // Whoever made `fetch` has had the chance to log it.
      return refuse(500, "Internal server error");
    }
  }

  /** Answers an upgrade request, and takes over its connection. */
  async upgrade(
    upgrading: HandedOver,
    scheme: "http" | "https",
  ): Promise<void> {
    const { incoming, tcp } = upgrading;
    this.#upgraded.set(tcp, undefined);
    // A reset before `ws` listens itself would end the process.
    tcp.on("error", () => tcp.destroy());
    tcp.on("close", () => {
      this.#upgraded.delete(tcp);
      this.#checkDrained();
    });
    // The answers to requests before this one would come in between its frames.
    if (this.#answering.has(tcp)) return void tcp.destroy();
    const request = toRequest(incoming, { scheme, bodyBytes: 0 });
    let wanted: WantedSocket | undefined;
    const yes = new Response(null);
    if (request) {
      this.#upgrades.set(request, (accept) => {
        if (!isHttp11(incoming)) {
          return refuse(400, "A WebSocket needs HTTP/1.1");
        }
        const checked = checkUpgrade(request);
        if (checked instanceof Response) return checked;
        wanted = { accept, ...checked };
        return yes;
      });
    }
    const response = await this.respond(request, incoming);
    // Set by what was just called, which the compiler cannot see.
    const given = wanted as WantedSocket | undefined;
    if (response !== yes || !given) return await refuseBy(response, upgrading);
    const { accept, subprotocol } = given;
    this.#upgrader.upgrade({ ...upgrading, subprotocol }, (socket) => {
      this.#upgraded.set(tcp, socket);
      const events = accept(socket);
      // Its request came in just before the end began.
      if (this.#isClosing) socket.close(1001, "Going away");
      return events;
    });
  }

  /**
   * Takes nothing more, closes the sockets (1001), and waits for all to end, but not
   * for what stalls: sockets are cut after 2 seconds.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const socket of this.#upgraded.values()) {
      socket?.close(1001, "Going away");
    }
    await this.#drain();
    for (const tcp of this.#upgraded.keys()) tcp.destroy();
  }

  async #drain(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, GRACE_MS);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#checkDrained();
    });
  }

  #checkDrained(): void {
    const requests = this.#awaitsRequests ? this.#answering.size : 0;
    if (requests + this.#upgraded.size === 0) this.#drained?.();
  }
}

/** Answers an upgrade request as any other one, and ends its connection. */
export async function refuseBy(
  response: Response,
  { incoming, tcp }: Omit<HandedOver, "head">,
): Promise<void> {
  const outgoing = new ServerResponse(incoming);
  outgoing.shouldKeepAlive = false;
  // What Node hands over is the socket itself, though its type says less.
  const socket = tcp as TcpSocket;
  outgoing.assignSocket(socket);
  // Node's server has taken its listeners off: a body over 16 KB would wait for ever.
  socket.on("drain", () => outgoing.emit("drain"));
  // Not its end alone: a peer that does not end its side would stay.
  outgoing.on("finish", () => socket.destroySoon());
  await writeResponse(response, outgoing);
}

/**
 * HTTP/1.0 has no upgrades: a proxy that speaks it would take the frames for an
 * answer's body. Node lets it pass, and the 2.0 of whoever made it up.
 */
function isHttp11({ httpVersionMajor, httpVersionMinor }: IncomingMessage) {
  return httpVersionMajor === 1 && httpVersionMinor === 1;
}
