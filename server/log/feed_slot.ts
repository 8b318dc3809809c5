/**
 * What one atomic of a lane committed, as other servers read it.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Json } from "../../protocol/value.ts";
import { decodeEvent, type SentEvent } from "./event_record.ts";
import { decodeEntry, type LogEntry } from "./log_entry.ts";
import { corrupt, decodeRecord, list, text, uint } from "./record.ts";

/** What a feed slot says of one store. */
export interface FeedItem {
  readonly namespace: string;
  readonly name: string;
  readonly epoch: string;
  readonly version: number;
  readonly isDeleted?: boolean;
  /** Present where it is small; otherwise the log has it. */
  readonly entry?: LogEntry;
}

/** The same, with the entry as the log has it. */
export type SlotItem = Omit<FeedItem, "entry"> & {
  readonly entryBytes?: Uint8Array;
};

/** Events of one server, in the order in which they were sent. */
export interface FeedEvents<T = SentEvent> {
  /** That run of the server. */
  readonly sender: string;
  readonly events: readonly T[];
}

/** What one atomic of a lane committed, or the events of an event feed. */
export interface FeedSlot {
  readonly commitId: string;
  readonly items: readonly FeedItem[];
  readonly sent?: FeedEvents;
}

/**
 * Encodes a feed slot: the length of a header, the header, then the bytes of
 * the entries as they stand in the log, so that none is encoded twice, or those of
 * the events.
 */
export function encodeSlot(
  commitId: string,
  items: readonly SlotItem[],
  sent?: FeedEvents<Uint8Array>,
): Uint8Array<ArrayBuffer> {
  const parts = [
    ...items.flatMap(({ entryBytes }) => entryBytes ?? []),
    ...(sent?.events ?? []),
  ];
  const header = encodeJson({
    c: commitId,
    i: items.map((item) => [
      item.namespace,
      item.name,
      item.epoch,
      item.version,
      item.isDeleted ? -1 : item.entryBytes?.byteLength ?? 0,
    ]),
    ...(sent && {
      e: [sent.sender, sent.events.map(({ byteLength }) => byteLength)],
    }),
  });
  const total = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const bytes = new Uint8Array(4 + header.byteLength + total);
  new DataView(bytes.buffer).setUint32(0, header.byteLength);
  bytes.set(header, 4);
  let at = 4 + header.byteLength;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

/** Decodes a feed slot. */
export function decodeSlot(value: unknown): FeedSlot {
  if (!(value instanceof Uint8Array) || value.byteLength < 4) {
    throw corrupt("feed slot");
  }
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  let at = 4 + view.getUint32(0);
  const r = decodeRecord(value.subarray(4, at), "feed slot");
  if (!Array.isArray(r["i"])) throw corrupt("feed slot");
  const items = r["i"].map((json: Json): FeedItem => {
    if (!Array.isArray(json)) throw corrupt("feed slot");
    const [namespace, name, epoch, version, length] = json as readonly Json[];
    const item = {
      namespace: text(namespace),
      name: text(name),
      epoch: text(epoch),
      version: uint(version),
    };
    if (length === -1) return { ...item, isDeleted: true };
    const bytes = uint(length);
    if (bytes === 0) return item;
    at += bytes;
    return { ...item, entry: decodeEntry(value.subarray(at - bytes, at)) };
  });
  const commitId = text(r["c"]);
  if (r["e"] === undefined) return { commitId, items };
  const [sender, lengths] = list(r["e"]);
  const events = list(lengths).map((length) => {
    const bytes = uint(length);
    at += bytes;
    return decodeEvent(value.subarray(at - bytes, at));
  });
  return { commitId, items, sent: { sender: text(sender), events } };
}
