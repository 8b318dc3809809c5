/**
 * One commit: what a store wants to write, and the one atomic operation in
 * which the commits of several stores take effect together.
 *
 * @module
 */
import type { Kv, KvAtomic, KvKey } from "../ports.ts";
import {
  ATOMIC_BYTES,
  CHUNK_BYTES,
  chunksOf,
  deadBlobMarker,
  deadEpochMarker,
  type PendingBlob,
} from "./blobs.ts";
import { encodeSlot, type SlotItem } from "./feed_slot.ts";
import {
  bellKey,
  expiryKey,
  feedKey,
  headKey,
  logKey,
  pastKey,
  pendingKey,
  slotKey,
  type StoreId,
} from "./keys.ts";
import { type BlobRef, encodeBlobRef } from "./blob_ref.ts";
import { encodeHead, type Head } from "./head.ts";
import { entryVersion, type LogEntry } from "./log_entry.ts";
import { encodeRecord } from "./record.ts";

/** Feed slots and feed heads live so long; a server that was away longer checks heads. */
export const FEED_MS: number = 10 * 60 * 1000;
/** An entry up to this size rides in the feed; a larger one is read from the log. */
const FEED_ENTRY_BYTES = 16 * 1024;
/** A slot is one KV value: what does not fit beside the others is read from the log, too. */
const FEED_SLOT_BYTES = 48 * 1024;

/** What one store wants to write. Its parts take effect together, if the head is as it was. */
export interface StoreCommit {
  readonly id: StoreId;
  /** Version stamp of the head that it builds on; null: there must be no head. */
  readonly stamp: string | null;
  /** Nothing is written: the head must only be as it was. */
  readonly isCheckOnly?: boolean;
  /** The new head without the id of the atomic, or null to delete the store. */
  readonly head: Omit<Head, "commitId"> | null;
  /** What the store's next life has to remember of this one, and for how long. */
  readonly past?: {
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly keptMs: number;
  };
  /** Version stamp of what is remembered of the lives before the one that this begins. */
  readonly pastStamp?: string | null;
  /** The epoch that it builds on. */
  readonly epoch: string;
  readonly entry?: LogEntry;
  /** The encoded entry. */
  readonly entryBytes?: Uint8Array<ArrayBuffer>;
  /** Where the entry was written beforehand, because it does not fit into one atomic. */
  readonly entryBlob?: PendingBlob;
  /** A snapshot to flip to, whose chunks are written. */
  readonly flip?: PendingBlob;
  /** Snapshots that the new head leaves unreachable. */
  readonly dropped?: readonly BlobRef[];
  /** Lives that ended before, where records of them may be left. */
  readonly leftEpochs?: readonly string[];
  /** The life of the store that this commit ends by beginning another. */
  readonly endedEpoch?: string;
}

/** Where the commits of a lane are announced to other servers. */
export interface FeedPosition {
  readonly feed: string;
  readonly slot: number;
}

/** Whether the entry has to be written as a blob before the commit. */
export function needsBlob(entryBytes: Uint8Array): boolean {
  return entryBytes.byteLength > ATOMIC_BYTES;
}

/** Builds the atomic operation of some commits. */
export function buildAtomic(
  kv: Kv,
  commits: readonly StoreCommit[],
  { commitId, position }: {
    commitId: string;
    position: FeedPosition | undefined;
  },
): KvAtomic {
  const atomic = kv.atomic();
  for (const commit of commits) addCommit(atomic, commit, commitId);
  if (!position) return atomic;
  const items = commits.filter((commit) =>
    commit.entry || commit.endedEpoch || !commit.head
  );
  if (items.length === 0) return atomic;
  return addSlot(atomic, toFeedItems(items), { commitId, position });
}

/**
 * Builds the atomic operation by which a server says that it wants to write:
 * a slot that names versions which everybody has.
 */
export function buildAsking(
  kv: Kv,
  commits: readonly StoreCommit[],
  options: { commitId: string; position: FeedPosition },
): KvAtomic {
  const items = commits.map(({ id, epoch, entry }) => ({
    namespace: id.namespace,
    name: id.name,
    epoch,
    version: entry?.from ?? 0,
  }));
  return addSlot(kv.atomic(), items, options);
}

function addSlot(
  atomic: KvAtomic,
  items: readonly SlotItem[],
  { commitId, position }: { commitId: string; position: FeedPosition },
): KvAtomic {
  const slot = slotKey(position.feed, position.slot);
  return atomic
    // Whether this atomic took effect can be told by its slot even if commit() throws.
    .check({ key: slot, versionstamp: null })
    .set(slot, encodeSlot(commitId, items), { expireIn: FEED_MS })
    .set(feedKey(position.feed), encodeRecord({ s: position.slot }), {
      expireIn: FEED_MS,
    })
    .sum(bellKey(), 1n);
}

/** Whether the commits write a feed slot. */
export function takesSlot(commits: readonly StoreCommit[]): boolean {
  return commits.some((commit) =>
    commit.entry || commit.endedEpoch || !commit.head
  );
}

function addCommit(
  atomic: KvAtomic,
  commit: StoreCommit,
  commitId: string,
): void {
  const { id, head, epoch } = commit;
  atomic.check({ key: headKey(id), versionstamp: commit.stamp });
  if (commit.isCheckOnly) return;
  if (head) atomic.set(headKey(id), encodeHead({ ...head, commitId }));
  else atomic.delete(headKey(id));
  if (head?.expiresAtMs !== undefined && commit.stamp === null) {
    // Found by the sweep, though nobody should ever use the store again.
    atomic.set(expiryKey(head.expiresAtMs, id), encodeRecord({ e: epoch }));
  }
  if (commit.past) {
    const { bytes, keptMs } = commit.past;
    atomic.set(pastKey(id), bytes, { expireIn: keptMs });
  }
  if (commit.pastStamp !== undefined) {
    atomic.check({ key: pastKey(id), versionstamp: commit.pastStamp });
  }
  const ended = head ? commit.endedEpoch : epoch;
  const left = commit.leftEpochs ?? [];
  for (const over of ended === undefined ? left : [ended, ...left]) {
    atomic.set(pendingKey(over), deadEpochMarker(id, over));
  }
  if (commit.entry && commit.entryBytes) {
    addEntry(atomic, commit, commit.entry, commit.entryBytes);
  }
  if (commit.flip) consume(atomic, commit.flip);
  for (const { id: blob } of commit.dropped ?? []) {
    atomic.set(pendingKey(blob), deadBlobMarker(id, epoch));
  }
}

function addEntry(
  atomic: KvAtomic,
  { id, epoch, entryBlob }: StoreCommit,
  entry: LogEntry,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  const key: KvKey = logKey(id, epoch, entryVersion(entry));
  if (entryBlob) {
    consume(atomic, entryBlob);
    atomic.set(key, encodeBlobRef(entryBlob.ref));
  } else if (bytes.byteLength <= CHUNK_BYTES) {
    atomic.set(key, bytes);
  } else {
    // Named by the version: nothing else of this epoch can have that name.
    const blob = `v${entryVersion(entry)}`;
    const chunks = chunksOf(id, epoch, blob, bytes);
    for (const chunk of chunks) atomic.set(chunk.key, chunk.value);
    atomic.set(
      key,
      encodeBlobRef({
        id: blob,
        chunks: chunks.length,
        bytes: bytes.byteLength,
      }),
    );
  }
}

/** Requires that nobody began to sweep the blob, and makes it reachable for good. */
function consume(atomic: KvAtomic, { ref, markerStamp }: PendingBlob): void {
  atomic
    .check({ key: pendingKey(ref.id), versionstamp: markerStamp })
    .delete(pendingKey(ref.id));
}

function toFeedItems(commits: readonly StoreCommit[]) {
  let room = FEED_SLOT_BYTES;
  return commits.map((commit) => {
    const item = toFeedItem(commit, Math.min(room, FEED_ENTRY_BYTES));
    room -= item.entryBytes?.byteLength ?? 0;
    return item;
  });
}

function toFeedItem(
  { id, head, epoch, entry, entryBytes }: StoreCommit,
  maxBytes: number,
): SlotItem {
  const item = { namespace: id.namespace, name: id.name, epoch };
  if (!head) return { ...item, version: 0, isDeleted: true };
  return {
    ...item,
    epoch: head.epoch,
    version: head.version,
    ...(entry && entryBytes && entryBytes.byteLength <= maxBytes &&
      { entryBytes }),
  };
}
