/**
 * The order of Deno KV's keys: a key becomes a string of bytes (one character
 * each) that sorts as the key does and is as long as Deno counts it.
 *
 * @module
 */
import type { KvKey, KvKeyPart } from "../../server/ports.ts";

// One byte says the type. The gaps are the sizes of bigints, from -8 to 8 bytes.
const BYTES = "\x01";
const STRING = "\x02";
const LONG_NEGATIVE = "\x0b";
const ZERO = 0x14;
const LONG_POSITIVE = "\x1d";
const NUMBER = "\x21";
const FALSE = "\x26";
const TRUE = "\x27";

/** Characters that are their own bytes and need no escape. */
const PLAIN = /^[ -~]*$/;

/** Holds nothing from one call to the next; a new buffer would cost more than all the rest. */
const SCRATCH = new DataView(new ArrayBuffer(8));

/**
 * The bytes of a key, as a string that compares by `<` as the key sorts.
 *
 * @throws {TypeError} if a part is not of a type that a key can have.
 */
export function encodeKey(key: KvKey): string {
  let encoded = "";
  for (const part of key) encoded += encodePart(part);
  return encoded;
}

/** The key as it is stored: a copy without lone surrogates. */
export function storedKey(key: KvKey): KvKey {
  return key.map((part) => {
    if (typeof part === "string") return part.toWellFormed();
    return part instanceof Uint8Array ? part.slice() : part;
  });
}

/** The first that sorts after all keys below the prefix. */
export function endOfPrefix(encodedPrefix: string): string {
  return `${encodedPrefix}\xff`;
}

/** The first that sorts after the key itself. */
export function after(encodedKey: string): string {
  return `${encodedKey}\x00`;
}

function encodePart(part: KvKeyPart): string {
  switch (typeof part) {
    case "string":
      return PLAIN.test(part)
        ? `${STRING}${part}\x00`
        // Encoding makes U+FFFD of a lone surrogate, as Deno does.
        : `${STRING}${escape(new TextEncoder().encode(part))}\x00`;
    case "number":
      return NUMBER + encodeNumber(part);
    case "bigint":
      return encodeBigInt(part);
    case "boolean":
      return part ? TRUE : FALSE;
    case "object":
      if (part instanceof Uint8Array) return `${BYTES}${escape(part)}\x00`;
  }
  throw new TypeError(
    "expected string, number, bigint, ArrayBufferView, boolean",
  );
}

/** A zero byte would end the part too early, and "a\0b" sort before "a". */
function escape(bytes: Uint8Array): string {
  return toChars(bytes).replaceAll("\x00", "\x00\xff");
}

function encodeNumber(value: number): string {
  SCRATCH.setFloat64(0, value);
  // Negative ones sort backwards, so all their bits are turned around.
  const flip = SCRATCH.getInt8(0) < 0 ? -1 : 0;
  const high = SCRATCH.getInt32(0) ^ (flip || 0x80000000);
  const low = SCRATCH.getInt32(4) ^ flip;
  return charsOf(high) + charsOf(low);
}

function charsOf(word: number): string {
  return String.fromCharCode(
    word >>> 24,
    word >>> 16 & 255,
    word >>> 8 & 255,
    word & 255,
  );
}

function encodeBigInt(value: bigint): string {
  const isNegative = value < 0n;
  const hex = (isNegative ? -value : value).toString(16);
  const length = value === 0n ? 0 : Math.ceil(hex.length / 2);
  if (length > 255) {
    throw new TypeError("BigUint requires more than 255 bytes");
  }
  const bytes = new Uint8Array(length);
  const padded = hex.padStart(2 * length, "0");
  for (let i = 0; i < length; i++) {
    bytes[i] = parseInt(padded.slice(2 * i, 2 * i + 2), 16);
  }
  if (isNegative) invert(bytes);
  const body = toChars(bytes);
  if (length <= 8) {
    return String.fromCharCode(ZERO + (isNegative ? -length : length)) + body;
  }
  return isNegative
    ? LONG_NEGATIVE + String.fromCharCode(length ^ 0xff) + body
    : LONG_POSITIVE + String.fromCharCode(length) + body;
}

function invert(bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i]! ^= 0xff;
}

function toChars(bytes: Uint8Array): string {
  let chars = "";
  for (const byte of bytes) chars += String.fromCharCode(byte);
  return chars;
}
