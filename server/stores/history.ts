/**
 * What the handles of stores tell of the past, and how they go back to it.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import {
  type ErrorCode,
  HeadwaterError,
  LimitError,
} from "../../protocol/errors.ts";
import {
  type JsonPatchOperation,
  toJsonPatch,
} from "../../protocol/json_patch.ts";
import type { Json } from "../../protocol/value.ts";
import {
  findMigration,
  type Moment,
  type PastMutation,
  readMutations,
  readStates,
} from "../log/history.ts";
import { shown } from "../../protocol/shown.ts";
import { checkKinds, type Kind } from "../option_kinds.ts";
import type { StoreAccess } from "./access.ts";
import type { Changer, Written } from "./change.ts";
import { restoreChange, shareEqual } from "./restore.ts";
import type { Store } from "./store.ts";

export type { Moment };

/** Entries of a page, unless it says otherwise. */
const PAGE_DEFAULT = 100;
/** More than so many are not read at once. */
const PAGE_MOST = 1_000;

/** Which part of a store's history is wanted. */
export interface HistoryRange {
  /** The first version. @default so that the newest ones are returned */
  readonly from?: number;
  /** Entries at most, up to 1,000. @default 100 */
  readonly limit?: number;
}

const RANGE: Readonly<Record<keyof HistoryRange, Kind>> = {
  from: "any",
  limit: "any",
};

/** One version: who has changed what, and when. */
export interface HistoryEntry {
  /** The store's number after the change. */
  readonly version: number;
  /** When it was committed, in milliseconds since 1970; never earlier than the version before. */
  readonly timeMs: number;
  /** Id of the client on whose behalf the change was made; absent: the server's own. */
  readonly author?: string;
  /**
   * Id of the user on whose behalf it was made: the user's `id`, or the user itself where
   * that is a text or a number. Absent where there was none, it has over 256 characters, or
   * an earlier release wrote the entry.
   */
  readonly userId?: string;
  /** What it changed, as a JSON Patch (RFC 6902); made of `add`, `remove` and `replace`. */
  readonly patch: readonly JsonPatchOperation[];
  /**
   * A write of a function's that was refused. It has changed nothing, but it has
   * its version: whoever sends the call again is told the same.
   */
  readonly refused?: { readonly code: ErrorCode; readonly message: string };
}

/** Some versions of a store in order, and where the rest is. */
export interface HistoryPage {
  /** The life of the store that this is; another after it was deleted, or set back by a backup. */
  readonly epoch: string;
  /** The lowest version that can be listed; above `newest` where there is none. */
  readonly oldest: number;
  /** The newest version. */
  readonly newest: number;
  /** The versions. A page ends early after 8 MiB of them. */
  readonly entries: readonly HistoryEntry[];
  /** Where the next page begins; absent where this one ends with the newest version. */
  readonly next?: number;
}

/** Lists versions; see {@linkcode StaticStore.history}. */
export async function listHistory(
  access: StoreAccess,
  name: string,
  range: HistoryRange = {},
): Promise<HistoryPage> {
  const action = `list the history of store "${name}"`;
  checkKinds(`Cannot ${action}`, range, RANGE);
  const { from, limit = PAGE_DEFAULT } = range;
  if (from !== undefined) checkVersion(from, `${action} from version`);
  if (!Number.isInteger(limit) || limit < 1) {
    throw new RangeError(
      `Cannot ${action}: limit must be an integer from 1 to ${PAGE_MOST}, not ${limit}`,
    );
  }
  if (limit > PAGE_MOST) {
    throw new LimitError(action, "history", PAGE_MOST, limit);
  }
  const { kv, id } = await find(access, name, action);
  const read = readMutations(kv, id, { from, limit });
  const past = await orUnavailable(read, action);
  if (!past) throw missing(name, action);
  const { mutations, ...page } = past;
  const last = mutations.at(-1)?.version ?? page.newest;
  return {
    ...page,
    entries: mutations.map(toEntry),
    ...(last < page.newest && { next: last + 1 }),
  };
}

/** Reads states of the past; see {@linkcode StaticStore.at}. */
export async function readPastStates(
  access: StoreAccess,
  name: string,
  moments: readonly Moment[],
): Promise<readonly Json[]> {
  for (const moment of moments) checkMoment(moment, name);
  const action = `read the past of store "${name}"`;
  return await statesOf(await find(access, name, action), moments);
}

/** Compares two states of the past; see {@linkcode StaticStore.diff}. */
export async function diffMoments(
  access: StoreAccess,
  name: string,
  moments: readonly [Moment, Moment],
): Promise<JsonPatchOperation[]> {
  const [before, after] = await readPastStates(access, name, moments);
  // Both are there: one for each moment.
  return toJsonPatch(diffStates(before!, shareEqual(before!, after!)));
}

/** Goes back to a version; see {@linkcode StaticStore.restore}. */
export async function restoreVersion(
  access: StoreAccess,
  name: string,
  version: number,
): Promise<Written<undefined>> {
  if (!Number.isSafeInteger(version)) {
    throw new TypeError(
      `Cannot restore store "${name}" to ${
        shown(version)
      }: it must be a version; history() tells which one was the newest at a time`,
    );
  }
  const written = await access.amend(name, async (store): Promise<Changer> => {
    try {
      const [past] = await statesOf(store, [version]);
      await checkShape(store, version);
      return restoreChange(past!); // one for the version
    } catch (error) {
      // Out of reach stays out of reach. Only the queue knows whether the call has
      // gone back when it ran first, as the version may have been kept then.
      const isFinal = error instanceof HeadwaterError &&
        (error.code === "limit" || error.code === "refused");
      if (!isFinal) throw error;
      return () => {
        throw error;
      };
    }
  });
  if (!written) throw missing(name, `restore version ${version}`);
  return { version: written.version, value: undefined };
}

/** Nobody reads a state of an older shape: `migrate` is called where a store is loaded. */
async function checkShape(
  { kv, id, schema }: Store,
  version: number,
): Promise<void> {
  // The first shape: none has come before it.
  if (schema === 1) return;
  const action = `restore version ${version} of store "${id.name}"`;
  const changed = await orUnavailable(findMigration(kv, id, version), action);
  if (changed === undefined) return;
  throw new HeadwaterError(
    "refused",
    `Cannot ${action}: it was migrated since, in version ${changed}`,
    { data: { version, migrated: changed }, outcome: "notApplied" },
  );
}

async function statesOf(
  { kv, id }: Store,
  moments: readonly Moment[],
): Promise<readonly Json[]> {
  const action = `read the past of store "${id.name}"`;
  const states = await orUnavailable(readStates(kv, id, moments), action);
  if (states) return states;
  throw missing(id.name, action);
}

async function find(
  access: StoreAccess,
  name: string,
  action: string,
): Promise<Store> {
  const store = await access.find(name);
  if (store) return store;
  throw missing(name, action);
}

function toEntry(
  { version, timeMs, author, userId, patch, refused }: PastMutation,
): HistoryEntry {
  return {
    version,
    timeMs,
    ...(author !== undefined && { author }),
    ...(userId !== undefined && { userId }),
    patch: toJsonPatch(patch),
    ...(refused && {
      refused: { code: refused.code, message: refused.message },
    }),
  };
}

function checkMoment(moment: Moment, name: string): void {
  const action = `read store "${name}" at version`;
  if (typeof moment === "number") return checkVersion(moment, action);
  // From JavaScript, or an argument of a call, anything may come.
  const timeMs: unknown = (moment as { timeMs?: unknown } | null)?.timeMs;
  if (Number.isFinite(timeMs)) return;
  throw new TypeError(
    `Cannot read store "${name}" at ${
      shown(moment)
    }: it must be a version or { timeMs }`,
  );
}

function checkVersion(version: number, action: string): void {
  if (Number.isSafeInteger(version)) return;
  throw new TypeError(`Cannot ${action} ${version}: it must be an integer`);
}

function missing(name: string, action: string): HeadwaterError {
  return new HeadwaterError(
    "store_missing",
    `Cannot ${action}: there is no store "${name}": it was never used, or deleted`,
    { outcome: "notApplied" },
  );
}

/** A KV that fails is not the caller's fault, and nothing was written. */
async function orUnavailable<T>(read: Promise<T>, action: string): Promise<T> {
  try {
    return await read;
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HeadwaterError(
      "unavailable",
      `Cannot ${action}: the KV failed: ${reason}`,
      { cause, outcome: "notApplied" },
    );
  }
}
