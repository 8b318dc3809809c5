/**
 * Snapshots and large log entries as immutable chunks, and the markers that
 * keep half-written ones from being lost or from staying for ever.
 *
 * A marker is written before the first chunk. The commit that makes the blob
 * reachable checks the marker and removes it. The sweep first turns a marker
 * into a dead one, atomically, so that nobody can flip to chunks which are
 * being swept; then it removes the chunks, then the marker.
 *
 * @module
 */
import type { Kv, KvEntry, KvKey, Random } from "../ports.ts";
import {
  blobPrefix,
  chunkKey,
  epochBlobPrefix,
  lastNumber,
  lastString,
  logPrefix,
  pendingKey,
  pendingPrefix,
  type StoreId,
} from "./keys.ts";
import type { BlobRef } from "./blob_ref.ts";
import { corrupt, decodeRecord, encodeRecord, text } from "./record.ts";
import { newId } from "./ids.ts";

/** A KV value holds 64 KiB; the rest is room for its own overhead. */
export const CHUNK_BYTES: number = 60 * 1024;
/** An atomic holds 800 KiB with keys; the rest is margin. */
export const ATOMIC_BYTES: number = 700 * 1024;
/** Keys of one atomic; Deno KV takes 1,000. */
export const ATOMIC_KEYS = 500;

/** A blob whose writer is that long without its flip is taken for abandoned. */
export const BLOB_GRACE_MS: number = 10 * 60 * 1000;

/** A blob that was written and waits for the commit that makes it reachable. */
export interface PendingBlob {
  readonly ref: BlobRef;
  /** The commit must find the marker unchanged. */
  readonly markerStamp: string;
}

/** The keys and values of a blob's chunks. */
export function chunksOf(
  id: StoreId,
  epoch: string,
  blob: string,
  bytes: Uint8Array,
): { key: KvKey; value: Uint8Array }[] {
  const chunks = [];
  for (
    let at = 0, index = 0;
    at < bytes.byteLength;
    at += CHUNK_BYTES, index++
  ) {
    chunks.push({
      key: chunkKey(id, epoch, blob, index),
      value: bytes.subarray(at, at + CHUNK_BYTES),
    });
  }
  return chunks;
}

/** Writes a blob that does not fit into one atomic: marker, then chunks. */
export async function writeBlob(
  kv: Kv,
  random: Random,
  store: { id: StoreId; epoch: string; bytes: Uint8Array },
): Promise<PendingBlob> {
  const blob = newId(random);
  const { id, epoch, bytes } = store;
  const marked = await kv.atomic()
    .check({ key: pendingKey(blob), versionstamp: null })
    .set(
      pendingKey(blob),
      encodeRecord({ k: "new", n: id.namespace, s: id.name, e: epoch }),
    )
    .commit();
  // Nobody else has that name: a remote KV's client has sent it twice. The next try takes another one.
  if (!marked.ok) throw new Error(`The marker of blob ${blob} is in doubt`);
  const chunks = chunksOf(id, epoch, blob, bytes);
  const perAtomic = Math.floor(ATOMIC_BYTES / CHUNK_BYTES);
  for (let first = 0; first < chunks.length; first += perAtomic) {
    const atomic = kv.atomic()
      .check({ key: pendingKey(blob), versionstamp: marked.versionstamp });
    for (const { key, value } of chunks.slice(first, first + perAtomic)) {
      atomic.set(key, value);
    }
    // Chunks that come after the sweep would stay for ever.
    if (!(await atomic.commit()).ok) throw new Error(`Blob ${blob} was swept`);
  }
  return {
    ref: { id: blob, chunks: chunks.length, bytes: bytes.byteLength },
    markerStamp: marked.versionstamp,
  };
}

/** Reads a blob; undefined where a chunk is missing. */
export async function readBlob(
  kv: Kv,
  id: StoreId,
  epoch: string,
  ref: BlobRef,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  // Not allocated before it is there: a corrupt reference may speak of any size.
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (
    const entry of kv.list({ prefix: blobPrefix(id, epoch, ref.id) })
  ) {
    const chunk = entry.value;
    if (
      !(chunk instanceof Uint8Array) ||
      lastNumber(entry.key) !== chunks.length
    ) return undefined;
    length += chunk.byteLength;
    if (length > ref.bytes) throw corrupt(`blob ${ref.id}`);
    chunks.push(chunk);
  }
  if (chunks.length !== ref.chunks || length !== ref.bytes) return undefined;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** The marker value for chunks that nothing refers to any more. */
export function deadBlobMarker(
  id: StoreId,
  epoch: string,
): Uint8Array<ArrayBuffer> {
  return encodeRecord({ k: "dead", n: id.namespace, s: id.name, e: epoch });
}

/** The marker value for everything that a deleted life of a store left behind. */
export function deadEpochMarker(
  id: StoreId,
  epoch: string,
): Uint8Array<ArrayBuffer> {
  return encodeRecord({ k: "epoch", n: id.namespace, s: id.name, e: epoch });
}

/** Removes what crashed writers and finished compactions left behind. */
export class Sweeper {
  readonly #kv: Kv;
  readonly #monotonic: () => number;
  readonly #graceMs: number;
  /** When this server first saw a marker: clocks of other servers may differ. */
  readonly #seen = new Map<string, number>();

  /** `graceMs`: how long a writer may take between its marker and its flip. */
  constructor(kv: Kv, monotonic: () => number, graceMs: number) {
    this.#kv = kv;
    this.#monotonic = monotonic;
    this.#graceMs = graceMs;
  }

  /** Sweeps once. */
  async sweep(): Promise<void> {
    const present = new Set<string>();
    const now = this.#monotonic();
    const failures: unknown[] = [];
    for await (const marker of this.#kv.list({ prefix: pendingPrefix() })) {
      const blob = lastString(marker.key);
      present.add(blob);
      const firstSeen = this.#seen.get(blob) ?? now;
      this.#seen.set(blob, firstSeen);
      try {
        const { k } = decodeRecord(marker.value, "marker");
        const isStale = k !== "new" || now - firstSeen >= this.#graceMs;
        if (isStale) await this.#remove(marker);
      } catch (error) {
        // One marker that cannot be read must not keep the others for ever.
        failures.push(error);
      }
    }
    for (const blob of this.#seen.keys()) {
      if (!present.has(blob)) this.#seen.delete(blob);
    }
    if (failures.length > 0) throw failures[0];
  }

  async #remove(marker: KvEntry): Promise<void> {
    const blob = lastString(marker.key);
    const record = decodeRecord(marker.value, "marker");
    const id = { namespace: text(record["n"]), name: text(record["s"]) };
    const epoch = text(record["e"]);
    if (record["k"] === "new") {
      // Its writer may be alive after all: only who wins this check may go on.
      const dead = await this.#kv.atomic()
        .check({ key: marker.key, versionstamp: marker.versionstamp })
        .set(marker.key, deadBlobMarker(id, epoch))
        .commit();
      if (!dead.ok) return;
    }
    if (record["k"] === "epoch") {
      await deleteRange(this.#kv, logPrefix(id, epoch));
      await deleteRange(this.#kv, epochBlobPrefix(id, epoch));
    } else {
      await deleteRange(this.#kv, blobPrefix(id, epoch, blob));
    }
    await this.#kv.atomic().delete(marker.key).commit();
  }
}

/** Deletes every key under a prefix, up to and without `end` where it is given. */
export async function deleteRange(
  kv: Kv,
  prefix: KvKey,
  end?: KvKey,
): Promise<void> {
  for (;;) {
    const atomic = kv.atomic();
    let count = 0;
    const selector = end ? { prefix, end } : { prefix };
    for await (const entry of kv.list(selector, { limit: ATOMIC_KEYS })) {
      atomic.delete(entry.key);
      count++;
    }
    if (count === 0) return;
    await atomic.commit();
    if (count < ATOMIC_KEYS) return;
  }
}
