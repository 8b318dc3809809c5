/**
 * One change of a transaction, and how much one may hold.
 *
 * @module
 */
import { LimitError } from "../../protocol/errors.ts";
import { type StoreId, storeKey } from "../log/keys.ts";
import type { PlannedMutation } from "./batch.ts";
import type { Settled } from "./change.ts";

/** Stores in one transaction: some KVs check 10 keys in one atomic, of which one is the feed's. */
export const STORES_PER_TRANSACTION = 9;

/** Changes in one transaction. */
export const CHANGES_PER_TRANSACTION = 1_000;

/** Bytes of the log entries of one transaction; a KV takes 800 KiB with all that goes with them. */
export const TRANSACTION_BYTES: number = 600 * 1024;

/** One change of a transaction; several may be of one store. */
export interface JointPart extends PlannedMutation {
  readonly id: StoreId;
}

/** What one change has made. */
export interface JointWritten extends Settled {
  readonly id: StoreId;
  /** The life of the store that the version is one of. */
  readonly epoch: string;
}

/**
 * Refuses what is over the limits before anything is opened.
 *
 * @throws {LimitError} if there are too many changes, or too many stores in them.
 */
export function refuseTooMany(parts: readonly JointPart[]): void {
  const action = "commit a transaction";
  if (new Set(parts.map(({ id }) => id.namespace)).size > 1) {
    throw new TypeError(`Cannot ${action} over several namespaces`);
  }
  const stores = new Set(parts.map(({ id }) => storeKey(id))).size;
  if (stores > STORES_PER_TRANSACTION) {
    throw new LimitError(
      action,
      "storesPerTransaction",
      STORES_PER_TRANSACTION,
      stores,
    );
  }
  if (parts.length > CHANGES_PER_TRANSACTION) {
    throw new LimitError(
      action,
      "changesPerTransaction",
      CHANGES_PER_TRANSACTION,
      parts.length,
    );
  }
}
