/**
 * Listens for HTTP by `node:http`, with the sockets of `ws`: the hardened
 * transport, on Deno and on Node.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { Socket as TcpSocket } from "node:net";
import type { Duplex } from "node:stream";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import type {
  HostFetch,
  Listener,
  ListenTarget,
  Socket,
  SocketEvents,
} from "../server/ports.ts";
import { isTooLong, toRequest, writeResponse } from "./node_http.ts";
import {
  type CheckedUpgrade,
  checkUpgrade,
  refuse,
} from "./upgrade_request.ts";
import { type HandedOver, type WsSocket, WsUpgrader } from "./ws_socket.ts";

/** How long requests and sockets may take to end once the listener closes. */
const GRACE_MS = 2_000;
/** How often another port is tried where the system's choice is free on one address only. */
const PORT_TRIES = 10;
/** Longest that a request with its body may take to come in. */
const REQUEST_MS = 60_000;

/** Answers an upgrade request: with a refusal, or with what {@linkcode listenWs} takes for a yes. */
export type Upgrade = (accept: (socket: Socket) => SocketEvents) => Response;

/** How each upgrade request that came in by such a listener is answered. */
export type Upgrades = WeakMap<Request, Upgrade>;

/** Settings of {@linkcode listenWs}. */
export interface ListenWsOptions {
  /** Knows how to answer an upgrade request, while `fetch` handles it. */
  readonly upgrades?: Upgrades;
  /**
   * Rejects if the address may not be listened on. Deno's `node:net` throws for
   * want of a permission where nobody can catch it, which ends the process.
   */
  readonly checkAddress?: (host: string, port: number) => Promise<void>;
}

/**
 * Listens for HTTP, or for HTTPS where `cert` and `key` are given. The host
 * `"localhost"` is both 127.0.0.1 and, where the machine has it, ::1.
 *
 * @throws {Error} if it cannot listen; the message names host and port.
 */
export async function listenWs(
  target: ListenTarget,
  fetch: HostFetch,
  options: ListenWsOptions = {},
): Promise<Listener> {
  const { upgrades = new WeakMap(), checkAddress } = options;
  for (let attempt = 1;; attempt++) {
    const listener = new WsListener(target, {
      fetch,
      upgrades,
      checkAddress,
    });
    try {
      await listener.listen();
      return listener;
    } catch (cause) {
      await listener.close();
      if (target.port === 0 && attempt < PORT_TRIES && isInUse(cause)) continue;
      throw new Error(
        `Cannot listen on ${target.host}:${target.port}: ${reasonOf(cause)}`,
        { cause },
      );
    }
  }
}

/** What an upgrade request was answered yes with. */
interface WantedSocket extends CheckedUpgrade {
  readonly accept: (socket: Socket) => SocketEvents;
}

interface Handling {
  readonly fetch: HostFetch;
  readonly upgrades: Upgrades;
  readonly checkAddress: ListenWsOptions["checkAddress"];
}

class WsListener implements Listener {
  readonly #target: ListenTarget;
  readonly #handling: Handling;
  readonly #bodyBytes: number;
  readonly #upgrader: WsUpgrader;
  readonly #servers: Server[] = [];
  /** Every connection that was handed over for an upgrade, until TCP has ended; Node forgets them. */
  readonly #upgraded = new Map<Duplex, WsSocket | undefined>();
  readonly #requests = new Set<ServerResponse>();
  /** Connections with requests that are not answered yet, and how many. */
  readonly #answering = new Map<Duplex, number>();
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(target: ListenTarget, handling: Handling) {
    const { messageBytes, stateBytes } = target.limits ?? DEFAULT_LIMITS;
    this.#target = target;
    this.#handling = handling;
    this.#bodyBytes = stateBytes;
    this.#upgrader = new WsUpgrader(messageBytes);
  }

  get port(): number {
    const address = this.#servers[0]?.address();
    return typeof address === "object" ? address?.port ?? 0 : 0;
  }

  async listen(): Promise<void> {
    const { host, port } = this.#target;
    if (host !== "localhost") return await this.#serve(host, port);
    // By name, one address is bound, and a client that takes the other is refused.
    await this.#serve("127.0.0.1", port);
    try {
      await this.#serve("::1", this.port);
    } catch (error) {
      // Someone else's server there would get half of the browsers; anything
      // else means that the machine has no IPv6.
      if (isInUse(error)) throw error;
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #serve(host: string, port: number): Promise<void> {
    const { cert, key, limits } = this.#target;
    const isSecure = cert !== undefined && key !== undefined;
    const { helloMs } = limits ?? DEFAULT_LIMITS;
    const options = {
      // Else a peer that sends half a header, or nothing, is kept for a minute.
      headersTimeout: helloMs,
      handshakeTimeout: helloMs,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: 1_000,
    };
    const scheme = isSecure ? "https" : "http";
    if (isSecure) checkCertificate(cert, key);
    await this.#handling.checkAddress?.(host, port);
    const server = isSecure
      ? createSecureServer({ ...options, cert, key })
      : createServer(options);
    server.on("request", (incoming, outgoing) => {
      void this.#answer(incoming, outgoing, scheme);
    });
    server.on("upgrade", (incoming, tcp, head) => {
      void this.#upgrade({ incoming, tcp, head }, scheme);
    });
    await new Promise<void>((resolve, reject) => {
      // For good: out of file descriptors, say, an error that nobody hears ends the process.
      server.on("error", reject);
      server.listen({ host, port }, resolve);
    });
    this.#servers.push(server);
  }

  async #answer(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    scheme: "http" | "https",
  ): Promise<void> {
    const lost = new AbortController();
    const { socket } = incoming;
    this.#requests.add(outgoing);
    this.#answering.set(socket, (this.#answering.get(socket) ?? 0) + 1);
    outgoing.on("close", () => {
      this.#requests.delete(outgoing);
      const left = (this.#answering.get(socket) ?? 1) - 1;
      if (left > 0) this.#answering.set(socket, left);
      else this.#answering.delete(socket);
      this.#checkDrained();
      if (!outgoing.writableFinished) lost.abort();
    });
    const bodyBytes = this.#bodyBytes;
    if (isTooLong(incoming, bodyBytes)) {
      // It would be read to its end before the connection is used again.
      outgoing.shouldKeepAlive = false;
      return await writeResponse(
        refuse(413, `A body may have ${bodyBytes} bytes`),
        outgoing,
      );
    }
    const { signal } = lost;
    const request = toRequest(incoming, { scheme, bodyBytes, signal });
    await writeResponse(await this.#respond(request, incoming), outgoing);
  }

  async #upgrade(
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
      this.#handling.upgrades.set(request, (accept) => {
        if (!isHttp11(incoming)) {
          return refuse(400, "A WebSocket needs HTTP/1.1");
        }
        const checked = checkUpgrade(request);
        if (checked instanceof Response) return checked;
        wanted = { accept, ...checked };
        return yes;
      });
    }
    const response = await this.#respond(request, incoming);
    // Set by what was just called, which the compiler cannot see.
    const given = wanted as WantedSocket | undefined;
    if (response !== yes || !given) {
      return await this.#refuse(response, upgrading);
    }
    const { accept, subprotocol } = given;
    this.#upgrader.upgrade({ ...upgrading, subprotocol }, (socket) => {
      this.#upgraded.set(tcp, socket);
      const events = accept(socket);
      // Its request came in just before the listener began to close.
      if (this.#closing) socket.close(1001, "Going away");
      return events;
    });
  }

  /** Answers an upgrade request as any other one, and ends its connection. */
  async #refuse(
    response: Response,
    { incoming, tcp }: HandedOver,
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

  async #respond(
    request: Request | undefined,
    { socket }: IncomingMessage,
  ): Promise<Response> {
    if (request === undefined) return refuse(400, "The request is malformed");
    if (this.#closing) {
      return refuse(503, "The server is going away", { connection: "close" });
    }
    try {
      return await this.#handling.fetch(request, socket.remoteAddress);
    } catch {
      // Whoever made `fetch` has had the chance to log it.
      return refuse(500, "Internal server error");
    }
  }

  async #close(): Promise<void> {
    for (const socket of this.#upgraded.values()) {
      socket?.close(1001, "Going away");
    }
    await this.#drain();
    for (const tcp of this.#upgraded.keys()) tcp.destroy();
    await Promise.all(this.#servers.map((server) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      return closed;
    }));
  }

  /** Waits for requests and sockets to end, but not for those that stall. */
  async #drain(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    const timer = setTimeout(resolve, GRACE_MS);
    this.#checkDrained();
    await promise;
    clearTimeout(timer);
  }

  #checkDrained(): void {
    if (this.#requests.size + this.#upgraded.size === 0) this.#drained?.();
  }
}

/**
 * HTTP/1.0 has no upgrades: a proxy that speaks it would take the frames for an
 * answer's body. Node lets it pass, and the 2.0 of whoever made it up.
 */
function isHttp11({ httpVersionMajor, httpVersionMinor }: IncomingMessage) {
  return httpVersionMajor === 1 && httpVersionMinor === 1;
}

/** Deno takes any text for a certificate, and then resets every connection. */
function checkCertificate(cert: string, key: string): void {
  let isPair: boolean;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    const message = "the certificate or its key cannot be read";
    throw new TypeError(`${message}: ${reasonOf(cause)}`, { cause });
  }
  if (!isPair) throw new TypeError("the key is not that of the certificate");
}

function isInUse(error: unknown): boolean {
  return error instanceof Error && "code" in error &&
    error.code === "EADDRINUSE";
}

function reasonOf(error: unknown): string {
  if (isInUse(error)) return "the port is in use";
  return error instanceof Error ? error.message : String(error);
}
