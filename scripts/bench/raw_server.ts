/**
 * The bare server that fan-out is compared with: it has the state in memory,
 * encodes each change once and calls `socket.send` in a loop. No limits, no
 * recovery, and no KV unless it is given one. What it sends are the same bytes
 * that Headwater would send.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { Pump, takeCommands } from "./control.ts";
import { RawBoard } from "./raw_board.ts";

/** Options of the script. */
export interface RawServer {
  /** Items of the board. */
  readonly items: number;
  /** Path of a KV file, where each change is to be committed before it is sent. */
  readonly kv?: string;
}

const { items, kv: path } = JSON.parse(Deno.args[0] ?? "{}") as RawServer;
const board = new RawBoard(items);
const kv = path === undefined ? undefined : await Deno.openKv(path);
const sockets = new Set<WebSocket>();

async function changeItem(): Promise<void> {
  const { version, frame } = board.change();
  if (kv) {
    await kv.atomic()
      .set(["head"], encodeJson({ v: version }))
      .set(["log", version], frame)
      .commit();
  }
  for (const socket of sockets) socket.send(frame);
}

const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: 0,
    });
    socket.binaryType = "arraybuffer";
    // The one message that a client sends asks for the state.
    socket.onmessage = () => {
      socket.send(board.snapshot());
      sockets.add(socket);
    };
    socket.onclose = socket.onerror = () => void sockets.delete(socket);
    return response;
  },
);
const pump = new Pump(changeItem);
await takeCommands({
  grant: ({ count }) => pump.grant(Number(count)),
  changeItems: async ({ count }) => {
    for (let done = 0; done < Number(count); done++) await changeItem();
  },
}, { ports: [server.addr.port] });
// Sockets that are still open, and the KV, would keep it alive.
Deno.exit(0);
