/**
 * What a client has written while it was away, when it comes back to find that
 * others have written as much: each write is made again on top of theirs.
 *
 * @module
 */
import { createClient } from "../../client/mod.ts";
import { createServer } from "../../server/mod.ts";
import { type Bench, type Scenario, toFigure } from "./scenario.ts";

const WRITES = 1_000;
/** Where nothing listens. */
const NOWHERE = "ws://127.0.0.1:1";
/** How often a client that is away tries again. */
const RETRY_MS = 20;

interface Board {
  items: { id: string; text: string; done: boolean }[];
}

/** See the module's documentation. */
export const rebase: Scenario = {
  name: "rebase",
  title: "1,000 queued writes of a client that was away, in one process",
  async run(bench: Bench) {
    const { foreign, alone } = await bench.measure({
      alone: () => measureReturn(bench, 0),
      foreign: () => measureReturn(bench, WRITES),
    });
    return [
      toFigure({
        name: "until all are committed, over 1,000 foreign ones",
        unit: "ms",
        rounds: foreign,
        baseline: { name: "nobody else has written", rounds: alone },
        target: { of: "value", atMost: 1_000 },
        note: "all push into one array",
      }),
    ];
  },
};

/** Milliseconds from the way back until all that was written is committed. */
async function measureReturn(bench: Bench, foreign: number): Promise<number> {
  await using server = createServer({ kv: bench.newKvPath() });
  const board = server.createStore<Board>("Board", { items: [] }, {
    write: true,
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  let isAway = false;
  const sockets: WebSocket[] = [];
  class Switched extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(isAway ? NOWHERE : url, protocols);
      sockets.push(this);
    }
  }
  using client = createClient(`ws://127.0.0.1:${server.port}`, {
    WebSocket: Switched,
    reconnectDelayMs: RETRY_MS,
    reconnectMaxMs: RETRY_MS,
  });
  const handle = client.subscribe<Board>("Board");
  await handle.ready();
  isAway = true;
  const left = new Promise<void>((resolve) => {
    client.on("disconnected", () => resolve());
  });
  sockets.at(-1)?.close();
  await left;
  const writes = writeAll("own", WRITES, (push) => handle.update(push));
  await Promise.all(
    writeAll("foreign", foreign, (push) => board.update(push)),
  );
  const back = new Promise<number>((resolve) => {
    client.on("connected", () => resolve(performance.now()));
  });
  isAway = false;
  const startMs = await back;
  await Promise.all(writes);
  const ms = performance.now() - startMs;
  const { items } = await board.get();
  if (items.length === WRITES + foreign) return Math.round(ms);
  throw new Error(`There are ${items.length} items`);
}

function writeAll(
  author: string,
  count: number,
  write: (push: (board: Board) => void) => Promise<unknown>,
): Promise<unknown>[] {
  return Array.from({ length: count }, (_, n) => {
    const id = `${author} ${n}`;
    return write(({ items }) => void items.push({ id, text: id, done: false }));
  });
}
