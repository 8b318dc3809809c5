/**
 * Long messages in parts: who receives them hears something every few
 * kilobytes, however slow the link. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError, LimitError } from "./errors.ts";

/** Longest message that a client joins: room is made when it is announced. */
export const JOINED_BYTES = 256 * 1024 * 1024;

/** Puts the messages that were announced by a `parts` frame together. */
export class PartJoiner {
  #message: Uint8Array | undefined;
  #at = 0;

  /** Whether what comes next is a part, and no frames. */
  get isExpecting(): boolean {
    return this.#message !== undefined;
  }

  /**
   * Expects parts of a message of `bytes` bytes.
   *
   * @throws {LimitError} if that is more than {@linkcode JOINED_BYTES}.
   */
  expect(bytes: number): void {
    if (bytes > JOINED_BYTES) {
      throw new LimitError(
        "join a message",
        "joinedBytes",
        JOINED_BYTES,
        bytes,
      );
    }
    this.#message = new Uint8Array(bytes);
    this.#at = 0;
  }

  /**
   * Takes the next part; returns the whole message with the last one.
   *
   * @throws {HeadwaterError} `bad_frame` if it is empty, or longer than what is left.
   */
  take(part: Uint8Array): Uint8Array | undefined {
    const message = this.#message;
    const left = (message?.length ?? 0) - this.#at;
    if (!message || part.length === 0 || part.length > left) {
      throw new HeadwaterError(
        "bad_frame",
        `Cannot join a part of ${part.length} bytes: ${left} are left of its message`,
      );
    }
    message.set(part, this.#at);
    this.#at += part.length;
    if (part.length < left) return undefined;
    this.#message = undefined;
    return message;
  }
}
