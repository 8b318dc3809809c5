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
import {
  encodeEntry,
  entryVersion,
  type Head,
  type LogEntry,
} from "../log/records.ts";
import type { Clock, Kv, Random } from "../ports.ts";
import type { Batch } from "./commit_queue.ts";

/** A head before the lane has given it the id of its atomic. */
export type NextHead = Omit<Head, "commitId">;

/** A commit's part that the writer makes. */
export type NextCommit = Omit<StoreCommit, "id" | "stamp" | "head"> & {
  readonly head: NextHead;
};

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
    { epoch, expiresAtMs, pastStamp }: {
      epoch: string;
      expiresAtMs: number | undefined;
      pastStamp: string | null;
    },
  ): Promise<NextCommit> {
    const { kv, random } = this.#env;
    const entry = this.#toEntry(head, batch);
    const entryBytes = encodeEntry(entry);
    const blob = needsBlob(entryBytes)
      ? await writeBlob(kv, random, {
        id: this.#store,
        epoch,
        bytes: entryBytes,
      })
      : undefined;
    return {
      epoch,
      entry,
      entryBytes,
      ...(blob && { entryBlob: blob }),
      ...(!head && { pastStamp }),
      head: {
        ...(head ?? { floor: 0, ...(pastStamp !== null && { hasPast: true }) }),
        epoch,
        version: entryVersion(entry),
        writer: entry.writer,
        timeMs: entry.timeMs,
        logBytes: entry.bytesBefore + entryBytes.byteLength,
        initialized: batch.initialized,
        ...(expiresAtMs !== undefined && { expiresAtMs }),
      },
    };
  }

  /** The same state and version as `head`, as the beginning of another epoch. */
  async newEpoch(
    head: NextHead,
    { bytes, stateBytes }: EncodedSnapshot,
  ): Promise<NextCommit> {
    const { kv, random } = this.#env;
    const { version, logBytes } = head;
    const epoch = newId(random);
    const flip = await writeBlob(kv, random, { id: this.#store, epoch, bytes });
    return {
      epoch,
      endedEpoch: head.epoch,
      flip,
      head: {
        ...head,
        epoch,
        mintedFrom: head.epoch,
        writer: this.#id,
        floor: version,
        snapshot: { ...flip.ref, version, stateBytes, logBytes },
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
