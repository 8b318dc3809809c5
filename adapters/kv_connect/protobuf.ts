/**
 * As much of Protocol Buffers as KV Connect needs: numbers and bytes by field.
 *
 * @module
 */

/** A message that is being written. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  /** Writes a whole number from 0 up; 0 is what an absent field means. */
  number(field: number, value: number): this {
    if (value === 0) return this;
    return this.#push(new Uint8Array([...varint(field * 8), ...varint(value)]));
  }

  /** Writes bytes, also empty ones. */
  bytes(field: number, value: Uint8Array): this {
    const head = [...varint(field * 8 + 2), ...varint(value.length)];
    return this.#push(new Uint8Array(head)).#push(value);
  }

  /** Writes a message within this one. */
  message(field: number, value: MessageWriter): this {
    return this.bytes(field, value.finish());
  }

  /** The bytes of the message. */
  finish(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  #push(part: Uint8Array): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}

/** The fields of a message that was read; unknown ones are there, too. */
export class MessageReader {
  readonly #numbers = new Map<number, number>();
  readonly #bytes = new Map<number, Uint8Array[]>();

  /** Reads all fields. */
  constructor(bytes: Uint8Array) {
    for (let at = 0; at < bytes.length;) {
      const [tag, afterTag] = readVarint(bytes, at);
      const field = Math.floor(tag / 8);
      const [number, next] = tag % 8 === 0 || tag % 8 === 2
        ? readVarint(bytes, afterTag)
        : [0, afterTag + fixedBytes(tag % 8)];
      at = next;
      if (tag % 8 === 0) this.#numbers.set(field, number);
      if (tag % 8 !== 2) continue;
      at += number;
      if (at > bytes.length) throw corrupt();
      const all = this.#bytes.get(field) ?? [];
      all.push(bytes.subarray(next, at));
      this.#bytes.set(field, all);
    }
  }

  /** The number of a field; 0 where it is absent. */
  number(field: number): number {
    return this.#numbers.get(field) ?? 0;
  }

  /** The bytes of a field; empty where it is absent. */
  bytes(field: number): Uint8Array {
    return this.#bytes.get(field)?.at(-1) ?? new Uint8Array();
  }

  /** All messages of a field that is repeated. */
  messages(field: number): MessageReader[] {
    return (this.#bytes.get(field) ?? []).map((bytes) =>
      new MessageReader(bytes)
    );
  }
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  // Not by shifts: times in milliseconds have more than 32 bits.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    bytes.push(rest % 0x80 + 0x80);
  }
  return [...bytes, rest];
}

function readVarint(bytes: Uint8Array, start: number): [number, number] {
  let value = 0;
  let unit = 1;
  for (let at = start; at < bytes.length; at++, unit *= 0x80) {
    const byte = bytes[at]!; // in range
    value += (byte % 0x80) * unit;
    if (byte < 0x80) return [value, at + 1];
  }
  throw corrupt();
}

function fixedBytes(type: number): number {
  if (type === 1) return 8;
  if (type === 5) return 4;
  throw corrupt();
}

function corrupt(): TypeError {
  return new TypeError("The KV answered with a message that cannot be read");
}
