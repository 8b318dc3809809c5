/**
 * A server that shares its KV with others: it writes to stores as fast as it
 * can or at a rate, and tells what it asked the KV for.
 *
 * @module
 */
import { denoPorts } from "../../adapters/deno_ports.ts";
import { Server } from "../../server/server.ts";
import { takeCommands } from "./control.ts";
import { CountingKv, type KvCounts } from "./counting_kv.ts";
import { type Board, makeBoard } from "./states.ts";
import { sleep, wallMs } from "./statistics.ts";

/** Options of the script. */
export interface SharedServer {
  /** Path of a KV file, or URL of a KV. */
  readonly kv: string;
  /** How many servers in this process. @default 1 */
  readonly servers?: number;
}

/** What some writing came to. */
export interface Written {
  readonly mutations: number;
  readonly ms: number;
}

class Stores {
  readonly #server: Server;
  readonly #boards;
  #kv: CountingKv | undefined;
  #n = 0;

  constructor(kv: string) {
    const ports = denoPorts();
    this.#server = new Server({ kv }, {
      ...ports,
      openKv: async (location) => {
        const opened = await ports.openKv(location);
        this.#kv = new CountingKv(opened.kv);
        return { ...opened, kv: this.#kv };
      },
    });
    this.#boards = this.#server.createStore<Board>("Board:*", makeBoard(20));
  }

  async listen(): Promise<number> {
    await this.#server.listen({ port: 0, host: "127.0.0.1" });
    return this.#server.port;
  }

  get counts(): KvCounts {
    return { ...this.#kv!.counts }; // listen() has opened it
  }

  async load(store: string): Promise<void> {
    await this.#boards.get(keyOf(store));
  }

  async change(store: string): Promise<void> {
    const n = ++this.#n;
    await this.#boards.update(keyOf(store), (draft) => {
      draft.items[(n * 7) % draft.items.length]!.n++;
    });
  }

  /** Keeps so many changes in flight. */
  async write(
    { store, depth, ms }: { store: string; depth: number; ms: number },
  ): Promise<Written> {
    const startMs = performance.now();
    let mutations = 0;
    await Promise.all(Array.from({ length: depth }, async () => {
      while (performance.now() - startMs < ms) {
        await this.change(store);
        mutations++;
      }
    }));
    return { mutations, ms: performance.now() - startMs };
  }

  /** Changes at a fixed rate; returns when each began. */
  async writeAtRate(
    { store, hz, count }: { store: string; hz: number; count: number },
  ): Promise<number[]> {
    const times: number[] = [];
    const changes: Promise<void>[] = [];
    const startMs = performance.now();
    for (let n = 0; n < count; n++) {
      const dueMs = startMs + n * 1000 / hz;
      await sleep(Math.max(0, dueMs - performance.now()));
      times.push(wallMs());
      changes.push(this.change(store));
    }
    await Promise.all(changes);
    return times;
  }

  /** Changes so often, each after the one before. */
  async writeInTurn(store: string, count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.change(store);
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}

/** A client knows the store by its full name. */
function keyOf(store: string): string {
  return store.replace(/^Board:/, "");
}

const options = JSON.parse(Deno.args[0] ?? "{}") as SharedServer;
const servers = Array.from(
  { length: options.servers ?? 1 },
  () => new Stores(options.kv),
);
const ports: number[] = [];
for (const server of servers) ports.push(await server.listen());
const one = ({ server = 0 }: { server?: number }) => servers[server]!; // the bench knows how many
await takeCommands({
  load: (args) => one(args).load(String(args["store"])),
  write: (args) => one(args).write(args as unknown as WriteArgs),
  writeAtRate: (args) => one(args).writeAtRate(args as unknown as RateArgs),
  writeInTurn: (args) =>
    one(args).writeInTurn(String(args["store"]), Number(args["count"])),
  counts: (args) => one(args).counts,
}, { ports });
await Promise.all(servers.map((server) => server.close()));

// The bench that sends the commands is written with the same types.
type WriteArgs = { store: string; depth: number; ms: number };
type RateArgs = { store: string; hz: number; count: number };
