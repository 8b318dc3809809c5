/** The part of the package `ws`, which has no types of its own, that the bench uses. */
import type { Server } from "node:http";

export interface WebSocket {
  send(data: Uint8Array): void;
  on(event: "message" | "close" | "error", listener: () => void): this;
}

export class WebSocketServer {
  constructor(options: { server: Server; perMessageDeflate: boolean });
  on(event: "connection", listener: (socket: WebSocket) => void): this;
}
