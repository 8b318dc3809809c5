/**
 * The bare server on Node that fan-out there is compared with: `ws`, the state in
 * memory, and a loop of `socket.send`. No limits, no recovery, and no KV unless it is
 * given one.
 *
 * @module
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
// @deno-types="./ws_server.d.ts"
import { type WebSocket, WebSocketServer } from "ws";
import { openKv } from "@deno/kv";
import { encodeJson } from "../../protocol/codec.ts";
import { Pump, takeCommands } from "./control.ts";
import { RawBoard } from "./raw_board.ts";

/** Options of the script. */
interface RawNodeServer {
  /** Items of the board. */
  readonly items: number;
  /** Path of a KV file, where each change is to be committed before it is sent. */
  readonly kv?: string;
}

const { items, kv: path } = JSON.parse(
  process.argv[2] ?? "{}",
) as RawNodeServer;
const kv = path === undefined ? undefined : await openKv(path);
const board = new RawBoard(items);
const sockets = new Set<WebSocket>();

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
server.on("connection", (socket) => {
  // The one message that a client sends asks for the state.
  socket.on("message", () => {
    socket.send(board.snapshot());
    sockets.add(socket);
  });
  socket.on("error", () => sockets.delete(socket));
  socket.on("close", () => sockets.delete(socket));
});
http.listen(0, "127.0.0.1");
await once(http, "listening");
const { port } = http.address() as AddressInfo; // it listens on TCP

const pump = new Pump(async () => {
  const { version, frame } = board.change();
  if (kv) {
    await kv.atomic()
      .set(["head"], encodeJson({ v: version }))
      .set(["log", version], frame)
      .commit();
  }
  for (const socket of sockets) socket.send(frame);
});
await takeCommands({
  grant: ({ count }) => pump.grant(Number(count)),
}, { ports: [port] });
process.exit(0);
