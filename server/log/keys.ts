/**
 * The KV keys: the one place where they are built and taken apart.
 *
 * Everything lies under one prefix. Store keys carry the namespace from the
 * first day; log and snapshot keys carry the epoch too, so that a store which
 * is deleted and created again never meets what its earlier life left behind.
 *
 * @module
 */
import type { KvKey, KvKeyPart } from "../ports.ts";

const PREFIX = "hw";

/** Identifies one store of one namespace. */
export interface StoreId {
  readonly namespace: string;
  readonly name: string;
}

/** One string for a store, for maps; a name cannot contain the separator. */
export function storeKey(id: StoreId): string {
  return `${id.namespace}\u0000${id.name}`;
}

/** What every commit to the store checks and sets. */
export function headKey(id: StoreId): KvKey {
  return [PREFIX, "head", id.namespace, id.name];
}

/** Prefix of the heads of a namespace. */
export function headPrefix(namespace: string): KvKey {
  return [PREFIX, "head", namespace];
}

/** The log entry whose last version is `version`. */
export function logKey(id: StoreId, epoch: string, version: number): KvKey {
  return [...logPrefix(id, epoch), version];
}

/** Prefix of the log of one life of a store. */
export function logPrefix(id: StoreId, epoch: string): KvKey {
  return [...epochLogsPrefix(id), epoch];
}

/** Prefix of the logs of all lives of a store. */
export function epochLogsPrefix({ namespace, name }: StoreId): KvKey {
  return [PREFIX, "log", namespace, name];
}

/** Chunk `index` of a snapshot or of a large log entry. */
export function chunkKey(
  id: StoreId,
  epoch: string,
  blob: string,
  index: number,
): KvKey {
  return [...blobPrefix(id, epoch, blob), index];
}

/** Prefix of all chunks of one blob. */
export function blobPrefix(id: StoreId, epoch: string, blob: string): KvKey {
  return [...epochBlobPrefix(id, epoch), blob];
}

/** Prefix of all chunks of one life of a store. */
export function epochBlobPrefix(id: StoreId, epoch: string): KvKey {
  return [...epochBlobsPrefix(id), epoch];
}

/** Prefix of the chunks of all lives of a store. */
export function epochBlobsPrefix({ namespace, name }: StoreId): KvKey {
  return [PREFIX, "blob", namespace, name];
}

/** The life that a key belongs to, which lies under one of these two prefixes. */
export function epochOf(key: KvKey, prefix: KvKey): string {
  return String(key[prefix.length]);
}

/** Says that chunks are being written, or wait to be swept. */
export function pendingKey(blob: string): KvKey {
  return [...pendingPrefix(), blob];
}

/** Prefix of all markers. */
export function pendingPrefix(): KvKey {
  return [PREFIX, "pending"];
}

/** Slot of a feed: what one atomic of that lane committed. */
export function slotKey(feed: string, slot: number): KvKey {
  return [...slotPrefix(feed), slot];
}

/** Prefix of the slots of a feed. */
export function slotPrefix(feed: string): KvKey {
  return [PREFIX, "slot", feed];
}

/** Last slot of a feed. */
export function feedKey(feed: string): KvKey {
  return [...feedPrefix(), feed];
}

/** Prefix of the last slots of all feeds. */
export function feedPrefix(): KvKey {
  return [PREFIX, "feed"];
}

/** Counter that wakes the watchers of other servers. */
export function bellKey(): KvKey {
  return [PREFIX, "bell"];
}

/** The recorded answer of a call of a function with `once`. */
export function answerKey(
  namespace: string,
  session: string,
  call: number,
): KvKey {
  return [PREFIX, "answer", namespace, session, call];
}

/** What is remembered of the writes to lives of the store that have ended. */
export function pastKey({ namespace, name }: StoreId): KvKey {
  return [PREFIX, "past", namespace, name];
}

/** How many subscribers of a store each server has. */
export function interestKey({ namespace, name }: StoreId): KvKey {
  return [...interestPrefix(), namespace, name];
}

/** Prefix of the subscribers of all stores. */
export function interestPrefix(): KvKey {
  return [PREFIX, "interest"];
}

/** The store of an interest key. */
export function interestStore(key: KvKey): StoreId {
  const [namespace, name] = key.slice(-2);
  return { namespace: String(namespace), name: String(name) };
}

/** Shows that a server is alive, for as long as it changes. */
export function leaseKey(server: string): KvKey {
  return [...leasePrefix(), server];
}

/** Prefix of the leases of all servers. */
export function leasePrefix(): KvKey {
  return [PREFIX, "lease"];
}

/** Held by whoever ends a life of the store, while its hook runs. */
export function claimKey({ namespace, name }: StoreId): KvKey {
  return [PREFIX, "claim", namespace, name];
}

/** Says that the store is to end at that time; sorted by it. */
export function expiryKey(ms: number, { namespace, name }: StoreId): KvKey {
  return [...expiryPrefix(), ms, namespace, name];
}

/** Prefix of the times at which stores are to end. */
export function expiryPrefix(): KvKey {
  return [PREFIX, "expiry"];
}

/** The range of the heads of a namespace whose names begin with `prefix`, which ends in ":". */
export function headRange(
  namespace: string,
  prefix: string,
): { start: KvKey; end: KvKey } {
  const key = headPrefix(namespace);
  // ";" is what comes after ":": every name that begins with the prefix lies before it.
  const end = `${prefix.slice(0, -1)};`;
  return { start: [...key, prefix], end: [...key, end] };
}

/** Counts the times that users or clients were to be asked again who they are. */
export function revisionKey(): KvKey {
  return [PREFIX, "revoked"];
}

/** One of these times. */
export function revocationKey(id: string): KvKey {
  return [...revisionKey(), id];
}

/** The secret that signs session tokens. */
export function secretKey(): KvKey {
  return [PREFIX, "secret"];
}

/** The last part of a key, of which the caller knows that it is a number. */
export function lastNumber(key: KvKey): number {
  return Number(lastPart(key));
}

/** The last part of a key, of which the caller knows that it is a string. */
export function lastString(key: KvKey): string {
  return String(lastPart(key));
}

function lastPart(key: KvKey): KvKeyPart | undefined {
  return key[key.length - 1];
}
