/**
 * KV keys as bytes, in an encoding whose order is the order of the keys (the
 * tuple layer of FoundationDB).
 *
 * @module
 */
import type { KvKey, KvKeyPart } from "../../server/ports.ts";

const BYTES = 0x01;
const STRING = 0x02;
const NEGATIVE_LONG = 0x0b;
const ZERO = 0x14;
const POSITIVE_LONG = 0x1d;
const DOUBLE = 0x21;
const FALSE = 0x26;
const TRUE = 0x27;
/** Follows a zero within text or bytes, so that it does not end them. */
const ESCAPE = 0xff;
/** An integer of more bytes has its length before it. */
const SHORT_BYTES = 8;

/** Encodes a key. */
export function encodeKey(key: KvKey): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  for (const part of key) encodePart(part, out);
  return new Uint8Array(out);
}

/** Decodes a key. */
export function decodeKey(bytes: Uint8Array): KvKey {
  const key: KvKeyPart[] = [];
  for (let at = 0; at < bytes.length;) {
    const [part, next] = decodePart(bytes, at);
    key.push(part);
    at = next;
  }
  return key;
}

function encodePart(part: KvKeyPart, out: number[]): void {
  switch (typeof part) {
    case "string":
      return encodeEscaped(STRING, new TextEncoder().encode(part), out);
    case "number":
      return encodeDouble(part, out);
    case "bigint":
      return encodeInteger(part, out);
    case "boolean":
      return void out.push(part ? TRUE : FALSE);
    default:
      if (part instanceof Uint8Array) return encodeEscaped(BYTES, part, out);
      throw new TypeError(`A KV key cannot hold a ${typeof part}`);
  }
}

function encodeEscaped(tag: number, bytes: Uint8Array, out: number[]): void {
  out.push(tag);
  for (const byte of bytes) {
    out.push(byte);
    if (byte === 0) out.push(ESCAPE);
  }
  out.push(0);
}

function encodeDouble(value: number, out: number[]): void {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const isNegative = view.getUint8(0) >= 0x80;
  out.push(DOUBLE);
  for (let i = 0; i < 8; i++) {
    const byte = view.getUint8(i);
    out.push(isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte);
  }
}

function encodeInteger(value: bigint, out: number[]): void {
  const isNegative = value < 0n;
  const bytes: number[] = [];
  for (let rest = isNegative ? -value : value; rest > 0n; rest >>= 8n) {
    bytes.unshift(Number(rest & 0xffn));
  }
  const { length } = bytes;
  if (length > 255) {
    throw new RangeError("A KV key cannot hold an integer of over 255 bytes");
  }
  if (length <= SHORT_BYTES) {
    out.push(isNegative ? ZERO - length : ZERO + length);
  } else if (isNegative) out.push(NEGATIVE_LONG, length ^ 0xff);
  else out.push(POSITIVE_LONG, length);
  for (const byte of bytes) out.push(isNegative ? byte ^ 0xff : byte);
}

/** The part at `at`, and where the next one begins. */
function decodePart(bytes: Uint8Array, at: number): [KvKeyPart, number] {
  const tag = bytes[at++];
  if (tag === undefined) throw corrupt();
  if (tag === FALSE || tag === TRUE) return [tag === TRUE, at];
  if (tag === STRING || tag === BYTES) {
    const [data, next] = decodeEscaped(bytes, at);
    return [tag === BYTES ? data : new TextDecoder().decode(data), next];
  }
  if (tag === DOUBLE) return [decodeDouble(take(bytes, at, 8)), at + 8];
  if (tag < NEGATIVE_LONG || tag > POSITIVE_LONG) throw corrupt();
  const isNegative = tag < ZERO;
  let length = Math.abs(tag - ZERO);
  if (length > SHORT_BYTES) {
    length = take(bytes, at++, 1)[0]! ^ (isNegative ? 0xff : 0); // one byte
  }
  let value = 0n;
  for (const byte of take(bytes, at, length)) {
    value = (value << 8n) | BigInt(isNegative ? byte ^ 0xff : byte);
  }
  return [isNegative ? -value : value, at + length];
}

function decodeEscaped(
  bytes: Uint8Array,
  start: number,
): [Uint8Array<ArrayBuffer>, number] {
  const out: number[] = [];
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]!; // in range
    if (byte !== 0) out.push(byte);
    else if (bytes[at + 1] !== ESCAPE) return [new Uint8Array(out), at + 1];
    else {
      out.push(0);
      at++;
    }
  }
  throw corrupt();
}

function decodeDouble(bytes: Uint8Array): number {
  const isNegative = (bytes[0] ?? 0) < 0x80;
  const view = new DataView(new ArrayBuffer(8));
  for (const [i, byte] of bytes.entries()) {
    view.setUint8(i, isNegative ? byte ^ 0xff : i === 0 ? byte ^ 0x80 : byte);
  }
  return view.getFloat64(0);
}

function take(bytes: Uint8Array, at: number, length: number): Uint8Array {
  if (at + length > bytes.length) throw corrupt();
  return bytes.subarray(at, at + length);
}

function corrupt(): TypeError {
  return new TypeError("The KV answered with a key that cannot be read");
}
