/**
 * Snapshots and the end of the log. Taking a snapshot keeps loading quick;
 * trimming decides how far back history and resumes reach. They are two things:
 * the floor is never above the snapshot, but may be far below.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Kv } from "../ports.ts";
import { deleteRange, readBlob } from "./blobs.ts";
import {
  blobPrefix,
  lastNumber,
  logKey,
  logPrefix,
  type StoreId,
} from "./keys.ts";
import type { WriteNumbers } from "./numbers.ts";
import {
  decodeBlobRef,
  decodeEntry,
  entryVersion,
  type Head,
} from "./records.ts";

/**
 * How much of a store's past is kept: whichever is least. The log is trimmed when a
 * snapshot is taken, which it is once it has outgrown the last one and 64 KiB.
 */
export interface History {
  /** Newest versions. @default 1000 */
  readonly versions: number;
  /** Milliseconds. @default 7 days */
  readonly ageMs: number;
  /** Bytes of log. @default 16 MiB */
  readonly bytes: number;
}

/** What is kept unless a store says otherwise. */
export const DEFAULT_HISTORY: History = {
  versions: 1_000,
  ageMs: 7 * 24 * 60 * 60 * 1000,
  bytes: 16 * 1024 * 1024,
};

/** A log shorter than this is not worth a snapshot. */
const LOG_BYTES_MIN = 64 * 1024;

/** A store's state and numbers as the bytes of a snapshot. */
export interface EncodedSnapshot {
  readonly bytes: Uint8Array;
  readonly stateBytes: number;
}

/** Encodes a snapshot; `state` is the encoded state. */
export function encodeStoreSnapshot(
  state: Uint8Array,
  numbers: WriteNumbers,
): EncodedSnapshot {
  const table = encodeJson(numbers.toJson());
  const bytes = new Uint8Array(state.byteLength + table.byteLength);
  bytes.set(state);
  bytes.set(table, state.byteLength);
  return { bytes, stateBytes: state.byteLength };
}

/**
 * Whether the log has outgrown the snapshot: then writing another costs no more
 * than what was written since, and loading stays within twice the state.
 */
export function isSnapshotDue(
  { logBytes, snapshot }: Pick<Head, "logBytes" | "snapshot">,
): boolean {
  return logBytes - (snapshot?.logBytes ?? 0) >
    Math.max(LOG_BYTES_MIN, snapshot?.bytes ?? 0);
}

/** How far the floor may rise. Reads only what may be trimmed, and one entry more. */
export async function nextFloor(
  kv: Kv,
  id: StoreId,
  head: Omit<Head, "commitId">,
  { history, nowMs }: { history: History; nowMs: number },
): Promise<number> {
  let floor = head.floor;
  const range = kv.list({
    start: logKey(id, head.epoch, head.floor + 1),
    end: logKey(id, head.epoch, (head.snapshot?.version ?? 0) + 1),
  }, { batchSize: 50 });
  for await (const item of range) {
    const blob = decodeBlobRef(item.value);
    const bytes = blob ? await readBlob(kv, id, head.epoch, blob) : item.value;
    if (!bytes) break;
    const entry = decodeEntry(bytes);
    const isKept = head.version - entry.from <= history.versions &&
      head.logBytes - entry.bytesBefore <= history.bytes &&
      entry.timeMs >= nowMs - history.ageMs;
    if (isKept) break;
    floor = entryVersion(entry);
  }
  return floor;
}

/** Deletes the entries at and below the head's floor, with their chunks. */
export async function trimLog(
  kv: Kv,
  id: StoreId,
  head: Omit<Head, "commitId">,
): Promise<void> {
  const end = logKey(id, head.epoch, head.floor + 1);
  for await (
    const item of kv.list({ prefix: logPrefix(id, head.epoch), end })
  ) {
    const blob = decodeBlobRef(item.value);
    if (blob && lastNumber(item.key) <= head.floor) {
      await deleteRange(kv, blobPrefix(id, head.epoch, blob.id));
    }
  }
  await deleteRange(kv, logPrefix(id, head.epoch), end);
}
