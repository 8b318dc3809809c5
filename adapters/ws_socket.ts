/**
 * WebSockets of the package `ws`, as the core sees them: they bound what one
 * message takes while it comes in, and can end a peer that stalls.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
// @deno-types="./ws.d.ts"
import { type WebSocket, WebSocketServer } from "ws";
import type { Socket, SocketEvents } from "../server/ports.ts";
import { cutReason } from "./close_reason.ts";
import type { CheckedUpgrade } from "./upgrade_request.ts";
import { WsFramer } from "./ws_framer.ts";

/** How long the end of a socket may take before TCP is cut, and its memory free. */
const CLOSE_MS = 2_000;
/** `readyState` of a socket that can send. */
const OPEN = 1;

/** A request that Node has handed over for an upgrade, with its connection. */
export interface HandedOver {
  readonly incoming: IncomingMessage;
  readonly tcp: Duplex;
  /** What came behind the request already. */
  readonly head: Buffer;
}

/** Makes sockets of upgrade requests that have been checked. */
export class WsUpgrader {
  readonly #server: WebSocketServer;
  readonly #framer = new WsFramer();

  /** A message over `messageBytes` ends its socket with 1009, wherever it is cut into fragments. */
  constructor(messageBytes: number) {
    this.#server = new WebSocketServer({
      noServer: true,
      // It would let 256 KB on the wire become 256 MB in memory.
      perMessageDeflate: false,
      clientTracking: false,
      // 0 would mean: no limit.
      maxPayload: Math.max(1, messageBytes),
      closeTimeout: CLOSE_MS,
    });
  }

  /** Answers 101, and calls `opened` with the socket; never, if the peer has gone. */
  upgrade(
    { incoming, tcp, head, subprotocol }: HandedOver & CheckedUpgrade,
    opened: (socket: WsSocket) => SocketEvents,
  ): void {
    // What was found right once is not to be found wrong by `ws`, which wants
    // an upgrade to one thing only, and no subprotocol twice.
    incoming.headers.upgrade = "websocket";
    if (subprotocol === undefined) {
      delete incoming.headers["sec-websocket-protocol"];
    } else incoming.headers["sec-websocket-protocol"] = subprotocol;
    this.#server.handleUpgrade(incoming, tcp, head, (socket) => {
      new WsSocket({ socket, tcp, framer: this.#framer }, opened);
    });
  }
}

/** What a {@linkcode WsSocket} is made of. */
interface WsParts {
  readonly socket: WebSocket;
  readonly tcp: Duplex;
  readonly framer: WsFramer;
}

/** A socket of `ws`. */
export class WsSocket implements Socket {
  readonly #socket: WebSocket;
  readonly #tcp: Duplex;
  readonly #framer: WsFramer;
  // Dropped as soon as the end is decided: the core has forgotten the socket by then.
  #events: SocketEvents | undefined;
  #isEnded = false;

  /** Takes over an open socket. */
  constructor(
    { socket, tcp, framer }: WsParts,
    opened: (socket: WsSocket) => SocketEvents,
  ) {
    this.#socket = socket;
    this.#tcp = tcp;
    this.#framer = framer;
    // Bytes of its own. A Buffer is a view that keeps 64 KB of what was read from
    // TCP, so that a small message in an inbox would cost a thousand times its size.
    socket.binaryType = "arraybuffer";
    socket.on("message", (data, isBinary) => {
      // Text comes as a Buffer whatever the binary type is.
      this.#events?.message(
        isBinary ? new Uint8Array(data) : data.toString(),
      );
    });
    // A frame that breaks the rules: `ws` answers its code, and may take as long
    // as any close until TCP has ended.
    socket.on("error", () => this.#lose());
    socket.on("close", () => this.#lose());
    this.#events = opened(this);
  }

  /** See {@linkcode Socket.bufferedBytes}. */
  get bufferedBytes(): number {
    return this.#isEnded ? 0 : this.#tcp.writableLength;
  }

  /** See {@linkcode Socket.send}. */
  send(bytes: Uint8Array<ArrayBuffer>): "sent" | "gone" {
    // A peer that closes is gone before its event: `ws` waits for the end of TCP.
    if (this.#isEnded || this.#socket.readyState !== OPEN) return "gone";
    this.#framer.write(bytes, this.#tcp);
    return "sent";
  }

  /** See {@linkcode Socket.close}; TCP is cut after 2 seconds, whatever it still holds. */
  close(code: number, reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#events = undefined;
    this.#socket.close(code, cutReason(reason));
  }

  #lose(): void {
    const events = this.#events;
    this.#isEnded = true;
    this.#events = undefined;
    events?.closed();
  }
}
