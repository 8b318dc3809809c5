/**
 * A scriptable server for one client: its sockets, and what the peer of each does.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHostedClient } from "../client/create_client.ts";
import type { Client, WebSocketLike } from "../client/mod.ts";
import type { HostedOptions } from "../client/settings.ts";
import { startWriting } from "../client/writing/mod.ts";
import { decodeUp, encodeFrame, joinFrames } from "../protocol/codec.ts";
import type {
  CallFrame,
  DownFrame,
  PatchFrame,
  ResumeFrame,
  SnapshotFrame,
  UpFrame,
  WelcomeFrame,
} from "../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import type { Json } from "../protocol/value.ts";
import { FakeClock, settle } from "./_fake_clock.ts";

/** What a peer does by itself when a socket is made. */
export type Behaviour = (socket: FakeSocket) => void;

/** Reaches the server, and is welcomed. */
export const WELCOMES: Behaviour = (socket) => {
  socket.accept();
  socket.welcome();
};

/** Reaches nobody. */
export const REFUSES: Behaviour = (socket) => socket.hangUp(1006);

/** Every socket of a client. */
export class FakeNetwork {
  /** All sockets so far. */
  readonly sockets: FakeSocket[] = [];
  /** The class to give to the client. */
  readonly WebSocket: new (url: string, protocol: string) => WebSocketLike;
  /** What the next peers do; those after the last do nothing by themselves. */
  readonly script: Behaviour[] = [];
  /** Thrown by the class while it is set. */
  failure: Error | undefined;

  constructor() {
    // deno-lint-ignore no-this-alias
    const network = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol);
        if (network.failure) throw network.failure;
        network.sockets.push(this);
        const behaviour = network.script.shift();
        if (behaviour) queueMicrotask(() => behaviour(this));
      }
    };
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    assert(socket, "no socket was made");
    return socket;
  }
}

/** One socket, and its peer's hands on it. */
export class FakeSocket implements WebSocketLike {
  binaryType = "blob";
  onopen: ((event: never) => unknown) | null = null;
  onmessage: ((event: never) => unknown) | null = null;
  onerror: ((event: never) => unknown) | null = null;
  onclose: ((event: never) => unknown) | null = null;
  /** Where it was to connect. */
  readonly url: string;
  /** The subprotocol that was offered. */
  readonly protocol: string;
  /** How the client closed it, if it did. */
  closedWith:
    | { code: number | undefined; reason: string | undefined }
    | undefined;
  /** Messages that the client sent, each as its frames. */
  readonly messages: UpFrame[][] = [];
  /** Their sizes. */
  readonly sizes: number[] = [];
  #state: "connecting" | "open" | "closed" = "connecting";
  #taken = 0;

  constructor(url: string, protocol: string) {
    this.url = url;
    this.protocol = protocol;
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    if (this.#state !== "open") {
      throw new Error("InvalidStateError: the socket is not open");
    }
    this.sizes.push(data.length);
    const limits = { ...DEFAULT_LIMITS, messageBytes: Infinity };
    this.messages.push(
      decodeUp(data.slice(), limits).map((frame) => {
        assert(
          frame.type !== "refused",
          "the client sent what a server refuses",
        );
        return frame;
      }),
    );
  }

  close(code?: number, reason?: string): void {
    assert(
      code === undefined || code === 1000 || (code >= 3000 && code <= 4999),
      `browsers refuse ${code}`,
    );
    this.closedWith ??= { code, reason };
    this.#state = "closed";
  }

  /** Every frame that the client sent. */
  get frames(): UpFrame[] {
    return this.messages.flat();
  }

  /** What the client sent since the last look. */
  take(): UpFrame[] {
    const taken = this.messages.slice(this.#taken).flat();
    this.#taken = this.messages.length;
    return taken;
  }

  /** The calls among what the client sent since the last look. */
  takeCalls(): CallFrame[] {
    return this.take().filter((frame) => frame.type === "rpc");
  }

  /** Peer: the socket is open. */
  accept(): void {
    this.#state = "open";
    this.#fire(this.onopen, {});
  }

  /** Peer: answers the hello. */
  welcome(fields: Partial<WelcomeFrame> = {}): void {
    this.deliver({
      type: "welcome",
      protocol: 1,
      clientId: "client-1",
      session: "session-1",
      resumed: false,
      sessionMs: 86_400_000,
      heartbeatMs: 30_000,
      messageBytes: 262_144,
      serverId: "server-1",
      ...fields,
    });
  }

  /** Peer: sends frames in one message. */
  deliver(...frames: DownFrame[]): void {
    this.deliverData(
      joinFrames(frames.map((frame) => encodeFrame(frame))).slice().buffer,
    );
  }

  /** Peer: sends whatever that is. */
  deliverData(data: unknown): void {
    this.#fire(this.onmessage, { data });
  }

  /** Peer: ends the connection. */
  hangUp(code: number, reason = ""): void {
    this.#state = "closed";
    this.#fire(this.onerror, {});
    this.#fire(this.onclose, { code, reason });
  }

  #fire(listener: ((event: never) => unknown) | null, event: object): void {
    listener?.(event as never); // as the WebSocket of a runtime does
  }
}

/** A client and what a test holds it by. */
export interface ClientBench {
  readonly client: Client;
  readonly clock: FakeClock;
  readonly network: FakeNetwork;
  /** Errors that went to "error". */
  readonly errors: Error[];
  /** What was reported as uncaught. */
  readonly reported: unknown[];
  /** Calls the client's wake listeners. */
  wake(): void;
  /** How many there are. */
  wakeListeners(): number;
}

/** Makes a client that is not connected yet. */
export function idleClient(options: HostedOptions = {}): ClientBench {
  const clock = new FakeClock();
  const network = new FakeNetwork();
  const wakes = new Set<() => void>();
  const errors: Error[] = [];
  const reported: unknown[] = [];
  const client = createHostedClient(undefined, {
    WebSocket: network.WebSocket,
    clock,
    random: () => 0.5,
    onWake: (wake) => {
      wakes.add(wake);
      return () => wakes.delete(wake);
    },
    reportError: (error) => void reported.push(error),
    loadWriting: () => ({ startWriting }),
    ...options,
  });
  client.on("error", (error) => errors.push(error));
  return {
    client,
    clock,
    network,
    errors,
    reported,
    wake: () => wakes.forEach((wake) => wake()),
    wakeListeners: () => wakes.size,
  };
}

/** Makes a client that is connected and welcomed. */
export async function openClient(
  options: HostedOptions = {},
  welcome: Partial<WelcomeFrame> = {},
): Promise<ClientBench & { socket: FakeSocket }> {
  const bench = idleClient(options);
  bench.client.connect("ws://test/");
  const { socket } = bench.network;
  socket.accept();
  socket.welcome(welcome);
  await settle();
  socket.take();
  return { ...bench, socket };
}

/** Waits for the next socket, and opens it: it has sent its hello. */
export async function nextSocket(
  { clock, network }: ClientBench,
): Promise<FakeSocket> {
  const made = network.sockets.length;
  for (let waitedMs = 0; network.sockets.length === made; waitedMs += 250) {
    assert(waitedMs < 60_000, "no socket was made within a minute");
    await clock.advance(250);
  }
  network.socket.accept();
  await settle();
  return network.socket;
}

/** Loses the connection and makes it again; the new socket has sent its hello. */
export async function redial(
  bench: ClientBench,
  code = 1006,
): Promise<FakeSocket> {
  bench.network.socket.hangUp(code);
  return await nextSocket(bench);
}

/** A snapshot of a store. */
export function snap(
  fields: Partial<SnapshotFrame> & { state: Json },
): SnapshotFrame {
  return {
    type: "snap",
    store: 1,
    name: "Todos",
    epoch: "e1",
    version: 1,
    writer: "w1",
    ...fields,
  };
}

/** A patch that puts `value` at `path` in the step to `version`. */
export function patch(
  version: number,
  path: readonly (string | number)[],
  value: Json,
  fields: Partial<PatchFrame> = {},
): PatchFrame {
  const ops = [{ op: "replace", path, value }] as const;
  return {
    type: "patch",
    store: 1,
    from: version - 1,
    version,
    patch: ops,
    ...fields,
  };
}

/** The same as the answer to a token. */
export function resume(fields: Partial<ResumeFrame>): ResumeFrame {
  return {
    type: "resume",
    store: 1,
    name: "Todos",
    epoch: "e1",
    from: 1,
    version: 1,
    writer: "w1",
    patch: [],
    ...fields,
  };
}
