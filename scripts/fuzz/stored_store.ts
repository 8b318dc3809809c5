/**
 * A store as a KV holds it: snapshot, head, and a log on top of it, of which one
 * record can be exchanged for hostile bytes.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import { CHUNK_BYTES } from "../../server/log/blobs.ts";
import { encodeStoreSnapshot } from "../../server/log/compaction.ts";
import {
  chunkKey,
  headKey,
  logKey,
  type StoreId,
} from "../../server/log/keys.ts";
import { WriteNumbers } from "../../server/log/numbers.ts";
import { encodeBlobRef } from "../../server/log/blob_ref.ts";
import { encodeHead, type Head } from "../../server/log/head.ts";
import { encodeEntry, type LogEntry } from "../../server/log/log_entry.ts";
import type { Planted } from "./planted_kv.ts";

const EPOCH = "e1Kx";
/** Version of the snapshot; the log goes on to 6. */
const SNAPSHOT_VERSION = 3;

const ORIGIN = {
  session: "s1",
  issuedAtMs: 1_700_000_000_000,
  call: 4,
  n: 0,
  oldest: 3,
};

/** Versions 4 and 5, the second of them refused. */
export const FIRST_ENTRY: LogEntry = {
  from: 3,
  previous: "w1",
  writer: "w2",
  timeMs: 1_700_000_000_500,
  bytesBefore: 400,
  mutations: [
    {
      patch: [{ op: "add", path: ["items", 0], value: { text: "one" } }],
      author: "c1",
      userId: "u1",
      origin: ORIGIN,
      value: 1,
      initialized: true,
    },
    {
      patch: [],
      origin: { ...ORIGIN, call: 5 },
      refused: { code: "refused", message: "The list is full" },
    },
  ],
};

/** Version 6, which lies in a chunk. */
export const SECOND_ENTRY: LogEntry = {
  from: 5,
  previous: "w2",
  writer: "w2",
  timeMs: 1_700_000_000_900,
  bytesBefore: 500,
  mutations: [{
    patch: [
      { op: "replace", path: ["note"], value: "two" },
      { op: "remove", path: ["items", 1] },
    ],
  }],
};

const SECOND_BYTES = encodeEntry(SECOND_ENTRY);

/** Where the chunk of {@linkcode SECOND_ENTRY} is. */
export const SECOND_BLOB = {
  id: "b2",
  chunks: 1,
  bytes: SECOND_BYTES.byteLength,
};

const SNAPSHOT = encodeStoreSnapshot(
  encodeJson({ items: [{ text: "zero" }], note: null }),
  numbersOf(),
);

/** The head of the store. */
export const HEAD: Head = {
  epoch: EPOCH,
  version: 6,
  writer: "w2",
  commitId: "c9",
  floor: 3,
  timeMs: 1_700_000_000_900,
  logBytes: 700,
  initialized: true,
  expiresAtMs: 4_000_000_000_000,
  mintedFrom: "e0",
  snapshot: {
    id: "b1",
    chunks: 1,
    bytes: SNAPSHOT.bytes.byteLength,
    version: SNAPSHOT_VERSION,
    stateBytes: SNAPSHOT.stateBytes,
    logBytes: 300,
  },
};

/** Which record is exchanged; a snapshot's bytes come with the length of the state in them. */
export interface Exchange {
  readonly head?: Uint8Array;
  readonly entry?: Uint8Array;
  readonly blobRef?: Uint8Array;
  readonly snapshot?: {
    readonly bytes: Uint8Array;
    readonly stateBytes: number;
  };
}

/** The entries of the store, in key order. */
export function storedStore(id: StoreId, exchange: Exchange): Planted[] {
  const snapshot = exchange.snapshot ?? SNAPSHOT;
  const { bytes, stateBytes } = snapshot;
  const chunks = Math.ceil(bytes.byteLength / CHUNK_BYTES);
  const ref = {
    ...HEAD.snapshot!, // it has one, see above
    chunks,
    bytes: bytes.byteLength,
    stateBytes,
  };
  const head = exchange.head ??
    (exchange.snapshot ? encodeHead({ ...HEAD, snapshot: ref }) : HEAD_BYTES);
  const planted: Planted[] = [];
  for (let index = 0; index < chunks; index++) {
    const at = index * CHUNK_BYTES;
    planted.push([
      chunkKey(id, EPOCH, "b1", index),
      bytes.subarray(at, at + CHUNK_BYTES),
    ]);
  }
  planted.push(
    [chunkKey(id, EPOCH, SECOND_BLOB.id, 0), SECOND_BYTES],
    [headKey(id), head],
    [logKey(id, EPOCH, 5), exchange.entry ?? FIRST_BYTES],
    [logKey(id, EPOCH, 6), exchange.blobRef ?? BLOB_REF_BYTES],
  );
  return planted;
}

const HEAD_BYTES = encodeHead(HEAD);
const FIRST_BYTES = encodeEntry(FIRST_ENTRY);
const BLOB_REF_BYTES = encodeBlobRef(SECOND_BLOB);

/** The numbers of writes that the snapshot has, as JSON. */
export function numbersOf(): WriteNumbers {
  const numbers = new WriteNumbers();
  numbers.add({ patch: [], origin: { ...ORIGIN, call: 3 }, value: [1] }, 2);
  numbers.add({
    patch: [],
    origin: { ...ORIGIN, call: 3, n: 2 },
    refused: { code: "refused", message: "no" },
  }, 3);
  return numbers;
}
