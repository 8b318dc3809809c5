/**
 * Sends what there is at the end of a tick, all of it in one message. This module is
 * browser compatible.
 *
 * @module
 */
import { encodeUp } from "../protocol/client_codec.ts";
import type { PlainUpFrame } from "../protocol/up_frame_maps.ts";
import type { Connection } from "./connection.ts";
import type { Credentials } from "./credentials.ts";
import type { Outbox } from "./outbox.ts";

/** What {@linkcode Outgoing} works with. */
export interface OutgoingOwner {
  /** Requests. */
  readonly outbox: Outbox;
  /** What the server is shown. */
  readonly credentials: Credentials;
  /** The connection, while the server has welcomed it. */
  connection(): Connection | undefined;
}

/** See the module's documentation. */
export class Outgoing {
  readonly #owner: OutgoingOwner;
  /** Frames, and for each barrier between them what to do when it has been passed. */
  readonly #items: (PlainUpFrame | (() => void))[] = [];
  #isDue = false;

  constructor(owner: OutgoingOwner) {
    this.#owner = owner;
  }

  /** Sends a frame; a function is called when what was sent before it has been handled. */
  push(item: PlainUpFrame | (() => void)): void {
    this.#items.push(item);
    this.flushSoon();
  }

  /** The connection is gone. */
  clear(): void {
    this.#items.length = 0;
  }

  /** Sends what there is at the end of this tick. */
  flushSoon(): void {
    if (this.#isDue || this.#owner.connection() === undefined) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { outbox, credentials } = this.#owner;
    const connection = this.#owner.connection();
    if (connection === undefined) return;
    for (const message of outbox.takeCancels()) connection.send([message]);
    const frames = this.#items.splice(0).map((item) =>
      // The server handles in order: before the pong comes what it sent before the ping.
      typeof item === "function" ? connection.encodePing(item) : encodeUp(item)
    );
    const refresh = credentials.isDue && outbox.refresh();
    if (refresh) connection.sayHello(credentials.refresh(refresh));
    const renewal = outbox.renewal();
    if (renewal !== undefined) connection.sayHello(renewal);
    frames.push(...outbox.takeFrames(connection.messageBytes));
    connection.send(frames);
  }
}
