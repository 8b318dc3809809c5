/**
 * A whole server over a real KV whose sockets are held by the test: what the
 * server sends is seen byte by byte, what waits in a socket is what the test
 * says, and time stands still where that is wanted.
 *
 * @module
 */
import { denoPorts } from "../adapters/deno_ports.ts";
import { decodeDown, encodeFrame, joinFrames } from "../protocol/codec.ts";
import {
  type DownFrame,
  PROTOCOL_VERSION,
  type UpFrame,
  type WelcomeFrame,
} from "../protocol/frames.ts";
import type { Clock, Ports, Socket, SocketEvents } from "../server/ports.ts";
import type { ServerOptions } from "../server/options.ts";
import { Server } from "../server/server.ts";
import { type App, defineApp } from "./_app.ts";
import type { DownFrameOf } from "./_raw_client.ts";
import { until } from "./_waiting.ts";

/** The server's end of a socket, and the peer's hands on it. */
export class HeldSocket implements Socket {
  /** Every message that was sent, as it was. */
  readonly messages: Uint8Array<ArrayBuffer>[] = [];
  /** How the server closed it, if it did. */
  closedWith: { code: number; reason: string } | undefined;
  /** What the peer has not taken; grows with each message while the socket is held. */
  bufferedBytes = 0;
  /** Whether the peer reads. */
  isHeld = false;
  #events: SocketEvents | undefined;
  #isGone = false;
  #cursor = 0;

  /** Called by the bench: the server has accepted the socket. */
  accepted(events: SocketEvents): void {
    this.#events = events;
  }

  send(bytes: Uint8Array<ArrayBuffer>): "sent" | "gone" {
    if (this.#isGone || this.closedWith) return "gone";
    this.messages.push(bytes);
    if (this.isHeld) this.bufferedBytes += bytes.byteLength;
    return "sent";
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason };
    this.bufferedBytes = 0;
  }

  /** The code that the server closed it with, if it did. */
  code(): number | undefined {
    return this.closedWith?.code;
  }

  /** The reason beside it. */
  reason(): string {
    return this.closedWith?.reason ?? "";
  }

  /** Peer: sends frames in one message, or whatever else as it is. */
  deliver(...what: UpFrame[] | [Uint8Array | string]): void {
    const [first] = what;
    if (typeof first === "string" || first instanceof Uint8Array) {
      return this.#events?.message(first);
    }
    // Neither text nor bytes: frames, all of them.
    this.#events?.message(
      joinFrames((what as UpFrame[]).map((frame) => encodeFrame(frame))),
    );
  }

  /** Peer: ends it. */
  hangUp(): void {
    this.#isGone = true;
    this.#events?.closed();
  }

  /** Peer: takes what waits, and reads on. */
  drain(): void {
    this.isHeld = false;
    this.bufferedBytes = 0;
  }

  /** Every frame that was sent. */
  get frames(): DownFrame[] {
    return this.messages.flatMap((message) => decodeDown(message));
  }

  /** The next frame of that type; those before it are passed over. */
  async next<T extends DownFrame["type"]>(type: T): Promise<DownFrameOf<T>> {
    const frame = await until(() => {
      const { frames } = this;
      while (this.#cursor < frames.length) {
        const frame = frames[this.#cursor++];
        if (frame?.type === type) return frame;
      }
    }, {
      describe: () =>
        `"${type}" after ${JSON.stringify(this.frames).slice(-1_000)}`,
    });
    return frame as DownFrameOf<T>; // the type was compared
  }

  /** Says hello and returns the welcome. */
  async hello(
    fields: { session?: string; identity?: string } = {},
  ): Promise<WelcomeFrame> {
    this.deliver({ type: "hello", protocol: PROTOCOL_VERSION, ...fields });
    return await this.next("welcome");
  }

  /** Says hello, subscribes, and returns what answers. */
  async subscribe(name: string): Promise<DownFrameOf<"snap">> {
    await this.hello();
    this.deliver({ type: "sub", name });
    return await this.next("snap");
  }
}

/** A server, and the sockets that the test gives it. */
export interface ServerBench extends App, AsyncDisposable {
  readonly server: Server;
  /** Gives the server a socket, from that address. */
  connect(address?: string): HeldSocket;
}

/** Makes a server of the application that listens nowhere. */
export function openServerBench(
  { clock, heartbeatMs, define, ...options }: ServerOptions & {
    clock?: Clock;
    heartbeatMs?: number;
    define?: (server: Server) => void;
  } = {},
): Promise<ServerBench> {
  const waiting: HeldSocket[] = [];
  const host = denoPorts();
  const ports: Ports = {
    ...host,
    ...(clock && { clock }),
    listen: () => Promise.resolve({ port: 0, close: async () => {} }),
    upgrade: (_, accept) => {
      const socket = waiting.shift();
      if (socket) socket.accepted(accept(socket));
      return new Response();
    },
  };
  return (async () => {
    const server = new Server({ kv: ":memory:", ...options }, ports);
    const app = defineApp(server);
    define?.(server);
    await server.listen({
      port: 0,
      ...(heartbeatMs !== undefined && { heartbeatMs }),
    });
    return {
      ...app,
      server,
      connect(address) {
        const socket = new HeldSocket();
        waiting.push(socket);
        const request = new Request("http://localhost/", {
          headers: { upgrade: "websocket" },
        });
        const remoteAddr = { hostname: address };
        void server.fetch(request, address === undefined ? {} : { remoteAddr });
        return socket;
      },
      [Symbol.asyncDispose]: () => server.close(),
    };
  })();
}
