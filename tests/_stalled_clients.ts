/**
 * Clients that read nothing.
 *
 * @module
 */
import { encodeFrame, joinFrames } from "../protocol/codec.ts";
import { PROTOCOL_VERSION, type UpFrame } from "../protocol/frames.ts";
import { LoadConnection } from "../scripts/bench/load_connection.ts";

/** Sockets that say hello, ask for things, and read nothing. */
export class StalledClients implements Disposable {
  readonly #connections: LoadConnection[] = [];

  /** Connects so many. */
  static async connect(port: number, count: number): Promise<StalledClients> {
    const clients = new StalledClients();
    for (let n = 0; n < count; n++) {
      const connection = await LoadConnection.open(port);
      clients.#connections.push(connection);
      connection.pause();
    }
    clients.send({ type: "hello", protocol: PROTOCOL_VERSION, parts: true });
    return clients;
  }

  /** Each sends these frames in one message. */
  send(...frames: UpFrame[]): void {
    const message = joinFrames(frames.map((frame) => encodeFrame(frame)));
    for (const connection of this.#connections) connection.send(message);
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection.close();
  }
}
