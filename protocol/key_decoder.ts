/**
 * Reads the keys of maps. This module is browser compatible.
 *
 * @module
 */
/** Number of keys that are remembered; a power of two. */
const SLOTS = 256;
/** Longer keys are not remembered. */
const MAX_KEPT = 32;

/**
 * Remembers the keys that were read last, one in each slot, since most maps
 * have the keys of an earlier one. The cache that `@msgpack/msgpack` brings
 * searches lists: a map whose 10,000 keys are all new takes it eight times as long.
 * What is remembered shows in nothing but the time.
 */
class KeyDecoder {
  readonly #slots: string[] = new Array(SLOTS).fill("");
  // Not stripping: a key that begins with a byte order mark keeps it.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  /** Part of the decoder's contract: which keys come here, by their bytes. */
  canBeCached(length: number): boolean {
    return length > 0;
  }

  /** The key in the `length` bytes at `start`, which are valid UTF-8. */
  decode(bytes: Uint8Array, start: number, length: number): string {
    if (length === 0) return "";
    const slot =
      (length * 31 + bytes[start]! * 7 + bytes[start + length - 1]!) &
      (SLOTS - 1);
    if (matches(this.#slots[slot]!, bytes, start, length)) {
      return this.#slots[slot]!;
    }
    let key = "";
    for (let i = start; i < start + length; i++) {
      const byte = bytes[i]!;
      if (byte >= 0x80 || length > MAX_KEPT) {
        return this.#utf8.decode(bytes.subarray(start, start + length));
      }
      key += String.fromCharCode(byte);
    }
    this.#slots[slot] = key;
    return key;
  }
}

function matches(
  key: string,
  bytes: Uint8Array,
  start: number,
  length: number,
): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (key.charCodeAt(i) !== bytes[start + i]) return false;
  }
  return true;
}

/** The one that every decoding uses. */
export const keyDecoder = new KeyDecoder();
