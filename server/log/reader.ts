/**
 * Reads stores out of the KV: heads, whole states, and what was committed since
 * a version. Every read is strong.
 *
 * A reader and a compaction may run at once on two servers. The reader ranges
 * the log and then reads the head again: if the floor has passed its start, or
 * the snapshot moved while a chunk was missing, it starts over. Only what is
 * missing although nothing moved is corrupt, and that is an error, never an
 * empty store.
 *
 * @module
 */
import { decodeJson } from "../../protocol/codec.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { applyPatch, type Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { Kv, KvEntry } from "../ports.ts";
import { readBlob } from "./blobs.ts";
import {
  headKey,
  headPrefix,
  headRange,
  lastNumber,
  lastString,
  logKey,
  type StoreId,
} from "./keys.ts";
import { WriteNumbers } from "./numbers.ts";
import { readPast } from "./past.ts";
import { decodeBlobRef } from "./blob_ref.ts";
import { decodeHead, type Head } from "./head.ts";
import { decodeEntry, entryVersion, type LogEntry } from "./log_entry.ts";
import { corrupt } from "./record.ts";

/** How often a read starts over because a compaction overtook it. */
const ATTEMPTS = 8;

/** A head as it was read. */
export interface ReadHead {
  readonly head: Head;
  /** What a commit must check. */
  readonly stamp: string;
}

/** A whole store as it was read. */
export interface ReadStore extends ReadHead {
  readonly state: Json;
  readonly numbers: WriteNumbers;
  /** The entries that were replayed on top of the snapshot. */
  readonly replayed: readonly LogEntry[];
}

/** Reads the head of a store, or undefined where there is no such store. */
export async function readHead(
  kv: Kv,
  id: StoreId,
): Promise<ReadHead | undefined> {
  return toHead(await kv.get(headKey(id)));
}

/**
 * Reads the names of all stores of a namespace, or of those with a prefix, with their heads.
 * One that cannot be read ends it, unless there is somebody to be told.
 */
export async function* listHeads(
  kv: Kv,
  namespace: string,
  { prefix, unreadable }: {
    readonly prefix?: string | undefined;
    readonly unreadable?: (name: string, error: unknown) => void;
  } = {},
): AsyncGenerator<{ name: string; head: Head }> {
  const selector = prefix === undefined
    ? { prefix: headPrefix(namespace) }
    : headRange(namespace, prefix);
  for await (const entry of kv.list(selector)) {
    const name = lastString(entry.key);
    let read: ReadHead | undefined;
    try {
      read = toHead(entry);
    } catch (error) {
      if (!unreadable) throw error;
      unreadable(name, error);
    }
    if (read) yield { name, head: read.head };
  }
}

/** Reads a store's newest state, or undefined where there is no such store. */
export async function readStore(
  kv: Kv,
  id: StoreId,
): Promise<ReadStore | undefined> {
  return await readSteadily(kv, id, (read) => readAt(kv, id, read));
}

/**
 * Reads what a head leads to, and starts over with the next head where `readAt`
 * gives undefined since something is missing; undefined where there is no such store.
 */
export async function readSteadily<T>(
  kv: Kv,
  id: StoreId,
  readAt: (read: ReadHead) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const read = await readHead(kv, id);
    if (!read) return undefined;
    const found = await readAt(read);
    if (found !== undefined) return found;
    await refuseIfUnmoved(kv, id, read);
  }
  throw new HeadwaterError(
    "unavailable",
    `Cannot read store "${id.name}": it was compacted ${ATTEMPTS} times meanwhile`,
  );
}

/**
 * Reads the entries that hold the versions above `from`, up to the head's. The
 * first of them may begin below. Undefined where the log does not reach back
 * so far any more.
 */
export async function readSince(
  kv: Kv,
  id: StoreId,
  read: ReadHead,
  from: number,
): Promise<LogEntry[] | undefined> {
  const { head } = read;
  if (head.floor > from) return undefined;
  const entries = await readEntries(kv, id, head, from);
  if (entries) return entries;
  const now = await readHead(kv, id);
  // Compaction raises the floor before it deletes, so a gap above it is real.
  if (now && now.head.epoch === head.epoch && now.head.floor <= from) {
    throw corrupt(`log of store "${id.name}"`);
  }
  return undefined;
}

async function readAt(
  kv: Kv,
  id: StoreId,
  read: ReadHead,
): Promise<ReadStore | undefined> {
  const { head, stamp } = read;
  let state: Json = null;
  let numbers = new WriteNumbers();
  if (head.snapshot) {
    const bytes = await readBlob(kv, id, head.epoch, head.snapshot);
    if (!bytes) return undefined;
    try {
      state = decodeJson(bytes.subarray(0, head.snapshot.stateBytes));
      numbers = WriteNumbers.fromJson(
        decodeJson(bytes.subarray(head.snapshot.stateBytes)),
      );
    } catch (error) {
      throw corrupt(`snapshot of store "${id.name}"`, error);
    }
  }
  const entries = await readEntries(kv, id, head, head.snapshot?.version ?? 0);
  if (!entries) return undefined;
  for (const entry of entries) {
    let version = entry.from;
    for (const mutation of entry.mutations) {
      state = applyLogged(state, mutation.patch, { id, freeze: false });
      numbers.add(mutation, ++version);
    }
  }
  if (head.hasPast) numbers.addPast((await readPast(kv, id)).numbers);
  return { head, stamp, state, numbers, replayed: entries };
}

/** Applies a patch out of the log: one that does not fit is no fault of whoever asks. */
export function applyLogged(
  state: Json,
  patch: Patch,
  { id, freeze }: { id: StoreId; freeze: boolean },
): Json {
  try {
    return applyPatch(state, patch, { freeze });
  } catch (error) {
    throw corrupt(`log of store "${id.name}"`, error);
  }
}

/** The entries above `from` and up to the head's version, or undefined if one is missing. */
async function readEntries(
  kv: Kv,
  id: StoreId,
  head: Head,
  from: number,
): Promise<LogEntry[] | undefined> {
  const entries: LogEntry[] = [];
  if (head.version === from) return entries;
  const range = kv.list({
    start: logKey(id, head.epoch, from + 1),
    end: logKey(id, head.epoch, head.version + 1),
  });
  let reached = from;
  for await (const item of range) {
    const read = await readEntry(kv, id, head.epoch, item);
    if (!read) return undefined;
    const { entry } = read;
    // The first entry may hold versions at or below `from` as well.
    const fits = entries.length === 0
      ? entry.from <= reached
      : entry.from === reached;
    if (!fits || entryVersion(entry) !== lastNumber(item.key)) return undefined;
    reached = entryVersion(entry);
    entries.push(entry);
  }
  return reached === head.version ? entries : undefined;
}

/** The entry that a key of the log holds, with its size; undefined if a chunk of it is missing. */
export async function readEntry(
  kv: Kv,
  id: StoreId,
  epoch: string,
  item: KvEntry,
): Promise<{ entry: LogEntry; bytes: number } | undefined> {
  const blob = decodeBlobRef(item.value);
  const value = blob ? await readBlob(kv, id, epoch, blob) : item.value;
  if (value === undefined) return undefined;
  const bytes = value instanceof Uint8Array ? value.byteLength : 0;
  return { entry: decodeEntry(value), bytes };
}

async function refuseIfUnmoved(
  kv: Kv,
  id: StoreId,
  read: ReadHead,
): Promise<void> {
  const now = await readHead(kv, id);
  if (
    now && now.head.epoch === read.head.epoch &&
    now.head.floor === read.head.floor &&
    now.head.snapshot?.id === read.head.snapshot?.id
  ) throw corrupt(`store "${id.name}"`);
}

function toHead(entry: KvEntry): ReadHead | undefined {
  if (entry.versionstamp === null) return undefined;
  return { head: decodeHead(entry.value), stamp: entry.versionstamp };
}
