/**
 * What happened to a store in the KV since this server last looked.
 *
 * @module
 */
import type { StoreId } from "../log/keys.ts";
import {
  type ReadHead,
  readHead,
  readSince,
  type ReadStore,
  readStore,
} from "../log/reader.ts";
import type { LogEntry } from "../log/log_entry.ts";
import type { Kv } from "../ports.ts";
import type { Position } from "./recent_patches.ts";

/** What a look at the KV found. */
export type News =
  /** There is no such store. */
  | { readonly kind: "absent" }
  /** Its life has ended and another has begun. */
  | { readonly kind: "replaced" }
  /** The entries that lead to the head; maybe none. */
  | {
    readonly kind: "entries";
    readonly read: ReadHead;
    readonly entries: readonly LogEntry[];
  }
  /** The log does not lead there any more, but this is the newest state. */
  | { readonly kind: "jump"; readonly store: ReadStore }
  /** The KV was set back, by a backup or a lost write: it holds another past than was shown. */
  | { readonly kind: "fork"; readonly store: ReadStore };

/** Looks at the KV from what is known: a position, or that the store was not there. */
export async function readNews(
  kv: Kv,
  id: StoreId,
  known: Position | undefined,
): Promise<News> {
  const read = await readHead(kv, id);
  if (!read) return { kind: "absent" };
  const { head } = read;
  if (!known) return await toStore(kv, id, "jump");
  if (head.epoch !== known.epoch) {
    return head.mintedFrom === known.epoch
      ? await toStore(kv, id, "jump")
      : { kind: "replaced" };
  }
  const isBehind = head.version < known.version ||
    (head.version === known.version && head.writer !== known.writer);
  if (isBehind) return await toStore(kv, id, "fork");
  const entries = await readSince(kv, id, read, known.version);
  if (!entries) return await toStore(kv, id, "jump");
  const [first] = entries;
  if (
    first && (first.from !== known.version || first.previous !== known.writer)
  ) {
    return await toStore(kv, id, "fork");
  }
  return { kind: "entries", read, entries };
}

async function toStore(
  kv: Kv,
  id: StoreId,
  kind: "jump" | "fork",
): Promise<News> {
  const store = await readStore(kv, id);
  return store ? { kind, store } : { kind: "absent" };
}
