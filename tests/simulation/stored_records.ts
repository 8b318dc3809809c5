/**
 * Reads what the KV holds of the stores, directly, and by what its records say alone.
 *
 * @module
 */
import type { KvDatabase } from "../../adapters/testing/simulated_kv.ts";
import { decodeJson } from "../../protocol/codec.ts";
import { blobPrefix, logPrefix } from "../../server/log/keys.ts";
import { type BlobRef, decodeBlobRef } from "../../server/log/blob_ref.ts";
import {
  decodeHead,
  type Head,
  type SnapshotRef,
} from "../../server/log/head.ts";
import { decodeEntry, type LogEntry } from "../../server/log/log_entry.ts";
import type { KvKey } from "../../server/ports.ts";
import type { Ledger } from "./application.ts";
import { Breach } from "./breach.ts";

/** The only namespace of the application. */
const NAMESPACE = "default";

/** See the module's documentation. */
export class StoredRecords {
  readonly #kv: KvDatabase;

  /** Those of a KV. */
  constructor(kv: KvDatabase) {
    this.#kv = kv;
  }

  /** The last version that the log of an epoch has; none above `from`: that one. */
  endOfLog(name: string, epoch: string, from: number): number {
    let end = from;
    const id = { namespace: NAMESPACE, name };
    for (const { key } of this.#kv.entries(logPrefix(id, epoch))) {
      end = Math.max(end, Number(key.at(-1)));
    }
    return end;
  }

  /** The head of a store; undefined where it does not exist. */
  headOf(name: string): Head | undefined {
    for (const { key, value } of this.#kv.entries(["hw", "head", NAMESPACE])) {
      if (key[3] === name) return decodeHead(value);
    }
    return undefined;
  }

  /** The entry that a value of the log stands for. */
  entryOf(key: KvKey, value: unknown): LogEntry {
    const blob = decodeBlobRef(value);
    if (!blob) return decodeEntry(value);
    return decodeEntry(this.#bytesOf(String(key[3]), String(key[4]), blob));
  }

  /** The state that a snapshot holds. */
  snapshotOf(
    name: string,
    { epoch }: Head,
    snapshot: SnapshotRef | undefined,
  ): Ledger {
    if (!snapshot) {
      throw new Breach(`An epoch of ${name} begins without a state`);
    }
    const bytes = this.#bytesOf(name, epoch, snapshot);
    const state = decodeJson(bytes.subarray(0, snapshot.stateBytes));
    return state as unknown as Ledger; // the application's stores have no other
  }

  #bytesOf(name: string, epoch: string, blob: BlobRef): Uint8Array {
    const id = { namespace: NAMESPACE, name };
    const chunks: Uint8Array[] = [];
    for (const { value } of this.#kv.entries(blobPrefix(id, epoch, blob.id))) {
      chunks.push(value as Uint8Array); // the log stores nothing else there
    }
    if (chunks.length !== blob.chunks) {
      throw new Breach(
        `${chunks.length} of ${blob.chunks} chunks of ${name} are there`,
      );
    }
    const bytes = new Uint8Array(blob.bytes);
    let offset = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, offset);
      offset += chunk.byteLength;
    }
    return bytes;
  }
}
