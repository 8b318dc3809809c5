/**
 * How a store ends that cannot be read: there is no state to run its `onTerminate` on, and
 * nothing of what it remembers, but its records go.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { decodeHead } from "../log/head.ts";
import {
  epochBlobsPrefix,
  epochLogsPrefix,
  epochOf,
  headKey,
  type StoreId,
} from "../log/keys.ts";
import type { Origin } from "../log/mutation.ts";
import { WriteNumbers } from "../log/numbers.ts";
import { encodePast, readPast } from "../log/past.ts";
import { readStore } from "../log/reader.ts";
import { decodeRecord, text } from "../log/record.ts";
import type { Clock, Kv, KvKey } from "../ports.ts";
import type { WriterPool } from "./writer_pool.ts";

/** How often a removal begins again because somebody else wrote the head. */
const ATTEMPTS = 4;
/** Lives of a store of which records are looked for; those that have ended are swept anyway. */
const LIVES_MAX = 100;

/** What removals need. */
export interface RemovalOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly writers: WriterPool;
  /** How long a removal is tried. */
  readonly commitMs: number;
  /** How long it is remembered that there was a store. */
  readonly sessionMs: number;
}

/** One store that could not be read. */
export interface UnreadableStore {
  readonly id: StoreId;
  /** Number of the shape that its definition gives to states. */
  readonly schema: number;
  /** Which write of a call its removal is. */
  readonly origin: Origin | undefined;
}

/**
 * Removes a store that could not be read. False where there is nothing to remove: the store
 * is gone, can be read after all, or has the shape of a newer server, which can read it.
 */
export async function removeUnreadable(
  options: RemovalOptions,
  { id, schema, origin }: UnreadableStore,
): Promise<boolean> {
  const { kv, clock, writers, commitMs, sessionMs } = options;
  const deadline = clock.monotonic() + commitMs;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const { value, versionstamp: stamp } = await kv.get(headKey(id));
    // An atomic of which nothing was heard may have removed it.
    if (stamp === null) return attempt > 1;
    if (!await isBroken(kv, id, { value, schema })) return false;
    const [epoch = "", ...leftEpochs] = await epochsOf(kv, id, value);
    const bytes = await pastOf(kv, id, { origin, nowMs: clock.now() });
    const commit = {
      id,
      stamp,
      head: null,
      epoch,
      leftEpochs,
      past: { bytes, keptMs: sessionMs },
    };
    const { ok } = await writers.commit([commit], { deadline, isAlone: true });
    if (ok) return true;
  }
  return false;
}

async function isBroken(
  kv: Kv,
  id: StoreId,
  { value, schema }: { value: unknown; schema: number },
): Promise<boolean> {
  try {
    const stored = decodeHead(value).schema ?? 1;
    // An older shape could not be migrated: nobody will ever read it here.
    if (stored !== schema) return stored < schema;
    await readStore(kv, id);
    return false;
  } catch {
    return true;
  }
}

/** The lives of which there are records: first the one that the head speaks of, if it can be told. */
async function epochsOf(
  kv: Kv,
  id: StoreId,
  head: unknown,
): Promise<readonly string[]> {
  const epochs = new Set<string>();
  try {
    epochs.add(text(decodeRecord(head, "head")["e"]));
  } catch {
    // The log tells.
  }
  for (const prefix of [epochLogsPrefix(id), epochBlobsPrefix(id)]) {
    await addEpochs(kv, prefix, epochs);
  }
  return [...epochs];
}

async function addEpochs(
  kv: Kv,
  prefix: KvKey,
  epochs: Set<string>,
): Promise<void> {
  let start: KvKey = [...prefix, ""];
  for (let count = 0; count < LIVES_MAX; count++) {
    let epoch: string | undefined;
    for await (const { key } of kv.list({ prefix, start }, { limit: 1 })) {
      epoch = epochOf(key, prefix);
    }
    if (epoch === undefined) return;
    epochs.add(epoch);
    // The first key behind all of that life.
    start = [...prefix, `${epoch}\u0000`];
  }
}

/** What the next life has to know: calls may have written to this one, and nobody can tell which. */
async function pastOf(
  kv: Kv,
  id: StoreId,
  { origin, nowMs }: { origin: Origin | undefined; nowMs: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const { numbers } = await readPast(kv, id).catch(() => ({
    numbers: new WriteNumbers(),
  }));
  const past = numbers.toPast(origin, 0).toJson();
  return encodePast(WriteNumbers.fromJson(past, Math.floor(nowMs)));
}

/** Whether it says that what the KV holds of a store is corrupt, or of another version. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof HeadwaterError && error.code === "store_unreadable";
}

/** What is reported of a store that is found in a list. */
export function unreadableError(
  { name }: StoreId,
  cause: unknown,
): HeadwaterError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message =
    `Cannot read store "${name}", which may be deleted: ${reason}`;
  return new HeadwaterError("store_unreadable", message, { cause });
}

/** What is reported when such a store was removed. */
export function removedError({ name }: StoreId): HeadwaterError {
  return new HeadwaterError(
    "store_unreadable",
    `Store "${name}" could not be read, and was deleted as it was asked; no onTerminate has run`,
  );
}
