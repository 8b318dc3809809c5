/**
 * One socket with the protocol on it: open, hello, heartbeat, close. This module
 * is browser compatible.
 *
 * @module
 */
import { decodeDown, encodeUp, joinUp } from "../protocol/client_codec.ts";
import {
  CLOSE,
  type DownFrame,
  type HelloFrame,
  SUBPROTOCOL,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import { PartJoiner } from "../protocol/parts.ts";
import type { CloseCause } from "./backoff.ts";
import type {
  ClientClock,
  ClientTimer,
  WebSocketClass,
  WebSocketLike,
} from "./environment.ts";
import { Heartbeat } from "./heartbeat.ts";

/** Where a {@linkcode Connection} delivers what happens to it. */
export interface ConnectionEvents {
  /** The socket is open: it is time for a hello. */
  opened(): void;
  /** The server has answered a hello; comes before the message that it is in. */
  welcomed(frame: WelcomeFrame): void;
  /** The frames of one message. */
  message(frames: readonly DownFrame[]): void;
  /** It is over; comes once at most, and nothing after it. */
  ended(cause: CloseCause, error?: unknown): void;
}

/** What a {@linkcode Connection} is made of. */
export interface ConnectionOptions {
  /** Where the server is. */
  readonly url: string;
  /** The class of the socket. */
  readonly WebSocket: WebSocketClass;
  /** Time. */
  readonly clock: ClientClock;
}

/** How long a server may take to be reached and to answer a hello. */
const WELCOME_MS = 10_000;

/** Code of a connection that ended without a close frame (RFC 6455, section 7.1.5). */
const LOST = 1006;

/** Code of a connection whose server does not keep to the protocol. */
const PROTOCOL_ERROR = 1002;

/** Code of a connection that ended as it was meant to. */
const NORMAL = 1000;

/** One socket. Nothing here throws: whatever goes wrong, it ends. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #heartbeat: Heartbeat;
  readonly #joiner = new PartJoiner();
  /** One for each ping that is not answered yet: pongs have no numbers, but an order. */
  readonly #pongListeners: (() => void)[] = [];
  #socket: WebSocketLike | undefined;
  #deadline: ClientTimer | undefined;
  #messageBytes = Infinity;
  #hasEnded = false;
  /** What the runtime says of a failure; browsers say nothing. */
  #failure = "";

  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#heartbeat = new Heartbeat(options.clock, {
      // It takes a place, or its pong would be taken for that of a barrier behind it.
      ping: () => this.send([this.encodePing(() => {})]),
      silent: () =>
        this.#drop({
          code: CLOSE.silent,
          reason: "the server has gone silent",
        }),
    });
  }

  /** Largest message that the server takes. */
  get messageBytes(): number {
    return this.#messageBytes;
  }

  /** Begins to connect. Whatever comes of it comes later, never within this call. */
  open(): void {
    this.#expectWelcome();
    const { url, WebSocket } = this.#options;
    try {
      const socket = this.#socket = new WebSocket(url, SUBPROTOCOL);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        if (!this.#hasEnded) this.#events.opened();
      };
      socket.onmessage = (event: { readonly data: unknown }) =>
        this.#receive(event.data);
      socket.onclose = (
        event: { readonly code?: number; readonly reason?: string },
      ) =>
        this.#drop({
          code: event.code || LOST,
          reason: event.reason || this.#failure,
        });
      // A close follows, or the deadline. It stays set to the end: `ws` throws
      // out of the event loop where an error has no listener.
      socket.onerror = (event?: { readonly message?: unknown }) => {
        this.#failure = String(event?.message ?? "");
      };
    } catch (error) {
      queueMicrotask(() =>
        this.#drop({ code: LOST, reason: "the socket cannot be made" }, error)
      );
    }
  }

  /** Sends the first frame of the connection, or of a fresh session. */
  sayHello(frame: HelloFrame): void {
    // It may have had to wait for a token.
    if (this.#hasEnded) return;
    this.#expectWelcome();
    // In parts, or a state that takes longer than the heartbeat could never arrive.
    this.send([encodeUp({ ...frame, parts: true, own: true })]);
  }

  /** Ends it, since there is no hello to be said. */
  abandon(error: unknown): void {
    this.#drop({ code: LOST, reason: "there is no token" }, error);
  }

  /** A ping, to be sent at once; `ponged` is called by {@linkcode takePong}. */
  encodePing(ponged: () => void): Uint8Array<ArrayBuffer> {
    this.#pongListeners.push(ponged);
    return encodeUp({ type: "ping" });
  }

  /** A pong's turn among the frames of its message has come. */
  takePong(): void {
    this.#pongListeners.shift()?.();
  }

  /** Sends frames in as few messages as the server's size limit allows. */
  send(frames: readonly Uint8Array<ArrayBuffer>[]): void {
    let start = 0;
    let bytes = 0;
    for (let index = 0; index < frames.length; index++) {
      const length = frames[index]!.length;
      if (index > start && bytes + length > this.#messageBytes) {
        this.#sendMessage(joinUp(frames.slice(start, index)));
        start = index;
        bytes = 0;
      }
      bytes += length;
    }
    if (start < frames.length) {
      this.#sendMessage(joinUp(frames.slice(start)));
    }
  }

  /** Asks for a sign of life, and ends if none comes. */
  probe(): void {
    this.#heartbeat.probe();
  }

  /** Ends it without a word to its owner. */
  close(): void {
    this.#end({ code: NORMAL, reason: "" });
  }

  #sendMessage(message: Uint8Array<ArrayBuffer>): void {
    if (this.#hasEnded) return;
    try {
      this.#socket?.send(message);
      this.#heartbeat.sent();
    } catch (error) {
      // It is closing already and its close event is yet to come; not within this
      // call, since the owner is in the middle of handing out frames.
      queueMicrotask(() =>
        this.#drop({ code: LOST, reason: "the socket takes nothing" }, error)
      );
    }
  }

  #receive(data: unknown): void {
    if (this.#hasEnded) return;
    this.#heartbeat.heard();
    const isPart = this.#joiner.isExpecting;
    let frames: DownFrame[] | undefined;
    try {
      frames = this.#read(toBytes(data));
    } catch (error) {
      return this.#drop({
        code: PROTOCOL_ERROR,
        reason: "a message cannot be decoded",
      }, error);
    }
    if (isPart || !frames) this.#prolong();
    if (!frames) return;
    for (const frame of frames) {
      if (frame.type === "welcome") this.#welcome(frame);
    }
    if (!this.#hasEnded) this.#events.message(frames);
  }

  /** The frames of the message that is complete with `bytes`; undefined if none is. */
  #read(bytes: Uint8Array): DownFrame[] | undefined {
    const message = this.#joiner.isExpecting ? this.#joiner.take(bytes) : bytes;
    if (!message) return undefined;
    const frames = decodeDown(message);
    const [first] = frames;
    if (first?.type !== "parts") return frames;
    this.#joiner.expect(first.bytes);
    return undefined;
  }

  #welcome(frame: WelcomeFrame): void {
    this.#deadline?.cancel();
    this.#deadline = undefined;
    this.#messageBytes = frame.messageBytes;
    this.#heartbeat.start(frame.heartbeatMs);
    this.#events.welcomed(frame);
  }

  #expectWelcome(): void {
    this.#deadline ??= this.#options.clock.setTimer(WELCOME_MS, () => {
      this.#drop({ code: LOST, reason: `no welcome within ${WELCOME_MS} ms` });
    });
  }

  /** Begins the deadline anew, if there is one: the welcome cannot overtake a long message. */
  #prolong(): void {
    if (!this.#deadline) return;
    this.#deadline.cancel();
    this.#deadline = undefined;
    this.#expectWelcome();
  }

  #drop(cause: CloseCause, error?: unknown): void {
    if (this.#hasEnded) return;
    this.#end(cause);
    this.#events.ended(cause, error);
  }

  #end(cause: CloseCause): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#heartbeat.stop();
    this.#deadline?.cancel();
    try {
      // Browsers allow no other codes of the protocol than these.
      this.#socket?.close(
        cause.code >= 4000 ? cause.code : NORMAL,
        cause.reason,
      );
    } catch {
      // It has never been open, or is closed already; either way there is nothing to end.
    }
  }
}

function toBytes(data: unknown): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw new TypeError("Cannot decode a message that is not binary");
}
