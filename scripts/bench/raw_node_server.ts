/**
 * The bare server on Node that fan-out there is compared with: `ws`, the state in
 * memory, and a loop of `socket.send`. No limits, no recovery, no KV.
 *
 * @module
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
// @deno-types="./ws_server.d.ts"
import { type WebSocket, WebSocketServer } from "ws";
import { Pump, takeCommands } from "./control.ts";
import { RawBoard } from "./raw_board.ts";

const { items } = JSON.parse(process.argv[2] ?? "{}") as { items: number };
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

const pump = new Pump(() => {
  const { frame } = board.change();
  for (const socket of sockets) socket.send(frame);
});
await takeCommands({
  grant: ({ count }) => pump.grant(Number(count)),
}, { ports: [port] });
process.exit(0);
