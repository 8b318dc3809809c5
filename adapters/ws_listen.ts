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
  type ServerResponse,
} from "node:http";
import { createServer as createSecureServer } from "node:https";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import type { HostFetch, Listener, ListenTarget } from "../server/ports.ts";
import { isTooLong, toRequest, writeResponse } from "./node_http.ts";
import { refuse } from "./upgrade_request.ts";
import { type Upgrades, WsConnections } from "./ws_connections.ts";

/** How often another port is tried where the system's choice is free on one address only. */
const PORT_TRIES = 10;
/** Longest that a request with its body may take to come in. */
const REQUEST_MS = 60_000;

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

interface Handling {
  readonly fetch: HostFetch;
  readonly upgrades: Upgrades;
  readonly checkAddress: ListenWsOptions["checkAddress"];
}

class WsListener implements Listener {
  readonly #target: ListenTarget;
  readonly #checkAddress: ListenWsOptions["checkAddress"];
  readonly #bodyBytes: number;
  readonly #connections: WsConnections;
  readonly #servers: Server[] = [];
  #closing: Promise<void> | undefined;

  constructor(
    target: ListenTarget,
    { fetch, upgrades, checkAddress }: Handling,
  ) {
    const { messageBytes, stateBytes } = target.limits ?? DEFAULT_LIMITS;
    this.#target = target;
    this.#checkAddress = checkAddress;
    this.#bodyBytes = stateBytes;
    this.#connections = new WsConnections({
      fetch,
      upgrades,
      messageBytes,
      awaitsRequests: true,
    });
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
    await this.#checkAddress?.(host, port);
    const server = isSecure
      ? createSecureServer({ ...options, cert, key })
      : createServer(options);
    server.on("request", (incoming, outgoing) => {
      void this.#answer(incoming, outgoing, scheme);
    });
    server.on("upgrade", (incoming, tcp, head) => {
      void this.#connections.upgrade({ incoming, tcp, head }, scheme);
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
    this.#connections.count(incoming, outgoing);
    outgoing.on("close", () => {
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
    await writeResponse(
      await this.#connections.respond(request, incoming),
      outgoing,
    );
  }

  async #close(): Promise<void> {
    await this.#connections.close();
    await Promise.all(this.#servers.map((server) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      return closed;
    }));
  }
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
