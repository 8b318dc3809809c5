/**
 * Makes the records of a store's commits.
 *
 * @module
 */
import { writeBlob } from "../log/blobs.ts";
import { needsBlob, type StoreCommit } from "../log/commit.ts";
import type { EncodedSnapshot } from "../log/compaction.ts";
import { newId } from "../log/ids.ts";
import type { StoreId } from "../log/keys.ts";
import type { Head } from "../log/head.ts";
import {
  encodeEntry,
  entryVersion,
  type LogEntry,
  schemaAfter,
  type TogetherRef,
} from "../log/log_entry.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import type { Batch } from "./batch.ts";

/** A head before the lane has given it the id of its atomic. */
export type NextHead = Omit<Head, "commitId">;

/** A commit's part that the writer makes. */
export type NextCommit = Omit<StoreCommit, "id" | "stamp" | "head"> & {
  readonly head: NextHead;
};

/** The same, with an entry. */
export type WithEntry = NextCommit & {
  readonly entry: LogEntry;
  readonly entryBytes: Uint8Array<ArrayBuffer>;
};

/** What a batch becomes part of. */
export interface StoreLife {
  readonly epoch: string;
  readonly expiresAtMs: number | undefined;
  readonly pastStamp: string | null;
  /** Which shape the state has before the batch. */
  readonly schema: number;
  /** Where the batch is part of a transaction: what that leads its stores to. */
  readonly together?: readonly TogetherRef[];
}

/** What a writer works with. */
export interface WriterEnvironment {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
}

/** Writes for one load of one store. */
export class StoreWriter {
  readonly #env: WriterEnvironment;
  readonly #store: StoreId;
  /** Names this load: with a version it stands for one history. */
  readonly #id: string;

  /** A writer with an id of its own. */
  constructor(env: WriterEnvironment, store: StoreId) {
    this.#env = env;
    this.#store = store;
    this.#id = newId(env.random);
  }

  /** A batch on top of `head`; an entry that is too long for one atomic is written ahead. */
  async entry(
    head: NextHead | undefined,
    batch: Batch,
    life: StoreLife,
  ): Promise<WithEntry> {
    const { kv, random } = this.#env;
    const next = this.entryInPlace(head, batch, life);
    const { epoch, entryBytes: bytes } = next;
    if (!needsBlob(bytes)) return next;
    const blob = { id: this.#store, epoch, bytes };
    return { ...next, entryBlob: await writeBlob(kv, random, blob) };
  }

  /** The same for a batch that must fit into one atomic, with other stores' perhaps. */
  entryInPlace(
    head: NextHead | undefined,
    batch: Batch,
    { epoch, expiresAtMs, pastStamp, schema: before, together }: StoreLife,
  ): WithEntry {
    const entry = {
      ...this.#toEntry(head, batch),
      ...(together && { together }),
    };
    const entryBytes = encodeEntry(entry);
    const schema = schemaAfter(entry) ?? before;
    return {
      epoch,
      entry,
      entryBytes,
      ...(!head && { pastStamp }),
      head: {
        ...(head ?? { floor: 0, ...(pastStamp !== null && { hasPast: true }) }),
        epoch,
        version: entryVersion(entry),
        writer: entry.writer,
        timeMs: entry.timeMs,
        logBytes: entry.bytesBefore + entryBytes.byteLength,
        initialized: batch.initialized,
        // A head of an earlier release does not tell: then it is as old as its last write.
        createdAtMs: head ? head.createdAtMs ?? head.timeMs : entry.timeMs,
        ...(expiresAtMs !== undefined && { expiresAtMs }),
        ...(schema !== 1 && { schema }),
      },
    };
  }

  /** The same state and version as `head`, as the beginning of another epoch. */
  async newEpoch(
    head: NextHead,
    { bytes, stateBytes }: EncodedSnapshot,
  ): Promise<NextCommit> {
    const { kv, random } = this.#env;
    // What the head's older snapshots are of ends with its epoch.
    const { older: _, ...kept } = head;
    const { version, logBytes, timeMs } = head;
    const epoch = newId(random);
    const flip = await writeBlob(kv, random, { id: this.#store, epoch, bytes });
    return {
      epoch,
      endedEpoch: head.epoch,
      flip,
      head: {
        ...kept,
        epoch,
        mintedFrom: head.epoch,
        writer: this.#id,
        floor: version,
        snapshot: { ...flip.ref, version, stateBytes, logBytes, timeMs },
      },
    };
  }

  #toEntry(head: NextHead | undefined, batch: Batch): LogEntry {
    return {
      from: head?.version ?? 0,
      previous: head?.writer ?? "",
      writer: this.#id,
      // Clocks differ between servers and jump; the log's time does not go back.
      timeMs: Math.max(Math.floor(this.#env.clock.now()), head?.timeMs ?? 0),
      bytesBefore: head?.logBytes ?? 0,
      mutations: batch.mutations,
    };
  }
}
