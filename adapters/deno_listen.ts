/**
 * Listens for HTTP by `Deno.serve`.
 *
 * @module
 */
import type { HostFetch, Listener, ListenTarget } from "../server/ports.ts";
import type { TrackedSocket } from "./deno_socket.ts";

/** How long requests and sockets may take to end once the listener closes. */
const GRACE_MS = 2_000;
/** How often another port is tried where the system's choice is free on one address only. */
const PORT_TRIES = 10;

/** Which listener a request came in by, so that its socket can be counted there. */
export class RequestOrigins {
  readonly #listeners = new WeakMap<Request, DenoListener>();

  /** Remembers where the request came in. */
  set(request: Request, listener: DenoListener): void {
    this.#listeners.set(request, listener);
  }

  /** Counts the socket with the listener of its request; false where there is none. */
  track(request: Request, socket: TrackedSocket): boolean {
    const listener = this.#listeners.get(request);
    listener?.track(socket);
    return listener !== undefined;
  }
}

/**
 * Listens for HTTP, or for HTTPS where `cert` and `key` are given. The host
 * `"localhost"` is both 127.0.0.1 and, where the machine has it, ::1.
 *
 * @throws {Error} if it cannot listen; the message names host and port.
 */
export function listenDeno(
  target: ListenTarget,
  fetch: HostFetch,
  origins: RequestOrigins = new RequestOrigins(),
): Promise<Listener> {
  return DenoListener.open(target, { fetch, origins });
}

interface Handling {
  readonly fetch: HostFetch;
  readonly origins: RequestOrigins;
}

class DenoListener implements Listener {
  readonly #servers: Deno.HttpServer<Deno.NetAddr>[] = [];
  readonly #abort = new AbortController();
  readonly #handling: Handling;
  readonly #requests = new Set<Request>();
  readonly #sockets = new Set<TrackedSocket>();
  #unopened = 0;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  private constructor(handling: Handling) {
    this.#handling = handling;
  }

  static async open(
    target: ListenTarget,
    handling: Handling,
  ): Promise<DenoListener> {
    for (let attempt = 1;; attempt++) {
      const listener = new DenoListener(handling);
      try {
        listener.#listen(target);
        return listener;
      } catch (cause) {
        await listener.#abandon();
        if (
          target.port === 0 && attempt < PORT_TRIES &&
          cause instanceof Deno.errors.AddrInUse
        ) continue;
        throw new Error(
          `Cannot listen on ${target.host}:${target.port}: ${reasonOf(cause)}`,
          { cause },
        );
      }
    }
  }

  async #abandon(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#servers.map((server) => server.finished));
  }

  get port(): number {
    return this.#servers[0]?.addr.port ?? 0;
  }

  /** Counts the upgrades that have led to no socket yet; some never do. */
  #count(response: Response): Response {
    if (response.status === 101) this.#unopened++;
    return response;
  }

  track(socket: TrackedSocket): void {
    this.#unopened--;
    this.#sockets.add(socket);
    void socket.gone.then(() => {
      this.#sockets.delete(socket);
      this.#checkDrained();
    });
    // Its request was answered just before the listener began to close.
    if (this.#closing) socket.close(1001, "Going away");
  }

  close(): Promise<void> {
    return this.#closing ??= this.#drainAndClose();
  }

  #listen(target: ListenTarget): void {
    if (target.host !== "localhost") return this.#serve(target, target.host);
    // By name, Deno binds the first address that the resolver gives: with ::1
    // there, 127.0.0.1 would be refused, and the other way round.
    this.#serve(target, "127.0.0.1");
    try {
      this.#serve({ ...target, port: this.port }, "::1");
    } catch (error) {
      // Someone else's server there would get half of the browsers; anything
      // else means that the machine has no IPv6.
      if (error instanceof Deno.errors.AddrInUse) throw error;
    }
  }

  #serve({ port, cert, key }: ListenTarget, hostname: string): void {
    this.#servers.push(Deno.serve({
      hostname,
      port,
      ...(cert !== undefined && key !== undefined && { cert, key }),
      signal: this.#abort.signal,
      onListen() {},
      // Deno's own prints the error; whoever made `fetch` has had the chance to log it.
      onError: () => new Response("Internal server error\n", { status: 500 }),
    }, (request, info) => this.#handle(request, info)));
  }

  #handle(
    request: Request,
    info: Deno.ServeHandlerInfo<Deno.NetAddr>,
  ): Response | Promise<Response> {
    if (this.#closing) {
      return new Response("The server is going away\n", {
        status: 503,
        headers: { connection: "close" },
      });
    }
    this.#requests.add(request);
    const done = () => {
      this.#requests.delete(request);
      this.#checkDrained();
    };
    // `completed` is the last byte of the answer, or the loss of the peer.
    info.completed.then(done, done);
    this.#handling.origins.set(request, this);
    const answer = this.#handling.fetch(request, info.remoteAddr.hostname);
    if (!(answer instanceof Promise)) return this.#count(answer);
    return answer.then((response) => this.#count(response));
  }

  async #drainAndClose(): Promise<void> {
    // Before Deno's shutdown, which answers 1001 in place of a close code that
    // still waits behind what is buffered.
    for (const socket of this.#sockets) socket.close(1001, "Going away");
    await this.#drain();
    // One or the other: an abort after shutdown throws BadResource globally
    // and leaves `finished` pending for ever.
    // Nor does a shutdown end where a peer has left within its upgrade.
    const isStuck = this.#requests.size + this.#unopened > 0;
    if (isStuck) await this.#abandon();
    else await Promise.all(this.#servers.map((server) => server.shutdown()));
  }

  /** Waits for requests and sockets to end, but not for ever: a peer that stalls holds its own for hours. */
  async #drain(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    const timer = setTimeout(resolve, GRACE_MS);
    this.#checkDrained();
    await promise;
    clearTimeout(timer);
  }

  #checkDrained(): void {
    if (this.#requests.size + this.#sockets.size === 0) this.#drained?.();
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) return "the port is in use";
  return error instanceof Error ? error.message : String(error);
}
