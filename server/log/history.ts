/**
 * Reads a store's past out of the KV: what each version has changed, and what the
 * state was. The log holds every change above the floor, and the floor is where a
 * snapshot is, so that any state from there on is the nearest snapshot before it
 * and what follows in the log.
 *
 * @module
 */
import { decodeJson } from "../../protocol/codec.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { WorkingCopy } from "../../protocol/patch.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import type { Kv } from "../ports.ts";
import { readBlob } from "./blobs.ts";
import { lastNumber, logKey, type StoreId } from "./keys.ts";
import { readEntry, readSteadily } from "./reader.ts";
import { type Head, type SnapshotRef, snapshotsOf } from "./head.ts";
import { entryVersion, type LogEntry } from "./log_entry.ts";
import type { Mutation } from "./mutation.ts";
import { corrupt } from "./record.ts";

/** A version, or what was the newest one at a time. */
export type Moment = number | {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
};

/** A mutation with what is known of it from the log. */
export interface PastMutation extends Mutation {
  readonly version: number;
  readonly timeMs: number;
}

/** Some versions one after the other, and what else there is. */
export interface PastMutations {
  readonly epoch: string;
  /** The first version whose mutation is kept. */
  readonly oldest: number;
  readonly newest: number;
  /** In order. */
  readonly mutations: readonly PastMutation[];
}

/** Bytes of log after which a page ends, though more was asked for. */
const PAGE_BYTES = 8 * 1024 * 1024;

/**
 * Reads up to `limit` mutations from version `from` on, or without `from` the
 * newest ones; undefined where there is no such store.
 *
 * @throws {HeadwaterError} `limit` if `from` is not kept any more.
 */
export async function readMutations(
  kv: Kv,
  id: StoreId,
  { from, limit }: { from: number | undefined; limit: number },
): Promise<PastMutations | undefined> {
  return await readSteadily(kv, id, async ({ head }) => {
    const oldest = head.floor + 1;
    if (from !== undefined && from < oldest) {
      const action = `list the history of store "${id.name}" from version`;
      throw outOfReach(`${action} ${from}`, { from }, [oldest, head.version]);
    }
    const mutations = from === undefined
      ? await readNewest(kv, id, head, limit)
      : await readFrom(kv, id, head, { from, limit });
    const { epoch, version: newest } = head;
    return mutations && { epoch, oldest, newest, mutations };
  });
}

/**
 * Reads what the state was at each of some moments; undefined where there is no
 * such store. What did not change between two of them is the same object in both.
 * The states are frozen.
 *
 * @throws {HeadwaterError} `limit` if a moment is not kept any more, or not there yet.
 */
export async function readStates(
  kv: Kv,
  id: StoreId,
  moments: readonly Moment[],
): Promise<Json[] | undefined> {
  return await readSteadily(kv, id, async ({ head }) => {
    const versions: number[] = [];
    for (const moment of moments) {
      const version = typeof moment === "number"
        ? moment
        : await findVersion(kv, id, head, moment.timeMs);
      if (version === undefined) return undefined;
      checkReach(id, head, version);
      versions.push(version);
    }
    const states = await replay(kv, id, head, versions);
    return states && versions.map((version) => states.get(version)!); // one for each
  });
}

/** The first version above `version` that gave the state another shape. */
export async function findMigration(
  kv: Kv,
  id: StoreId,
  version: number,
): Promise<number | undefined> {
  const found = await readSteadily(kv, id, async ({ head }) => {
    let reached = version;
    const range = { from: version, to: head.version };
    for await (const entry of listEntries(kv, id, head, range)) {
      const migration = mutationsOf(entry).find((mutation) =>
        mutation.schema !== undefined && mutation.version > version
      );
      if (migration) return { version: migration.version };
      reached = entryVersion(entry);
    }
    return reached >= head.version ? {} : undefined;
  });
  return found?.version;
}

/** The state of each of the versions, which are within reach. */
async function replay(
  kv: Kv,
  id: StoreId,
  head: Head,
  versions: readonly number[],
): Promise<Map<number, Json> | undefined> {
  const wanted = new Set(versions);
  const first = Math.min(...wanted);
  const to = Math.max(...wanted);
  const base = snapshotsOf(head).findLast(({ version }) => version <= first);
  const state = base && await readState(kv, id, head, base);
  if (base && state === undefined) return undefined;
  // One copy for all: a patch alone would copy anew what it changes, such as a long list.
  let copy = new WorkingCopy(freezeDeep(state ?? null));
  const states = new Map<number, Json>();
  const take = (version: number): void => {
    if (!wanted.has(version)) return;
    const state = copy.frozen();
    states.set(version, state);
    copy = new WorkingCopy(state);
  };
  const from = base?.version ?? 0;
  take(from);
  for await (const entry of listEntries(kv, id, head, { from, to })) {
    let version = entry.from;
    for (const { patch } of entry.mutations) {
      version++;
      if (version <= from) continue;
      try {
        for (const op of patch) copy.apply(op);
      } catch (error) {
        throw corrupt(`log of store "${id.name}"`, error);
      }
      take(version);
    }
  }
  return states.size === wanted.size ? states : undefined;
}

async function readState(
  kv: Kv,
  id: StoreId,
  { epoch }: Head,
  snapshot: SnapshotRef,
): Promise<Json | undefined> {
  const bytes = await readBlob(kv, id, epoch, snapshot);
  if (!bytes) return undefined;
  try {
    return decodeJson(bytes.subarray(0, snapshot.stateBytes));
  } catch (error) {
    throw corrupt(`snapshot of store "${id.name}"`, error);
  }
}

/** The newest version that is not younger; undefined if the log has a hole. */
async function findVersion(
  kv: Kv,
  id: StoreId,
  head: Head,
  timeMs: number,
): Promise<number | undefined> {
  if (timeMs >= head.timeMs) return head.version;
  const first = oldestSnapshot(head);
  const oldest = first?.version ?? 0;
  let [low, high] = [oldest, head.version];
  // The log's time never goes back: each step halves what it can be.
  while (low + 1 < high) {
    const middle = Math.floor((low + high) / 2);
    const range = {
      start: logKey(id, head.epoch, middle),
      end: endOf(id, head),
    };
    let entry: LogEntry | undefined;
    for await (const item of kv.list(range, { limit: 1 })) {
      ({ entry } = await readEntry(kv, id, head.epoch, item) ?? {});
    }
    if (!entry || entry.from >= middle) return undefined;
    if (entry.timeMs <= timeMs) low = entryVersion(entry);
    else high = Math.max(oldest + 1, entry.from + 1);
  }
  if (low > oldest || (first?.timeMs ?? Infinity) <= timeMs) return low;
  const action = `read store "${id.name}" as of ${timeMs} ms`;
  throw outOfReach(action, { timeMs }, reachOf(head), " and younger");
}

/** The mutations from `from` on; undefined if the log has a hole. */
async function readFrom(
  kv: Kv,
  id: StoreId,
  head: Head,
  { from, limit }: { from: number; limit: number },
): Promise<PastMutation[] | undefined> {
  const mutations: PastMutation[] = [];
  const to = Math.min(head.version, from + limit - 1);
  if (to < from) return mutations;
  let bytes = 0;
  let reached = from - 1;
  for await (const entry of listEntries(kv, id, head, { from: reached, to })) {
    for (const mutation of mutationsOf(entry)) {
      const { version } = mutation;
      if (version >= from && version <= to) mutations.push(mutation);
    }
    reached = entryVersion(entry);
    bytes += entry.bytes;
    if (bytes >= PAGE_BYTES) return mutations;
  }
  return reached >= to ? mutations : undefined;
}

/** The newest mutations; undefined if the log has a hole. */
async function readNewest(
  kv: Kv,
  id: StoreId,
  head: Head,
  limit: number,
): Promise<PastMutation[] | undefined> {
  const newestFirst: PastMutation[] = [];
  const range = {
    start: logKey(id, head.epoch, head.floor + 1),
    end: endOf(id, head),
  };
  let bytes = 0;
  let next = head.version;
  for await (const item of kv.list(range, { reverse: true, limit })) {
    const read = await readEntry(kv, id, head.epoch, item);
    if (!read || entryVersion(read.entry) !== next) return undefined;
    newestFirst.push(...mutationsOf(read.entry).reverse());
    next = read.entry.from;
    bytes += read.bytes;
    if (newestFirst.length >= limit || bytes >= PAGE_BYTES) break;
  }
  const isWhole = next <= head.floor || newestFirst.length >= limit ||
    bytes >= PAGE_BYTES;
  return isWhole ? newestFirst.slice(0, limit).reverse() : undefined;
}

/** The entries that hold the versions above `from` and up to `to`; ends before a hole. */
async function* listEntries(
  kv: Kv,
  id: StoreId,
  head: Head,
  { from, to }: { from: number; to: number },
): AsyncGenerator<LogEntry & { bytes: number }> {
  if (from >= to) return;
  const range = {
    start: logKey(id, head.epoch, from + 1),
    end: endOf(id, head),
  };
  let reached = from;
  // Each entry holds at least one of the versions.
  for await (const item of kv.list(range, { limit: to - from })) {
    const read = await readEntry(kv, id, head.epoch, item);
    if (!read) return;
    const { entry, bytes } = read;
    const fits = reached === from
      ? entry.from <= reached
      : entry.from === reached;
    if (!fits || entryVersion(entry) !== lastNumber(item.key)) return;
    reached = entryVersion(entry);
    yield { ...entry, bytes };
    if (reached >= to) return;
  }
}

function mutationsOf(entry: LogEntry): PastMutation[] {
  const { from, timeMs } = entry;
  return entry.mutations.map((mutation, index) => ({
    ...mutation,
    version: from + index + 1,
    timeMs,
  }));
}

function endOf(id: StoreId, { epoch, version }: Head) {
  return logKey(id, epoch, version + 1);
}

/** Before it, states are not kept; undefined: all are. */
function oldestSnapshot(head: Head): SnapshotRef | undefined {
  if (head.floor === 0) return undefined;
  // Up to it, a log that an earlier release trimmed may begin with a state that nobody kept.
  const oldest = snapshotsOf(head).find(({ version }) => version >= head.floor);
  if (!oldest) throw corrupt("head");
  return oldest;
}

/** The first and the last version whose state can be told. */
function reachOf(head: Head): [number, number] {
  return [oldestSnapshot(head)?.version ?? 1, head.version];
}

function checkReach(id: StoreId, head: Head, version: number): void {
  const [oldest, newest] = reachOf(head);
  if (version >= oldest && version <= newest) return;
  const action = `read version ${version} of store "${id.name}"`;
  throw outOfReach(action, { version }, [oldest, newest]);
}

function outOfReach(
  action: string,
  asked: { readonly [key: string]: number },
  [oldest, newest]: readonly [number, number],
  remark = "",
): HeadwaterError {
  return new HeadwaterError(
    "limit",
    `Cannot ${action}: the oldest version that is kept is ${oldest}${remark}, the newest ${newest}`,
    { data: { ...asked, oldest, newest }, outcome: "notApplied" },
  );
}
