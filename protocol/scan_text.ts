/**
 * Looks at the bytes of texts. This module is browser compatible.
 *
 * @module
 */

/** Whether the bytes are UTF-8 without surrogates and overlong forms (RFC 3629). */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const lead = bytes[at++]!;
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    const more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (at + more > end) return false;
    const second = bytes[at++]!;
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < lowest || second > highest) return false;
    for (let i = 1; i < more; i++) {
      if ((bytes[at++]! & 0xc0) !== 0x80) return false;
    }
  }
  return true;
}

/** Whether the text begins with a byte order mark (U+FEFF). */
export function startsWithMark(
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  return end - start >= 3 && bytes[start + 1] === 0xbb &&
    bytes[start + 2] === 0xbf;
}
