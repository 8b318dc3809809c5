/**
 * A server in this very thread: the real one, with its router and its stores on a
 * real KV. Hostile clients hold its sockets directly, so that a frame costs what
 * the server makes of it and no system call; the honest client comes by TCP.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { denoPorts } from "../../adapters/deno_ports.ts";
import { CLOSE, type DownFrame } from "../../protocol/frames.ts";
import type {
  OpenedKv,
  Ports,
  Socket,
  SocketEvents,
} from "../../server/ports.ts";
import { FuzzFailure } from "./contract.ts";
import { FuzzedApp, watchLog } from "./fuzzed_app.ts";
import { HonestClient } from "./honest_client.ts";
import type { PlantArguments, ServerReport } from "./live_protocol.ts";
import { DownReader, type FuzzHost, type Message, type Peer } from "./peer.ts";

/** How a server takes a socket. */
type Accept = Parameters<Ports["upgrade"]>[1];

/** See the module's documentation. */
export class InnerServer implements FuzzHost {
  readonly #app: FuzzedApp;
  readonly #opened: OpenedKv;
  /** Requests of hostile clients, and what becomes of their sockets. */
  readonly #upgrades: WeakMap<Request, (accept: Accept) => void>;
  readonly #honest: HonestClient;
  readonly #errors: string[];
  readonly #stop: () => void;

  private constructor(
    parts: {
      app: FuzzedApp;
      opened: OpenedKv;
      upgrades: WeakMap<Request, (accept: Accept) => void>;
      honest: HonestClient;
      errors: string[];
      stop: () => void;
    },
  ) {
    this.#app = parts.app;
    this.#opened = parts.opened;
    this.#upgrades = parts.upgrades;
    this.#honest = parts.honest;
    this.#errors = parts.errors;
    this.#stop = parts.stop;
  }

  /** Starts one. Whatever is logged or rejected in this thread counts as its own. */
  static async start(): Promise<InnerServer> {
    const errors: string[] = [];
    await watchLog((text) => void errors.push(text));
    const stop = watchRejections((text) => void errors.push(text));
    const upgrades = new WeakMap<Request, (accept: Accept) => void>();
    const base = denoPorts();
    const opened = await base.openKv(":memory:");
    const app = new FuzzedApp({
      kv: opened.kv,
      ports: {
        ...base,
        upgrade(request, accept) {
          const hostile = upgrades.get(request);
          if (!hostile) return base.upgrade(request, accept);
          hostile(accept);
          // A 101 cannot be made by hand; nobody looks at it.
          return new Response(null);
        },
      },
      // Of the thread: the memory of the process is that of all threads.
      memory: () => Deno.memoryUsage().heapUsed,
    });
    await app.server.listen({ port: 0, host: "127.0.0.1" });
    const honest = await HonestClient.connect(app.server.port);
    return new InnerServer({ app, opened, upgrades, honest, errors, stop });
  }

  /** @inheritdoc */
  async open(): Promise<Peer> {
    const peer = new InnerPeer();
    const request = new Request("http://127.0.0.1/", {
      headers: { upgrade: "websocket" },
    });
    this.#upgrades.set(request, (accept) => {
      peer.taken(accept(peer.socket));
    });
    const { status } = await this.#app.server.fetch(request);
    if (!peer.isTaken) {
      throw new FuzzFailure(`a connection was refused with status ${status}`);
    }
    return peer;
  }

  /** @inheritdoc */
  async check(): Promise<void> {
    this.#checkErrors();
    await this.#honest.write();
    this.#checkErrors();
  }

  /** @inheritdoc */
  report(): Promise<ServerReport> {
    return this.#honest.report();
  }

  /** @inheritdoc */
  plant(what: PlantArguments): Promise<void> {
    return this.#honest.plant(what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#honest.destroy();
    await this.#app.close();
    await this.#opened.close();
    this.#stop();
  }

  #checkErrors(): void {
    const [first] = this.#errors;
    if (first !== undefined) {
      throw new FuzzFailure(`the server wrote: ${first.slice(0, 2_000)}`);
    }
  }
}

/** Notes what nobody has handled, which would end the process; returns how to stop that. */
function watchRejections(onError: (text: string) => void): () => void {
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    const { reason } = event;
    onError(`unhandled: ${reason instanceof Error ? reason.stack : reason}`);
  };
  globalThis.addEventListener("unhandledrejection", note);
  return () => globalThis.removeEventListener("unhandledrejection", note);
}

/** Both ends of one connection: itself, and the socket that the server has. */
class InnerPeer implements Peer {
  readonly ended: Promise<number>;
  readonly tooBigCode = CLOSE.tooBig;
  readonly socket: Socket;
  onFrame: (frame: DownFrame) => void = () => {};
  fault: string | undefined;
  readonly #end = Promise.withResolvers<number>();
  #events: SocketEvents | undefined;
  #isOver = false;

  constructor() {
    this.ended = this.#end.promise;
    const reader = new DownReader((frame) => this.onFrame(frame));
    this.socket = {
      bufferedBytes: 0,
      send: (bytes) => {
        if (this.#isOver) return "gone";
        this.fault ??= reader.take(bytes);
        return "sent";
      },
      close: (code) => this.#ended(code),
    };
  }

  /** Whether a server has taken it. */
  get isTaken(): boolean {
    return this.#events !== undefined || this.#isOver;
  }

  /** A server has taken it. */
  taken(events: SocketEvents): void {
    this.#events = events;
  }

  async send(messages: readonly Message[]): Promise<void> {
    for (const message of messages) {
      // Each is an event of its own, and what the server does with it goes on meanwhile.
      await setImmediate();
      const data = typeof message === "string" ? message : message.slice();
      this.#guarded((events) => events.message(data));
    }
  }

  close(): void {
    this.#guarded((events) => events.closed());
    this.#ended(1006);
  }

  #ended(code: number): void {
    this.#isOver = true;
    this.#events = undefined;
    this.#end.resolve(code);
  }

  /** What is thrown in an event ends the process. */
  #guarded(run: (events: SocketEvents) => void): void {
    if (!this.#events) return;
    try {
      run(this.#events);
    } catch (error) {
      const what = error instanceof Error ? error.stack : error;
      this.fault ??= `an event has thrown: ${what}`;
    }
  }
}
