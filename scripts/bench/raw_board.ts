/**
 * The state of a bare server, in memory, and the bytes that it sends of it: the same
 * that Headwater would send.
 *
 * @module
 */
import {
  encodeFrame,
  encodeJson,
  encodeSnapshot,
} from "../../protocol/codec.ts";
import type { Json } from "../../protocol/value.ts";
import { makeBoard } from "./states.ts";

/** See the module's documentation. */
export class RawBoard {
  readonly #board;
  #version = 0;
  #snapshot: { version: number; frame: Uint8Array<ArrayBuffer> } | undefined;

  /** A board of so many items. */
  constructor(items: number) {
    this.#board = makeBoard(items);
  }

  /** Changes one field of one item: a different item each time. */
  change(): { version: number; frame: Uint8Array<ArrayBuffer> } {
    const { items } = this.#board;
    const version = ++this.#version;
    const index = (version * 7) % items.length;
    items[index]!.n = version;
    const patch = [{
      op: "replace",
      path: ["items", index, "n"],
      value: version,
    }] as const;
    const frame = encodeFrame({
      type: "patch",
      store: 1,
      from: version - 1,
      version,
      patch,
    });
    return { version, frame };
  }

  /** The whole board. */
  snapshot(): Uint8Array<ArrayBuffer> {
    const version = this.#version;
    if (this.#snapshot?.version !== version) {
      const ids = { epoch: "0123456789abcdef", writer: "0123456789abcdef" };
      const frame = encodeSnapshot(
        { type: "snap", store: 1, name: "Board", version, ...ids },
        encodeJson(this.#board as unknown as Json), // an interface has no index signature
      );
      this.#snapshot = { version, frame };
    }
    return this.#snapshot.frame;
  }
}
