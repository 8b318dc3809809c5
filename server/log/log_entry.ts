/**
 * What one commit did to one store: what its log keeps of it, and the bytes of that.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Json } from "../../protocol/value.ts";
import { type Mutation, mutationFromJson, mutationToJson } from "./mutation.ts";
import { corrupt, decodeRecord, fields, list, text, uint } from "./record.ts";

/** The version to which a transaction led one of its stores. */
export interface TogetherRef {
  readonly name: string;
  readonly epoch: string;
  readonly version: number;
}

/** What one commit did to one store: versions `from + 1` to `from + mutations.length`. */
export interface LogEntry {
  readonly from: number;
  /** Writer of version `from`. */
  readonly previous: string;
  readonly writer: string;
  readonly timeMs: number;
  /** Bytes of all entries of the epoch before this one. */
  readonly bytesBefore: number;
  readonly mutations: readonly Mutation[];
  /** Where it is part of a transaction: all stores that this one changed, in the same namespace. */
  readonly together?: readonly TogetherRef[];
}

/** Last version of an entry. */
export function entryVersion(entry: LogEntry): number {
  return entry.from + entry.mutations.length;
}

/** Which shape the state has after an entry; undefined: as before. */
export function schemaAfter({ mutations }: LogEntry): number | undefined {
  return mutations.findLast(({ schema }) => schema !== undefined)?.schema;
}

/** Encodes a log entry. */
export function encodeEntry(entry: LogEntry): Uint8Array<ArrayBuffer> {
  return encodeJson(entryToJson(entry));
}

/** Decodes a log entry. */
export function decodeEntry(value: unknown): LogEntry {
  return entryFromJson(decodeRecord(value, "log entry"));
}

function entryToJson(entry: LogEntry): Json {
  return {
    f: entry.from,
    q: entry.previous,
    w: entry.writer,
    t: entry.timeMs,
    b: entry.bytesBefore,
    m: entry.mutations.map(mutationToJson),
    ...(entry.together && {
      g: entry.together.map(({ name, epoch, version }) => [
        name,
        epoch,
        version,
      ]),
    }),
  };
}

function entryFromJson(r: { readonly [key: string]: Json }): LogEntry {
  if (!Array.isArray(r["m"])) throw corrupt("log entry");
  return {
    from: uint(r["f"]),
    previous: text(r["q"]),
    writer: text(r["w"]),
    timeMs: uint(r["t"]),
    bytesBefore: uint(r["b"]),
    mutations: r["m"].map((json: Json) =>
      mutationFromJson(fields(json, "mutation"))
    ),
    ...(r["g"] !== undefined && { together: list(r["g"]).map(togetherFrom) }),
  };
}

function togetherFrom(json: Json): TogetherRef {
  const [name, epoch, version] = list(json);
  return { name: text(name), epoch: text(epoch), version: uint(version) };
}
