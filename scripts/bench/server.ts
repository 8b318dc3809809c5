/**
 * A Headwater server under test.
 *
 * @module
 */
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createServer, type Server } from "@headwater/sync/server";
import type { Limits } from "../../protocol/limits.ts";
import { Pump, takeCommands } from "./control.ts";
import {
  type Board,
  type Grid,
  makeBoard,
  makeGrid,
  makeText,
  type Page,
} from "./states.ts";
import { sleep, wallMs } from "./statistics.ts";

/** Options of the script. */
export interface ServerUnderTest {
  /** Path of the KV file. */
  readonly kv: string;
  readonly limits?: Partial<Limits>;
  /** Items of the board. @default 20 */
  readonly items?: number;
  /** Length of the page. @default 20_000 */
  readonly pageBytes?: number;
  /** Whether a call waits until no other one commits, so that no two share a commit. */
  readonly commitsApart?: boolean;
  /** What speaks WebSocket. @default "native" */
  readonly transport?: "native" | "hardened";
  /** How many servers over the same KV. @default 1 */
  readonly servers?: number;
}

class Stores {
  readonly #server: Server;
  readonly #board;
  readonly #grid;
  readonly #grids;
  readonly #page;
  readonly #transport: "native" | "hardened";
  readonly #pageBytes: number;
  #lock: Promise<unknown> = Promise.resolve();
  #count = 0;

  constructor(
    {
      kv,
      limits = {},
      items = 20,
      pageBytes = 20_000,
      commitsApart = false,
      transport = "native",
    }: ServerUnderTest,
  ) {
    this.#pageBytes = pageBytes;
    this.#transport = transport;
    this.#server = createServer({ kv, limits });
    this.#board = this.#server.createStore<Board>("Board", makeBoard(items));
    this.#grid = this.#server.createStore<Grid>("Grid", makeGrid(50, 32));
    this.#grids = this.#server.createStore<Grid>("Grid:*", makeGrid(50, 32));
    this.#page = this.#server.createStore<Page>("Page", {
      text: makeText(pageBytes, 0),
    });
    const run = <T>(write: () => Promise<T>) =>
      commitsApart ? this.#inTurn(write) : write();
    this.#server.handle(
      "set",
      async ([row, column, n]: [number, number, number]) => {
        await run(() =>
          this.#grid.update((draft) => void (draft.cells[row]![column] = n))
        );
      },
    );
    this.#server.handle(
      "setOwn",
      async ([row, column, n]: [number, number, number]) => {
        await run(() =>
          this.#grids.update(
            String(row),
            (draft) => void (draft.cells[row]![column] = n),
          )
        );
      },
    );
  }

  async listen(): Promise<number> {
    const transport = this.#transport;
    await this.#server.listen({ port: 0, host: "127.0.0.1", transport });
    return this.#server.port;
  }

  /** Changes one field of one item: a different item each time. */
  async changeItem(): Promise<void> {
    const n = ++this.#count;
    await this.#board.update((draft) => {
      draft.items[(n * 7) % draft.items.length]!.n = n;
    });
  }

  async changePage(): Promise<void> {
    const text = makeText(this.#pageBytes, ++this.#count);
    await this.#page.update((draft) => void (draft.text = text));
  }

  async state(name: string): Promise<unknown> {
    return await this.#server.store(name)?.get();
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #inTurn<T>(write: () => Promise<T>): Promise<T> {
    const written = this.#lock.then(write);
    this.#lock = written.catch(() => {});
    return written;
  }
}

/** Calls `change` at a fixed rate, whether or not the ones before have come through; returns when each began. */
async function atRate(
  change: () => Promise<void>,
  hz: number,
  count: number,
): Promise<number[]> {
  const times: number[] = [];
  const changes: Promise<void>[] = [];
  const startMs = performance.now();
  while (times.length < count) {
    const due = Math.min(
      count,
      Math.floor((performance.now() - startMs) * hz / 1000) + 1,
    );
    while (times.length < due) {
      times.push(wallMs());
      changes.push(change());
    }
    await sleep(
      Math.max(0, startMs + times.length * 1000 / hz - performance.now()),
    );
  }
  await Promise.all(changes);
  return times;
}

/** So that memory is what is held, and not what has not been collected yet. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void; // made by the flag
  for (let round = 0; round < 3; round++) collect();
}

const options = JSON.parse(process.argv[2] ?? "{}") as ServerUnderTest;
const servers = Array.from(
  { length: options.servers ?? 1 },
  () => new Stores(options),
);
const ports: number[] = [];
for (const server of servers) ports.push(await server.listen());
const [first] = servers as [Stores];
const pump = new Pump(() => first.changeItem());
await takeCommands({
  grant: ({ count }) => pump.grant(Number(count)),
  changeItems: async ({ count }) => {
    for (let done = 0; done < Number(count); done++) await first.changeItem();
  },
  changeItemsAtRate: ({ hz, count }) =>
    atRate(() => first.changeItem(), Number(hz), Number(count)),
  changePagesAtRate: ({ hz, count }) =>
    atRate(() => first.changePage(), Number(hz), Number(count)),
  collect: collectGarbage,
  memory: () => process.memoryUsage().rss,
  state: ({ name }) => first.state(String(name)),
}, { ports });
await Promise.all(servers.map((server) => server.close()));
