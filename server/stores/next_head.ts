/**
 * The records of a store's next commit.
 *
 * @module
 */
import { entryVersion, type Head, type LogEntry } from "../log/records.ts";
import type { Batch } from "./commit_queue.ts";

/** A head before the lane has given it the id of its atomic. */
export type NextHead = Omit<Head, "commitId">;

/** Who commits, when. */
export interface Commit {
  readonly epoch: string;
  readonly writer: string;
  readonly nowMs: number;
}

/** The log entry of a batch on top of `head`. */
export function nextEntry(
  head: NextHead | undefined,
  batch: Batch,
  commit: Commit,
): LogEntry {
  return {
    from: head?.version ?? 0,
    previous: head?.writer ?? "",
    writer: commit.writer,
    // Clocks differ between servers and jump; the log's time does not go back.
    timeMs: Math.max(Math.floor(commit.nowMs), head?.timeMs ?? 0),
    bytesBefore: head?.logBytes ?? 0,
    mutations: batch.mutations,
  };
}

/** The head after `entry`, of `bytes` bytes. */
export function nextHead(
  head: NextHead | undefined,
  entry: LogEntry,
  { epoch, initialized, bytes, expiresAtMs }: {
    epoch: string;
    initialized: boolean;
    bytes: number;
    expiresAtMs: number | undefined;
  },
): NextHead {
  return {
    ...(head ?? { floor: 0 }),
    epoch,
    version: entryVersion(entry),
    writer: entry.writer,
    timeMs: entry.timeMs,
    logBytes: entry.bytesBefore + bytes,
    initialized,
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  };
}
