/**
 * MessagePack that no honest encoder writes: values with bytes put in as they
 * are, maps with the same key twice or with keys of any kind.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";

/** A value that is to be written; bytes are written as they are, whatever they say. */
export type Draft =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Draft[]
  | DraftMap;

/** A map whose entries can be edited one by one. */
export class DraftMap {
  /** Keys and values, in the order in which they are written. */
  readonly entries: [key: Draft, value: Draft][];

  /** A map of these entries. */
  constructor(entries: [key: Draft, value: Draft][]) {
    this.entries = entries;
  }
}

/** A draft of its own that writes what `value` says. */
export function toDraft(value: Json | undefined): Draft {
  if (value === undefined) return null;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item: Json) => toDraft(item));
  const entries: [Draft, Draft][] = [];
  for (const [key, member] of Object.entries(value)) {
    entries.push([key, toDraft(member)]);
  }
  return new DraftMap(entries);
}

/** Writes drafts; its buffer is used again. */
export class DraftWriter {
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  readonly #utf8 = new TextEncoder();

  /** The bytes of a draft. */
  write(draft: Draft): Uint8Array<ArrayBuffer> {
    this.#at = 0;
    this.#value(draft);
    return this.#bytes.slice(0, this.#at);
  }

  #value(draft: Draft): void {
    if (typeof draft === "string") return this.#text(draft);
    if (typeof draft === "number") return this.#number(draft);
    if (draft === null) return this.#byte(0xc0);
    if (typeof draft === "boolean") return this.#byte(draft ? 0xc3 : 0xc2);
    if (draft instanceof Uint8Array) return this.#raw(draft);
    if (Array.isArray(draft)) {
      this.#count(draft.length, 0x90, 0xdc);
      for (const item of draft) this.#value(item);
      return;
    }
    this.#count(draft.entries.length, 0x80, 0xde);
    for (const [key, value] of draft.entries) {
      this.#value(key);
      this.#value(value);
    }
  }

  #text(text: string): void {
    this.#reserve(text.length * 3 + 5);
    // Written behind the longest header first: how many bytes it takes is known only then.
    const { written } = this.#utf8.encodeInto(
      text,
      this.#bytes.subarray(this.#at + 5),
    );
    const start = this.#at + 5;
    if (written < 32) this.#byte(0xa0 | written);
    else if (written < 256) {
      this.#byte(0xd9);
      this.#byte(written);
    } else if (written < 65_536) this.#head(0xda, written, 2);
    else this.#head(0xdb, written, 4);
    this.#bytes.copyWithin(this.#at, start, start + written);
    this.#at += written;
  }

  #number(number: number): void {
    if (Number.isInteger(number) && !Object.is(number, -0)) {
      if (number >= 0 && number < 128) return this.#byte(number);
      if (number >= 0 && number < 2 ** 16) return this.#head(0xcd, number, 2);
      if (number >= 0 && number < 2 ** 32) return this.#head(0xce, number, 4);
      if (number < 0 && number >= -32) return this.#byte(number & 0xff);
    }
    this.#reserve(9);
    this.#byte(0xcb);
    this.#view.setFloat64(this.#at, number);
    this.#at += 8;
  }

  #count(count: number, few: number, many: number): void {
    if (count < 16) this.#byte(few | count);
    else if (count < 65_536) this.#head(many, count, 2);
    else this.#head(many + 1, count, 4);
  }

  #head(type: number, number: number, size: 2 | 4): void {
    this.#reserve(5);
    this.#byte(type);
    if (size === 2) this.#view.setUint16(this.#at, number);
    else this.#view.setUint32(this.#at, number);
    this.#at += size;
  }

  #byte(byte: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = byte;
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const larger = new Uint8Array((this.#at + length) * 2);
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
