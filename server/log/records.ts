/**
 * What the KV holds of a store: head, log entry and their bytes. Values are
 * MessagePack in a `Uint8Array`, since values that V8 serialised in Deno cannot
 * be read by `@deno/kv` on Node, and back.
 *
 * @module
 */
import { decodeJson, encodeJson } from "../../protocol/codec.ts";
import { type ErrorCode, HeadwaterError } from "../../protocol/errors.ts";
import type { Patch } from "../../protocol/patch.ts";
import { decodePatch, encodePatch } from "../../protocol/patch_codec.ts";
import type { Json } from "../../protocol/value.ts";

/** Bytes that lie in the KV as immutable chunks. */
export interface BlobRef {
  readonly id: string;
  readonly chunks: number;
  readonly bytes: number;
}

/** Where a snapshot is: the encoded state, then the encoded numbers. */
export interface SnapshotRef extends BlobRef {
  readonly version: number;
  readonly stateBytes: number;
  /** Bytes of log that lead to it. */
  readonly logBytes: number;
  /** Log time of `version`; absent in a snapshot that an earlier release took. */
  readonly timeMs?: number;
}

/** The one record that every commit to a store checks. */
export interface Head {
  readonly epoch: string;
  readonly version: number;
  /** Who made `version`; part of resume tokens. */
  readonly writer: string;
  /** Id of the atomic that wrote this head; tells what became of one that threw. */
  readonly commitId: string;
  /** The log holds every version above it, and a snapshot its state. */
  readonly floor: number;
  /** The newest snapshot. */
  readonly snapshot?: SnapshotRef;
  /** Those before it, for whoever asks for the past; the oldest first, none below the floor. */
  readonly older?: readonly SnapshotRef[];
  /** Log time of `version`; never goes back. */
  readonly timeMs: number;
  /** Bytes of all log entries of this epoch so far. */
  readonly logBytes: number;
  /** Whether `onCreate` has taken effect since the creation or the last reset. */
  readonly initialized: boolean;
  /** Whether anything is remembered of the lives before this one. */
  readonly hasPast?: boolean;
  /** When this life began; absent in a head that an earlier release wrote. */
  readonly createdAtMs?: number;
  readonly expiresAtMs?: number;
  /** The epoch whose state this one took over, after the KV was found set back. */
  readonly mintedFrom?: string;
  /** Which shape the state has, as its definition numbers them; absent: 1. */
  readonly schema?: number;
}

/** Writes that one call may make to one store. */
export const WRITES_PER_CALL = 2 ** 20;

/** Which numbered write of a session a mutation is: the `n`-th of a call to this store. */
export interface Origin {
  readonly session: string;
  readonly issuedAtMs: number;
  readonly call: number;
  readonly n: number;
  /** Lowest call whose answer the client still awaited. */
  readonly oldest: number;
}

/** Why a numbered write was refused; said again to a call that is run again. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly path?: string;
  readonly data?: Json;
}

/** One mutation: one version. */
export interface Mutation {
  readonly patch: Patch;
  /** Client on whose behalf it was made. */
  readonly author?: string;
  readonly origin?: Origin;
  /** What the recipe returned, where it must be given again to a resent call. */
  readonly value?: Json;
  /** The recipe threw: the patch is empty, but the number is used up. */
  readonly refused?: Refusal;
  /** Whether the store counts as initialised afterwards; absent: as before. */
  readonly initialized?: boolean;
  /** The client that made it may have reckoned with another patch. */
  readonly isOpaque?: boolean;
  /** Which shape the state has afterwards; absent: as before. */
  readonly schema?: number;
}

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

/** Encodes a head. */
export function encodeHead(head: Head): Uint8Array<ArrayBuffer> {
  const { snapshot, older = [] } = head;
  return encodeJson({
    e: head.epoch,
    v: head.version,
    w: head.writer,
    c: head.commitId,
    f: head.floor,
    t: head.timeMs,
    b: head.logBytes,
    i: head.initialized,
    ...(head.hasPast && { p: true }),
    ...(snapshot && { s: snapshotToJson(snapshot) }),
    ...(older.length > 0 && { o: older.map(snapshotToJson) }),
    ...(head.createdAtMs !== undefined && { a: head.createdAtMs }),
    ...(head.expiresAtMs !== undefined && { x: head.expiresAtMs }),
    ...(head.mintedFrom !== undefined && { m: head.mintedFrom }),
    ...(head.schema !== undefined && { g: head.schema }),
  });
}

/** Decodes a head. */
export function decodeHead(value: unknown): Head {
  const r = decodeRecord(value, "head");
  const { s, o } = r;
  const head: Head = {
    epoch: text(r["e"]),
    version: uint(r["v"]),
    writer: text(r["w"]),
    commitId: text(r["c"]),
    floor: uint(r["f"]),
    timeMs: uint(r["t"]),
    logBytes: uint(r["b"]),
    initialized: r["i"] === true,
    ...(r["p"] === true && { hasPast: true }),
    ...(s !== undefined && { snapshot: snapshotFromJson(s) }),
    ...(o !== undefined && { older: list(o).map(snapshotFromJson) }),
    ...(r["a"] !== undefined && { createdAtMs: uint(r["a"]) }),
    ...(r["x"] !== undefined && { expiresAtMs: uint(r["x"]) }),
    ...(r["m"] !== undefined && { mintedFrom: text(r["m"]) }),
    ...(r["g"] !== undefined && { schema: uint(r["g"]) }),
  };
  // A range that ends before it begins is thrown by the KV, as if the caller were wrong.
  if ((head.snapshot?.version ?? 0) > head.version) throw corrupt("head");
  let version = -1;
  for (const snapshot of snapshotsOf(head)) {
    if (snapshot.version <= version) throw corrupt("head");
    ({ version } = snapshot);
  }
  return head;
}

/** Every snapshot that the head refers to, the oldest first. */
export function snapshotsOf(
  { older = [], snapshot }: Pick<Head, "older" | "snapshot">,
): readonly SnapshotRef[] {
  return snapshot ? [...older, snapshot] : older;
}

function snapshotToJson(snapshot: SnapshotRef): Json {
  const { id, chunks, bytes, version, stateBytes, logBytes, timeMs } = snapshot;
  const row = [id, chunks, bytes, version, stateBytes, logBytes];
  return timeMs === undefined ? row : [...row, timeMs];
}

function snapshotFromJson(json: Json): SnapshotRef {
  const [id, chunks, bytes, version, stateBytes, logBytes, timeMs] = list(json);
  return {
    id: text(id),
    chunks: uint(chunks),
    bytes: uint(bytes),
    version: uint(version),
    stateBytes: uint(stateBytes),
    logBytes: uint(logBytes),
    ...(timeMs !== undefined && { timeMs: uint(timeMs) }),
  };
}

/** Encodes a log entry. */
export function encodeEntry(entry: LogEntry): Uint8Array<ArrayBuffer> {
  return encodeJson(entryToJson(entry));
}

/** Decodes a log entry. */
export function decodeEntry(value: unknown): LogEntry {
  return entryFromJson(decodeRecord(value, "log entry"));
}

/** The value of a log key whose entry lies in chunks. */
export function encodeBlobRef(blob: BlobRef): Uint8Array<ArrayBuffer> {
  return encodeJson({ z: [blob.id, blob.chunks, blob.bytes] });
}

/** The chunks of a log value, or undefined where the entry is in the value itself. */
export function decodeBlobRef(value: unknown): BlobRef | undefined {
  const z = decodeRecord(value, "log entry")["z"] as
    | [string, number, number]
    | undefined;
  return z && { id: text(z[0]), chunks: uint(z[1]), bytes: uint(z[2]) };
}

/** Encodes any small record. */
export function encodeRecord(json: Json): Uint8Array<ArrayBuffer> {
  return encodeJson(json);
}

/** The error for bytes that cannot be what they should be; never an empty store. */
export function corrupt(what: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError(
    "store_unreadable",
    `Cannot read ${what}: its bytes are corrupt`,
    {
      cause,
    },
  );
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

function mutationToJson(mutation: Mutation): Json {
  const { origin, author, value, refused, initialized, schema, isOpaque } =
    mutation;
  return {
    p: encodePatch(mutation.patch),
    ...(author !== undefined && { a: author }),
    ...(origin && {
      o: [
        origin.session,
        origin.issuedAtMs,
        origin.call,
        origin.n,
        origin.oldest,
      ],
    }),
    ...(value !== undefined && { r: value }),
    ...(refused !== undefined && { x: refusalToJson(refused) }),
    ...(initialized !== undefined && { i: initialized }),
    ...(schema !== undefined && { g: schema }),
    ...(isOpaque && { y: true }),
  };
}

function mutationFromJson(r: { readonly [key: string]: Json }): Mutation {
  const o = r["o"] as readonly Json[] | undefined;
  const x = r["x"];
  return {
    patch: patchFromJson(r["p"]),
    ...(r["a"] !== undefined && { author: text(r["a"]) }),
    ...(o && { origin: originFromJson(o) }),
    ...(r["r"] !== undefined && { value: r["r"] }),
    ...(r["i"] !== undefined && { initialized: r["i"] === true }),
    ...(r["g"] !== undefined && { schema: uint(r["g"]) }),
    ...(r["y"] === true && { isOpaque: true }),
    ...(x !== undefined && { refused: refusalFromJson(x) }),
  };
}

/** A refusal as records hold it. */
export function refusalToJson(refused: Refusal): readonly Json[] {
  const { code, message, path, data } = refused;
  if (path === undefined && data === undefined) return [code, message];
  return [code, message, path ?? null, ...(data === undefined ? [] : [data])];
}

/** The refusal that {@linkcode refusalToJson} wrote. */
export function refusalFromJson(x: Json): Refusal {
  if (!Array.isArray(x)) throw corrupt("refusal");
  const [code, message, path = null, data] = x as readonly Json[];
  return {
    code: text(code) as ErrorCode, // a code that is not known is passed on as it is
    message: text(message),
    ...(path !== null && { path: text(path) }),
    ...(data !== undefined && { data }),
  };
}

function patchFromJson(json: Json | undefined): Patch {
  try {
    return decodePatch(json);
  } catch (error) {
    throw corrupt("log entry", error);
  }
}

function originFromJson(o: readonly Json[]): Origin {
  const n = uint(o[3]);
  // The numbers of a call lie in an array: one that is absurd would make it fill the memory.
  if (n >= WRITES_PER_CALL) throw corrupt("log entry");
  return {
    session: text(o[0]),
    issuedAtMs: uint(o[1]),
    call: uint(o[2]),
    n,
    oldest: uint(o[4]),
  };
}

/** Decodes any record into its fields. */
export function decodeRecord(
  value: unknown,
  what: string,
): { readonly [key: string]: Json } {
  if (!(value instanceof Uint8Array)) throw corrupt(what);
  let json: Json;
  try {
    json = decodeJson(value);
  } catch (error) {
    throw corrupt(what, error);
  }
  return fields(json, what);
}

/** The fields of what must be a map. */
export function fields(
  json: Json | undefined,
  what: string,
): { readonly [key: string]: Json } {
  if (json === null || typeof json !== "object" || Array.isArray(json)) {
    throw corrupt(what);
  }
  return json as { readonly [key: string]: Json };
}

/** What must be an array. */
export function list(json: Json | undefined): readonly Json[] {
  if (!Array.isArray(json)) throw corrupt("record");
  return json as readonly Json[]; // JSON holds JSON
}

/** A field that must be a string. */
export function text(json: Json | undefined): string {
  if (typeof json !== "string") throw corrupt("record");
  return json;
}

/** A field that must be an integer from 0. */
export function uint(json: Json | undefined): number {
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0) {
    throw corrupt("record");
  }
  return json;
}
