/**
 * The one record of a store that every commit to it checks: what it is, and its bytes.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Json } from "../../protocol/value.ts";
import type { BlobRef } from "./blob_ref.ts";
import { corrupt, decodeRecord, list, text, uint } from "./record.ts";

/** Where a snapshot is: the encoded state, then the encoded numbers. */
export interface SnapshotRef extends BlobRef {
  readonly version: number;
  readonly stateBytes: number;
  /** Bytes of log that lead to it. */
  readonly logBytes: number;
  /** Log time of `version`; absent in a snapshot that an earlier release took. */
  readonly timeMs?: number;
}

/** The one record that every commit to a store checks. */
export interface Head {
  readonly epoch: string;
  readonly version: number;
  /** Who made `version`; part of resume tokens. */
  readonly writer: string;
  /** Id of the atomic that wrote this head; tells what became of one that threw. */
  readonly commitId: string;
  /** The log holds every version above it, and a snapshot its state. */
  readonly floor: number;
  /** The newest snapshot. */
  readonly snapshot?: SnapshotRef;
  /** Those before it, for whoever asks for the past; the oldest first, none below the floor. */
  readonly older?: readonly SnapshotRef[];
  /** Log time of `version`; never goes back. */
  readonly timeMs: number;
  /** Bytes of all log entries of this epoch so far. */
  readonly logBytes: number;
  /** Whether `onCreate` has taken effect since the creation or the last reset. */
  readonly initialized: boolean;
  /** Whether anything is remembered of the lives before this one. */
  readonly hasPast?: boolean;
  /** When this life began; absent in a head that an earlier release wrote. */
  readonly createdAtMs?: number;
  readonly expiresAtMs?: number;
  /** The epoch whose state this one took over, after the KV was found set back. */
  readonly mintedFrom?: string;
  /** Which shape the state has, as its definition numbers them; absent: 1. */
  readonly schema?: number;
}

/**
 * Encodes a head.
 *
 * @throws {TypeError} if it could not be decoded again: the store would be lost.
 */
export function encodeHead(head: Head): Uint8Array<ArrayBuffer> {
  const record = headToJson(head);
  try {
    headFromJson(record);
  } catch (cause) {
    const message = "Cannot write a head that could not be read again";
    throw new TypeError(message, { cause });
  }
  return encodeJson(record);
}

/** Decodes a head. */
export function decodeHead(value: unknown): Head {
  return headFromJson(decodeRecord(value, "head"));
}

function headToJson(head: Head): { readonly [key: string]: Json } {
  const { snapshot, older = [] } = head;
  return {
    e: head.epoch,
    v: head.version,
    w: head.writer,
    c: head.commitId,
    f: head.floor,
    t: head.timeMs,
    b: head.logBytes,
    i: head.initialized,
    ...(head.hasPast && { p: true }),
    ...(snapshot && { s: snapshotToJson(snapshot) }),
    ...(older.length > 0 && { o: older.map(snapshotToJson) }),
    ...(head.createdAtMs !== undefined && { a: head.createdAtMs }),
    ...(head.expiresAtMs !== undefined && { x: head.expiresAtMs }),
    ...(head.mintedFrom !== undefined && { m: head.mintedFrom }),
    ...(head.schema !== undefined && { g: head.schema }),
  };
}

function headFromJson(r: { readonly [key: string]: Json }): Head {
  const { s, o } = r;
  const head: Head = {
    epoch: text(r["e"]),
    version: uint(r["v"]),
    writer: text(r["w"]),
    commitId: text(r["c"]),
    floor: uint(r["f"]),
    timeMs: uint(r["t"]),
    logBytes: uint(r["b"]),
    initialized: r["i"] === true,
    ...(r["p"] === true && { hasPast: true }),
    ...(s !== undefined && { snapshot: snapshotFromJson(s) }),
    ...(o !== undefined && { older: list(o).map(snapshotFromJson) }),
    ...(r["a"] !== undefined && { createdAtMs: uint(r["a"]) }),
    ...(r["x"] !== undefined && { expiresAtMs: uint(r["x"]) }),
    ...(r["m"] !== undefined && { mintedFrom: text(r["m"]) }),
    ...(r["g"] !== undefined && { schema: uint(r["g"]) }),
  };
  // A range that ends before it begins is thrown by the KV, as if the caller were wrong.
  if ((head.snapshot?.version ?? 0) > head.version) throw corrupt("head");
  let version = -1;
  for (const snapshot of snapshotsOf(head)) {
    if (snapshot.version <= version) throw corrupt("head");
    ({ version } = snapshot);
  }
  return head;
}

/** Every snapshot that the head refers to, the oldest first. */
export function snapshotsOf(
  { older = [], snapshot }: Pick<Head, "older" | "snapshot">,
): readonly SnapshotRef[] {
  return snapshot ? [...older, snapshot] : older;
}

function snapshotToJson(snapshot: SnapshotRef): Json {
  const { id, chunks, bytes, version, stateBytes, logBytes, timeMs } = snapshot;
  const row = [id, chunks, bytes, version, stateBytes, logBytes];
  return timeMs === undefined ? row : [...row, timeMs];
}

function snapshotFromJson(json: Json): SnapshotRef {
  const [id, chunks, bytes, version, stateBytes, logBytes, timeMs] = list(json);
  return {
    id: text(id),
    chunks: uint(chunks),
    bytes: uint(bytes),
    version: uint(version),
    stateBytes: uint(stateBytes),
    logBytes: uint(logBytes),
    ...(timeMs !== undefined && { timeMs: uint(timeMs) }),
  };
}
