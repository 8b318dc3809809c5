/**
 * Messages of one connection that are handed to its socket a part at a time, and
 * all that waits behind them.
 *
 * @module
 */
import { encodeFrame, joinFrames } from "../protocol/codec.ts";

/** A part is what a link of so many bytes in a second carries in half a heartbeat. */
const SLOWEST_LINK = 1_000;
const LEAST_BYTES = 1024;
/** Larger ones save nothing: they cost less than a system call each. */
const MOST_BYTES = 16 * 1024;

/** The size of parts, so that a client on a slow link hears one before it misses the heartbeat. */
export function partBytes(heartbeatMs: number): number {
  const carried = SLOWEST_LINK * heartbeatMs / 2_000;
  if (heartbeatMs === 0 || carried > MOST_BYTES) return MOST_BYTES;
  return Math.max(LEAST_BYTES, Math.floor(carried));
}

interface Waiting {
  readonly frames: readonly Uint8Array<ArrayBuffer>[];
  readonly bytes: number;
}

/** See the module's documentation. */
export class PartQueue {
  readonly #partBytes: number;
  readonly #messages: Waiting[] = [];
  #bytes = 0;
  /** Bytes of the first message that are still to be cut; undefined: it has not begun. */
  #left: number | undefined;
  /** Where the next part begins, in the first message. */
  #frame = 0;
  #at = 0;

  /** Cuts into parts of that size whatever is longer. */
  constructor(partBytes: number) {
    this.#partBytes = partBytes;
  }

  /** Bytes of frames that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a message of these frames, which have so many bytes. */
  push(frames: readonly Uint8Array<ArrayBuffer>[], bytes: number): void {
    this.#messages.push({ frames, bytes });
    this.#bytes += bytes;
  }

  /** The next message for the socket; undefined where nothing waits. */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const [message] = this.#messages;
    if (!message) return undefined;
    const { frames, bytes } = message;
    if (bytes <= this.#partBytes) {
      this.#messages.shift();
      this.#bytes -= bytes;
      return joinFrames(frames);
    }
    if (this.#left === undefined) {
      this.#left = bytes;
      this.#frame = this.#at = 0;
      return encodeFrame({ type: "parts", bytes });
    }
    const length = Math.min(this.#partBytes, this.#left);
    const part = this.#cut(frames, length);
    this.#bytes -= length;
    this.#left -= length;
    if (this.#left === 0) {
      this.#left = undefined;
      this.#messages.shift();
    }
    return part;
  }

  #cut(
    frames: readonly Uint8Array<ArrayBuffer>[],
    length: number,
  ): Uint8Array<ArrayBuffer> {
    // Mostly from within one frame, which other connections share: no copy.
    const first = frames[this.#frame]!.subarray(this.#at, this.#at + length); // bytes are left
    this.#advance(frames, first.length);
    if (first.length === length) return first;
    const part = new Uint8Array(length);
    part.set(first);
    for (let filled = first.length; filled < length;) {
      const piece = frames[this.#frame]!.subarray(0, length - filled); // bytes are left
      part.set(piece, filled);
      filled += piece.length;
      this.#advance(frames, piece.length);
    }
    return part;
  }

  #advance(frames: readonly Uint8Array[], by: number): void {
    this.#at += by;
    if (this.#at < frames[this.#frame]!.length) return; // it was just cut from
    this.#frame++;
    this.#at = 0;
  }
}
