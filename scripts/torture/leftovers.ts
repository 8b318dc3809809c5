/**
 * Finds what nothing in a KV refers to.
 *
 * @module
 */
import {
  epochBlobPrefix,
  logPrefix,
  pendingPrefix,
} from "../../server/log/keys.ts";
import { listHeads } from "../../server/log/reader.ts";
import { decodeBlobRef } from "../../server/log/blob_ref.ts";
import { snapshotsOf } from "../../server/log/head.ts";
import type { Kv, KvKey } from "../../server/ports.ts";

const NAMESPACE = "default";
/** Whatever store: only the beginnings of its keys are used. */
const ANY = { namespace: NAMESPACE, name: "" };

/**
 * Keys that nothing refers to: markers, chunks that belong to no snapshot and to
 * no log entry, and logs of stores that are not there. A log may reach below its
 * floor after a crash; that is deleted with the next trim.
 */
export async function* findLeftovers(kv: Kv): AsyncGenerator<KvKey> {
  for await (const { key } of kv.list({ prefix: pendingPrefix() })) yield key;
  const lives = new Map<string, string>();
  const blobs = new Set<string>();
  for await (const { name, head } of listHeads(kv, NAMESPACE)) {
    lives.set(name, head.epoch);
    for (const { id } of snapshotsOf(head)) blobs.add(`${head.epoch} ${id}`);
  }
  const isAlive = (key: KvKey) => lives.get(String(key[3])) === key[4];
  const logs = logPrefix(ANY, "").slice(0, 3);
  for await (
    const { key, value } of kv.list({ prefix: logs }, { batchSize: 500 })
  ) {
    if (!isAlive(key)) yield key;
    const blob = decodeBlobRef(value);
    if (blob) blobs.add(`${String(key[4])} ${blob.id}`);
  }
  const chunks = epochBlobPrefix(ANY, "").slice(0, 3);
  for await (const { key } of kv.list({ prefix: chunks })) {
    const isNeeded = isAlive(key) &&
      blobs.has(`${String(key[4])} ${String(key[5])}`);
    if (!isNeeded) yield key;
  }
}
