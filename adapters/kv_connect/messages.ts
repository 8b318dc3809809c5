/**
 * The questions and answers of KV Connect as bytes.
 *
 * @module
 */
import type { KvEntry } from "../../server/ports.ts";
import { decodeKey } from "./keys.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";

/** Keys from `start` up to, and without, `end`, encoded. */
export interface ReadRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly limit: number;
  readonly reverse: boolean;
}

/** A condition of a write; no versionstamp: the key must be absent. */
export interface Check {
  readonly key: Uint8Array;
  readonly versionstamp: string | null;
}

/** One change. */
export interface Mutation {
  readonly key: Uint8Array;
  readonly kind: "set" | "delete" | "sum";
  readonly value?: Uint8Array | bigint;
  readonly expireAtMs?: number;
}

/** An entry, and its key as it was read. */
export interface RawEntry {
  readonly rawKey: Uint8Array;
  readonly entry: KvEntry;
}

const READ_DISABLED = 2;
const WRITE_SUCCESS = 1;
const WRITE_CHECK_FAILED = 2;
const ENCODING_U64 = 2;
const ENCODING_BYTES = 3;
const MUTATION_TYPES = { set: 1, delete: 2, sum: 3 } as const;

/** A counter, as `Deno.KvU64` is one where there is no Deno. */
export class KvU64 {
  /** What it counts, from 0 to 2 to the 64, without that. */
  readonly value: bigint;

  /** A counter of that value. */
  constructor(value: bigint) {
    this.value = value;
  }
}

/** Asks for ranges at one moment. */
export function encodeRead(
  ranges: readonly ReadRange[],
): Uint8Array<ArrayBuffer> {
  const message = new MessageWriter();
  for (const { start, end, limit, reverse } of ranges) {
    message.message(
      1,
      new MessageWriter().bytes(1, start).bytes(2, end).number(3, limit)
        .number(4, reverse ? 1 : 0),
    );
  }
  return message.finish();
}

/** The entries of each range that was asked for. */
export function decodeRead(bytes: Uint8Array, count: number): RawEntry[][] {
  const message = new MessageReader(bytes);
  const ranges = message.messages(1);
  const isDisabled = message.number(2) !== 0 ||
    message.number(8) === READ_DISABLED;
  if (isDisabled || ranges.length !== count) {
    throw new Error("The KV does not serve reads now");
  }
  if (message.number(4) === 0) {
    throw new Error("The KV has answered with what may be out of date");
  }
  return ranges.map((range) => range.messages(1).map(toEntry));
}

/** Asks for a write. */
export function encodeWrite(
  checks: readonly Check[],
  mutations: readonly Mutation[],
): Uint8Array<ArrayBuffer> {
  const message = new MessageWriter();
  for (const { key, versionstamp } of checks) {
    const stamp = versionstamp === null
      ? new Uint8Array()
      : fromHex(versionstamp);
    message.message(1, new MessageWriter().bytes(1, key).bytes(2, stamp));
  }
  for (const { key, kind, value, expireAtMs = 0 } of mutations) {
    message.message(
      2,
      new MessageWriter().bytes(1, key).message(2, toValue(value))
        .number(3, MUTATION_TYPES[kind]).number(4, expireAtMs),
    );
  }
  return message.finish();
}

/** What became of a write. */
export function decodeWrite(
  bytes: Uint8Array,
): { ok: true; versionstamp: string } | { ok: false } {
  const message = new MessageReader(bytes);
  switch (message.number(1)) {
    case WRITE_SUCCESS:
      return { ok: true, versionstamp: toHex(message.bytes(2)) };
    case WRITE_CHECK_FAILED:
      return { ok: false };
    default:
      throw new Error("The KV does not serve writes now");
  }
}

/** Asks to be told of changes. */
export function encodeWatch(
  keys: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const message = new MessageWriter();
  for (const key of keys) message.message(1, new MessageWriter().bytes(1, key));
  return message.finish();
}

/** Of each key undefined where it is as it was, null where it is absent, else its entry. */
export function decodeWatch(
  bytes: Uint8Array,
): (KvEntry | null | undefined)[] {
  const message = new MessageReader(bytes);
  if (message.number(1) === READ_DISABLED) {
    throw new Error("The KV does not serve reads now");
  }
  return message.messages(2).map((key) => {
    if (key.number(1) === 0) return undefined;
    const [entry] = key.messages(2);
    return entry ? toEntry(entry).entry : null;
  });
}

function toEntry(message: MessageReader): RawEntry {
  const rawKey = message.bytes(1);
  return {
    rawKey,
    entry: {
      key: decodeKey(rawKey),
      value: fromValue(message.bytes(2), message.number(3)),
      versionstamp: toHex(message.bytes(4)),
    },
  };
}

function toValue(value: Uint8Array | bigint | undefined): MessageWriter {
  if (typeof value !== "bigint") {
    return new MessageWriter().bytes(1, value ?? new Uint8Array())
      .number(2, ENCODING_BYTES);
  }
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return new MessageWriter().bytes(1, bytes).number(2, ENCODING_U64);
}

function fromValue(bytes: Uint8Array, encoding: number): unknown {
  // A copy: a view would keep the whole answer in memory.
  if (encoding === ENCODING_BYTES) return bytes.slice();
  if (encoding === ENCODING_U64 && bytes.length === 8) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return new KvU64(view.getBigUint64(0, true));
  }
  throw new TypeError("A value in the KV is neither bytes nor a counter");
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(
    hex.match(/../g) ?? [],
    (byte) => Number.parseInt(byte, 16),
  );
}
