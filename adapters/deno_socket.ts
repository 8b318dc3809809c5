/**
 * A WebSocket accepted by Deno, as the core sees it.
 *
 * @module
 */
import type { Socket, SocketEvents } from "../server/ports.ts";
import { cutReason } from "./close_reason.ts";
import { checkUpgrade, refuse } from "./upgrade_request.ts";

/** A socket whose end can be awaited, whoever ends it. */
export interface TrackedSocket extends Socket {
  /** Resolves once TCP has ended; may never, if the peer stalls. */
  readonly gone: Promise<void>;
}

/** Settings of {@linkcode upgradeDeno}. */
export interface UpgradeOptions {
  /** Called with each socket as it opens, before the core gets it. */
  onOpen?: (socket: TrackedSocket) => void;
}

/**
 * Answers an upgrade request, and calls `accept` once the socket is open. A
 * peer that is lost before that never gets there. What is refused, and how, is
 * with {@linkcode checkUpgrade}.
 */
export function upgradeDeno(
  request: Request,
  accept: (socket: Socket) => SocketEvents,
  options: UpgradeOptions = {},
): Response {
  const checked = checkUpgrade(request);
  if (checked instanceof Response) return checked;
  try {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: 0,
    });
    // Not by the option `protocol`: Deno splits the offer at ", " only and
    // throws on "a,b", which is as valid.
    if (checked.subprotocol !== undefined) {
      response.headers.set("sec-websocket-protocol", checked.subprotocol);
    }
    new DenoSocket(socket, { accept, ...options });
    return response;
  } catch (error) {
    return refuse(400, error instanceof Error ? error.message : String(error));
  }
}

class DenoSocket implements TrackedSocket {
  readonly gone: Promise<void>;
  // Both are dropped as soon as the end is decided: `close` on a stalled peer
  // frees nothing until TCP ends, and by then the core has forgotten it.
  #socket: WebSocket | undefined;
  #events: SocketEvents | undefined;
  #closing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    socket: WebSocket,
    options: UpgradeOptions & { accept: (socket: Socket) => SocketEvents },
  ) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      options.onOpen?.(this);
      this.#events = options.accept(this);
    };
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      this.#events?.message(
        typeof data === "string" ? data : new Uint8Array(data),
      );
    };
    // Deno fires "close" up to twice, "error" before or after it, and on a
    // stalled peer neither: whichever comes first counts.
    socket.onclose = socket.onerror = () => {
      const events = this.#events;
      this.#forget();
      clearTimeout(this.#closing);
      events?.closed();
      resolve();
    };
  }

  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): "sent" | "gone" {
    // Told by our own state: Deno takes a message for a closed socket without a
    // word, and loses it.
    if (this.#socket === undefined) return "gone";
    try {
      this.#socket.send(bytes);
      return "sent";
    } catch {
      return "gone";
    }
  }

  close(code: number, reason: string): void {
    const socket = this.#socket;
    this.#forget();
    if (!socket) return;
    // A turn later: where a further message waits already, Deno ends TCP on it before
    // the close frame has gone out, and a peer that is busy sending would see no code.
    this.#closing = setTimeout(() => {
      try {
        socket.close(code, cutReason(reason));
      } catch {
        // The socket has ended between the peer's close and its event.
      }
    }, 0);
  }

  #forget(): void {
    this.#socket = undefined;
    this.#events = undefined;
  }
}
