/**
 * What is told of a storage that fails. This module is browser compatible.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { KeptRecords } from "./kept_records.ts";

/** It is given up. */
export function storageFails(cause: unknown): HeadwaterError {
  return new HeadwaterError(
    "unavailable",
    "Cannot keep writes and states over a reload: the storage fails",
    { cause },
  );
}

/** Some of what it has is not what a client has put there. */
export function unreadable({ unreadable: keys }: KeptRecords): HeadwaterError {
  return new HeadwaterError(
    "unknown",
    `Cannot read ${keys.length} of the kept records: they are dropped`,
    { data: [...keys], outcome: "unknown" },
  );
}

/** It has a write that cannot be deleted, and must not be sent twice. */
export function mayBeSentLater(cause: unknown): HeadwaterError {
  return new HeadwaterError(
    "unknown",
    "Cannot send a write that is kept where it can not be deleted: a later client may send it",
    { outcome: "unknown", cause },
  );
}

/** What was kept belongs to another user than the one who is here. */
export function othersRecords(writes: number, states: number): HeadwaterError {
  return new HeadwaterError(
    "forbidden",
    `Cannot use what was kept over a reload: it is another user's, and is dropped (writes: ${writes}, states: ${states})`,
    { outcome: "unknown" },
  );
}
