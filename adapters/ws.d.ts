/** The part of the package `ws`, which has no types of its own, that the adapter uses. */
import type { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

export interface WebSocket {
  binaryType: "arraybuffer";
  readonly readyState: number;
  close(code: number, reason: string): void;
  on(
    event: "message",
    listener: (data: ArrayBuffer | Buffer, isBinary: boolean) => void,
  ): this;
  on(event: "close" | "error", listener: () => void): this;
}

export class WebSocketServer {
  constructor(options: {
    noServer: true;
    perMessageDeflate: false;
    clientTracking: false;
    maxPayload: number;
    closeTimeout: number;
  });
  handleUpgrade(
    request: IncomingMessage,
    tcp: Duplex,
    head: Buffer,
    opened: (socket: WebSocket) => void,
  ): void;
}
