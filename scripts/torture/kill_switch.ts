/**
 * Ends its own process, as `kill -9` does, at the point that it was ordered to.
 *
 * @module
 */
import type { Kv, Ports, Socket } from "../../server/ports.ts";
import { FrameReader } from "./frame_reader.ts";
import { encodeOrder, type KillOrder } from "./points.ts";
import { Recogniser } from "./recogniser.ts";
import { WatchedKv } from "./watched_kv.ts";

/** See the module's documentation. */
export class KillSwitch {
  readonly #order: KillOrder | undefined;
  #passed = 0;

  /** A switch that waits for its point, if it has one. */
  constructor(order: KillOrder | undefined) {
    this.#order = order;
  }

  /** The process is at that point; it may not come back from here. */
  pass(point: string): void {
    const order = this.#order;
    if (point !== order?.point) return;
    this.#passed += 1;
    if (this.#passed < order.nth) return;
    // Written at once, since nothing that is buffered outlives the next line.
    Deno.stdout.writeSync(
      new TextEncoder().encode(`killed ${encodeOrder(order)}\n`),
    );
    Deno.kill(Deno.pid, "SIGKILL");
  }

  /** A KV that passes the points around its atomic operations; those of each are told apart by themselves. */
  watch(kv: Kv): Kv {
    const recogniser = new Recogniser();
    return new WatchedKv(kv, {
      listed: (entry) => recogniser.listed(entry),
      commit: async (parts, run) => {
        const kinds = recogniser.name(parts);
        for (const kind of kinds) this.pass(`${kind}:before`);
        const result = await run();
        if (!result.ok) return result;
        recogniser.committed(parts);
        for (const kind of kinds) this.pass(`${kind}:after`);
        return result;
      },
    });
  }

  /** Ports whose KV and sockets pass the points. */
  ports(host: Ports): Ports {
    return {
      ...host,
      openKv: async (location) => {
        const opened = await host.openKv(location);
        return { ...opened, kv: this.watch(opened.kv) };
      },
      upgrade: (request, accept) =>
        host.upgrade(request, (socket) => accept(this.#watchSocket(socket))),
    };
  }

  #watchSocket(socket: Socket): Socket {
    if (!this.#order?.point.startsWith("answer:")) return socket;
    const reader = new FrameReader();
    return {
      send: (bytes) => {
        const isAnswer = reader.read(bytes).some(({ type }) => type === "res");
        if (isAnswer) this.pass("answer:before");
        const sent = socket.send(bytes);
        if (isAnswer) this.pass("answer:after");
        return sent;
      },
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
      close: (code, reason) => socket.close(code, reason),
    };
  }
}
