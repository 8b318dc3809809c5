/**
 * Reads along with what a server sends on one socket.
 *
 * @module
 */
import { decodeDown } from "../../protocol/codec.ts";
import type { DownFrame } from "../../protocol/frames.ts";
import { PartJoiner } from "../../protocol/parts.ts";

/** See the module's documentation. */
export class FrameReader {
  readonly #joiner = new PartJoiner();

  /** The frames that are complete with this message; none where more is to come. */
  read(bytes: Uint8Array): DownFrame[] {
    const message = this.#joiner.isExpecting ? this.#joiner.take(bytes) : bytes;
    if (!message) return [];
    const frames = decodeDown(message);
    const [first] = frames;
    if (first?.type !== "parts") return frames;
    this.#joiner.expect(first.bytes);
    return [];
  }
}
