/**
 * Bytes to frames and back: the one door for untrusted bytes, and the only user
 * of MessagePack. This module is browser compatible.
 *
 * @module
 */
import { decode, Encoder } from "@msgpack/msgpack";
import { toSnapshotHead } from "./down_frame_maps.ts";
import { toErrorBody } from "./error_body.ts";
import { HeadwaterError, LimitError } from "./errors.ts";
import { type FrameMap, isMap, type SentMap } from "./frame_fields.ts";
import { toFrameMap } from "./frame_maps.ts";
import type {
  DownFrame,
  RefusedFrame,
  SnapshotFrame,
  UpFrame,
} from "./frames.ts";
import type { Limits } from "./limits.ts";
import { keyDecoder } from "./key_decoder.ts";
import { type Fault, scanValue } from "./scan.ts";
import { findEntries } from "./scan_shape.ts";
import { toUpFrame } from "./up_frame_reader.ts";
import { type Json, pointer } from "./value.ts";

export { decodeDown } from "./client_codec.ts";

/** Nesting that bytes of our own may have, log and server alike; the stack bears it. */
const WIDE_DEPTH = 512;

/** A frame in bytes, ready to be sent. */
export function encodeFrame(
  frame: UpFrame | DownFrame,
): Uint8Array<ArrayBuffer> {
  return writer.writeFrame(toFrameMap(frame));
}

/** The same for a snapshot whose state is encoded already (by {@linkcode encodeJson}). */
export function encodeSnapshot(
  frame: Omit<SnapshotFrame, "state">,
  stateBytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const head = writer.write(toSnapshotHead(frame));
  const bytes = new Uint8Array(
    head.length + STATE_KEY.length + stateBytes.length,
  );
  bytes.set(head);
  bytes[0]!++; // the map has one entry more: the state
  bytes.set(STATE_KEY, head.length);
  bytes.set(stateBytes, head.length + STATE_KEY.length);
  return bytes;
}

/** The key "x" in MessagePack. */
const STATE_KEY = new Uint8Array([0xa1, 0x78]);

/** A value in MessagePack. It must be clean (`cleanValue`): what is not JSON is not refused here. */
export function encodeJson(value: Json): Uint8Array<ArrayBuffer> {
  return writer.write(value);
}

/** Limits of {@linkcode decodeJson}; without them only the stack's. */
export interface DecodeJsonOptions {
  /** Nesting of the value. */
  readonly depth?: number;
  /** Values and keys in it. */
  readonly nodes?: number;
}

/**
 * Reads one value.
 *
 * @throws {HeadwaterError} `bad_frame` if the bytes are not MessagePack of one value, `bad_value`
 * if it cannot be shared.
 * @throws {LimitError} If it is over a limit.
 */
export function decodeJson(
  bytes: Uint8Array,
  options: DecodeJsonOptions = {},
): Json {
  const { depth = WIDE_DEPTH, nodes = Infinity } = options;
  const { end, fault, isDelicate } = scanValue(bytes, { depth, nodes });
  if (end < bytes.length) {
    throw new HeadwaterError(
      "bad_frame",
      `Cannot decode: ${bytes.length - end} bytes follow the value`,
    );
  }
  if (fault !== undefined) throw toError(fault, { depth, nodes });
  return decodeScanned(bytes, isDelicate);
}

/** Several frames as one message; a single one is returned as it is. */
export function joinFrames(
  frames: readonly Uint8Array<ArrayBuffer>[],
): Uint8Array<ArrayBuffer> {
  if (frames.length === 1) return frames[0]!;
  let length = 0;
  for (const frame of frames) length += frame.length;
  const message = writer.take(length);
  let at = 0;
  for (const frame of frames) {
    message.set(frame, at);
    at += frame.length;
  }
  return message;
}

/** Limits of {@linkcode decodeUp}. */
export type UpLimits = Pick<
  Limits,
  "messageBytes" | "depth" | "nodes" | "nameLength"
>;

/**
 * Reads a message from a client. A request that is well-formed but whose name or
 * arguments are refused becomes a {@linkcode RefusedFrame}; the frames around it
 * are not affected.
 *
 * @throws {HeadwaterError} `bad_frame`, or `bad_value` outside of arguments: the connection ends.
 * @throws {LimitError} If the message is too long, or a limit is exceeded outside of arguments.
 */
export function decodeUp(
  message: Uint8Array,
  limits: UpLimits,
): (UpFrame | RefusedFrame)[] {
  if (message.length > limits.messageBytes) {
    throw new LimitError(
      "decode a message",
      "messageBytes",
      limits.messageBytes,
      message.length,
    );
  }
  // A frame is a map around the arguments, so it nests one deeper than they do.
  const options = { depth: limits.depth + 1, nodes: limits.nodes };
  const frames: (UpFrame | RefusedFrame)[] = [];
  let start = 0;
  do {
    const { end, fault, isDelicate } = scanValue(message, {
      ...options,
      start,
    });
    const bytes = message.subarray(start, end);
    frames.push(
      fault === undefined
        ? toUpFrame(decodeMap(bytes, isDelicate), limits)
        : refuse(bytes, fault, limits),
    );
    start = end;
  } while (start < message.length);
  return frames;
}

/**
 * Reads all of a frame but its refused arguments or writes; throws where it is
 * refused for something else.
 */
function refuse(
  bytes: Uint8Array,
  fault: Fault,
  limits: UpLimits,
): RefusedFrame {
  const field = fault.path[0];
  const entries = findEntries(bytes);
  if ((field !== "a" && field !== "w") || entries === undefined) {
    throw toError(fault, { depth: limits.depth + 1, nodes: limits.nodes });
  }
  const error = toError(inArguments(fault), limits);
  const map: Record<string, Json> = {};
  for (const { key, start, end } of entries) {
    if (key !== field) {
      map[key] = decodeJson(bytes.subarray(start, end), limits);
    }
  }
  // Any write at all lets the rest of the frame be read.
  if (field === "w") map["w"] = ["-", "", 0, [], []];
  const frame = toUpFrame(map, limits);
  if (frame.type === "refused") return frame;
  if (frame.type !== (field === "a" ? "rpc" : "mut")) throw error;
  return {
    type: "refused",
    of: "rpc",
    id: frame.id,
    error: toErrorBody(error, "bad_value"),
  };
}

/** The fault as it is for the arguments alone, which are one level down in the frame. */
function inArguments({ path, reason, limit }: Fault): Fault {
  const inner = { path: path.slice(1), reason };
  if (limit === undefined) return inner;
  return {
    ...inner,
    limit: limit.name === "depth"
      ? { ...limit, actual: limit.actual - 1 }
      : limit,
  };
}

/** Frames up to this size share buffers. */
const SMALL_BYTES = 1024;
/** Size of a shared buffer. Whoever keeps a small frame keeps that much with it. */
const SHARED_BYTES = 8 * 1024;
/** The encoder's own buffer may stay this large between two values. */
const KEPT_BYTES = 256 * 1024;

/**
 * Writes values. There is one, used synchronously and seen by nobody: a fresh
 * encoder costs several times the encoding of a small frame, and so does a fresh
 * ArrayBuffer (1 µs in Deno), which is why small frames share one. What has been
 * handed out is never written again.
 */
class Writer {
  #encoder = newEncoder();
  #shared = new Uint8Array(SHARED_BYTES);
  #used = 0;

  /** Writes into a buffer of its own. */
  write(value: Json): Uint8Array<ArrayBuffer> {
    const bytes = this.#encoder.encode(value);
    if (bytes.length > KEPT_BYTES) this.#encoder = newEncoder();
    return bytes;
  }

  /** Writes into a buffer that is shared if the frame is small. */
  writeFrame(map: SentMap): Uint8Array<ArrayBuffer> {
    const borrowed = this.#encoder.encodeSharedRef(map);
    const bytes = this.take(borrowed.length);
    bytes.set(borrowed);
    if (bytes.length > KEPT_BYTES) this.#encoder = newEncoder();
    return bytes;
  }

  /** Bytes to write into, from the shared buffer if they are few. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (length > SMALL_BYTES) return new Uint8Array(length);
    if (this.#used + length > SHARED_BYTES) {
      this.#shared = new Uint8Array(SHARED_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += length;
    return this.#shared.subarray(start, this.#used);
  }
}

/** A property that is undefined is left out, as `cleanValue` does; by default it would become null. */
function newEncoder(): Encoder {
  return new Encoder({ ignoreUndefined: true, maxDepth: WIDE_DEPTH + 1 });
}

const writer = new Writer();

/** Decodes what a scan has passed. */
function decodeScanned(bytes: Uint8Array, isDelicate: boolean): Json {
  const value = isDelicate
    ? decodeDelicate(bytes)
    : decode(bytes, DECODE_OPTIONS);
  return value as Json; // the scan has let nothing else through
}

const DECODE_OPTIONS = { keyDecoder };

/**
 * The plain decoder keeps -0, and drops a byte order mark at the beginning of a
 * long text: both would differ from what the sender has in memory.
 */
function decodeDelicate(bytes: Uint8Array): unknown {
  const value = decode(bytes, { keyDecoder, rawStrings: true });
  return mend(value, new TextDecoder("utf-8", { ignoreBOM: true }));
}

function mend(value: unknown, utf8: TextDecoder): unknown {
  if (value === 0) return 0; // -0 too
  if (value instanceof Uint8Array) return utf8.decode(value);
  if (Array.isArray(value)) return value.map((item) => mend(item, utf8));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, mend(item, utf8)]),
  );
}

function decodeMap(bytes: Uint8Array, isDelicate: boolean): FrameMap {
  const value = decodeScanned(bytes, isDelicate);
  if (isMap(value)) return value;
  throw new HeadwaterError("bad_frame", "Cannot read frame: it is not a map");
}

function toError(
  fault: Fault,
  limits: { depth: number; nodes: number },
): HeadwaterError {
  const { limit, reason } = fault;
  if (limit !== undefined) {
    return new LimitError(
      "take a value",
      limit.name,
      limits[limit.name],
      limit.actual,
    );
  }
  const path = pointer(fault.path);
  const shown = path.length > 100
    ? `${path.slice(0, 100).toWellFormed()}…`
    : path;
  const where = path === "" ? "the value" : `what is at "${shown}"`;
  return new HeadwaterError("bad_value", `Cannot take ${where}: ${reason}`, {
    path,
    outcome: "notApplied",
  });
}
