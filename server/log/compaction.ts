/**
 * Snapshots and the end of the log. Taking a snapshot keeps loading quick;
 * trimming decides how far back history and resumes reach. They are two things:
 * the floor is never above the newest snapshot, but may be far below, at an older
 * one. So every version from the floor on can be built again.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Kv } from "../ports.ts";
import { deleteRange } from "./blobs.ts";
import {
  blobPrefix,
  lastNumber,
  logKey,
  logPrefix,
  type StoreId,
} from "./keys.ts";
import type { WriteNumbers } from "./numbers.ts";
import { decodeBlobRef } from "./blob_ref.ts";
import { type Head, type SnapshotRef, snapshotsOf } from "./head.ts";

/**
 * How much of a store's past is kept at least: whichever is least. It begins with a
 * snapshot, which is taken once the log has outgrown the last one and 64 KiB: up to
 * so much more is kept.
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

/** Snapshots that are kept beside the newest one; each commit writes where they are. */
const OLDER_SNAPSHOTS = 16;
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

/** How a head is changed by a snapshot or by a floor, and what it then does not refer to any more. */
export interface SnapshotChange {
  readonly head: Pick<Head, "older" | "snapshot"> & { readonly floor?: number };
  readonly dropped: readonly SnapshotRef[];
}

/**
 * How far the floor may rise: to the newest snapshot before which everything is
 * beyond what is kept. Only there, since the versions between the floor and a
 * snapshot above it would be in the log, and nobody could tell their state.
 */
export function nextFloor(
  head: Omit<Head, "commitId">,
  { history, nowMs }: { history: History; nowMs: number },
): number {
  const reached = snapshotsOf(head).findLast((snapshot) =>
    head.version - snapshot.version >= history.versions ||
    head.logBytes - snapshot.logBytes >= history.bytes ||
    // One that an earlier release took has no time: the next one has.
    (snapshot.timeMs ?? Infinity) < nowMs - history.ageMs
  );
  return Math.max(head.floor, reached?.version ?? 0);
}

/**
 * Puts a snapshot into the head. The one before it becomes an older one; where
 * these are too many, the one goes whose absence is felt the least.
 */
export function addSnapshot(
  head: Omit<Head, "commitId">,
  snapshot: SnapshotRef,
): SnapshotChange {
  const older = [...snapshotsOf(head)];
  const dropped: SnapshotRef[] = [];
  while (older.length > OLDER_SNAPSHOTS) {
    dropped.push(...older.splice(leastFelt(older, head.floor, snapshot), 1));
  }
  return { head: { snapshot, older }, dropped };
}

/** Raises the floor to where {@linkcode nextFloor} says. */
export function raiseFloor(
  head: Omit<Head, "commitId">,
  floor: number,
): SnapshotChange {
  const isBelow = ({ version }: SnapshotRef) => version < floor;
  const { older = [] } = head;
  return {
    head: { floor, older: older.filter((snapshot) => !isBelow(snapshot)) },
    dropped: older.filter(isBelow),
  };
}

/** The one between whose neighbours there is the least to replay. */
function leastFelt(
  older: readonly SnapshotRef[],
  floor: number,
  newest: SnapshotRef,
): number {
  let least = { index: older.length - 1, bytes: Infinity };
  for (const [index, { version }] of older.entries()) {
    // Without it the log above the floor would begin with a state that nobody knows.
    if (version === floor) continue;
    const before = older[index - 1]?.logBytes ?? 0;
    const bytes = (older[index + 1] ?? newest).logBytes - before;
    if (bytes < least.bytes) least = { index, bytes };
  }
  return least.index;
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
