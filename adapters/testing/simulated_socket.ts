/**
 * The two ends of one simulated WebSocket, as client and server see them.
 *
 * @module
 */
import type { WebSocketLike } from "../../client/mod.ts";
import type { Socket, SocketEvents } from "../../server/ports.ts";
import type { SimulatedLink } from "./link.ts";

/** The code that a peer sees whose connection was lost, not closed (RFC 6455, section 7.4.1). */
const LOST = 1006;

/** The server's end. */
export class ServerEnd implements Socket {
  /** Where the server wants what arrives. */
  events: SocketEvents | undefined;
  readonly #link: SimulatedLink;
  #isClosed = false;

  /** The server's end of `link`. */
  constructor(link: SimulatedLink) {
    this.#link = link;
  }

  /** @inheritdoc */
  get bufferedBytes(): number {
    return this.#isClosed ? 0 : this.#link.down.bufferedBytes;
  }

  /** @inheritdoc */
  send(bytes: Uint8Array<ArrayBuffer>): "sent" | "gone" {
    if (this.#isClosed) return "gone";
    this.#link.down.send(bytes);
    return "sent";
  }

  /** @inheritdoc */
  close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.events = undefined;
    this.#link.down.end({ code, reason });
    this.#link.left("server");
  }

  /** A message has arrived. */
  receive(bytes: Uint8Array<ArrayBuffer>): void {
    this.events?.message(bytes);
  }

  /** The peer has closed, or the connection is lost; `times` as often as some hosts say it. */
  ended(times: number): void {
    const { events } = this;
    this.#isClosed = true;
    this.events = undefined;
    for (let time = 0; time < times; time++) events?.closed();
    this.#link.left("server");
  }
}

/** The client's end. */
export abstract class ClientEnd implements WebSocketLike {
  binaryType = "blob";
  onopen: ((event: never) => unknown) | null = null;
  onmessage: ((event: never) => unknown) | null = null;
  onerror: ((event: never) => unknown) | null = null;
  onclose: ((event: never) => unknown) | null = null;
  #state: "connecting" | "open" | "closed" = "connecting";
  #link: SimulatedLink | undefined;

  /** @inheritdoc */
  send(data: Uint8Array<ArrayBuffer>): void {
    if (this.#state === "connecting") {
      throw new DOMException("The socket is not open", "InvalidStateError");
    }
    // As browsers do: what is sent after the end is lost without a word.
    if (this.#state === "open") this.#link?.up.send(data);
  }

  /** @inheritdoc */
  close(code = 1000, reason = ""): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#link?.up.end({ code, reason });
    this.#link?.left("client");
  }

  /** The server has accepted. */
  opened(link: SimulatedLink): void {
    this.#link = link;
    if (this.#state === "closed") {
      link.left("client");
      return link.up.end({ code: LOST, reason: "" });
    }
    this.#state = "open";
    this.#fire(this.onopen, {});
  }

  /** A message has arrived. */
  receive(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#state === "open") this.#fire(this.onmessage, { data: bytes });
  }

  /** The peer has closed, or the connection is lost. */
  ended(
    cause: { code: number; reason: string } = { code: LOST, reason: "" },
  ): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#link?.left("client");
    if (cause.code === LOST) this.#fire(this.onerror, {});
    this.#fire(this.onclose, cause);
  }

  #fire(listener: ((event: never) => unknown) | null, event: object): void {
    // Each client reads its events by the members that it has declared.
    listener?.(event as never);
  }
}
