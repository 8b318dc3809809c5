/**
 * A client's side of `codec.ts`: frames up to bytes, bytes to frames down, and none
 * of what a server needs. This module is browser compatible.
 *
 * @module
 */
import { toDownFrame } from "./down_frame_reader.ts";
import { HeadwaterError } from "./errors.ts";
import { isMap, type SentMap } from "./frame_fields.ts";
import type { DownFrame } from "./frames.ts";
import { PackReader } from "./pack_reader.ts";
import { PackWriter } from "./pack_writer.ts";
import { type PlainUpFrame, toPlainUpMap } from "./up_frame_maps.ts";

/** There is one, used synchronously and seen by nobody. */
const writer = new PackWriter();

/** A frame in bytes, ready to be sent. */
export function encodeUp(frame: PlainUpFrame): Uint8Array<ArrayBuffer> {
  return encodeMap(toPlainUpMap(frame));
}

/** The same for a frame that is a map already. */
export function encodeMap(map: SentMap): Uint8Array<ArrayBuffer> {
  return writer.write(map);
}

/** Several frames as one message. */
export function joinUp(
  frames: readonly Uint8Array<ArrayBuffer>[],
): Uint8Array<ArrayBuffer> {
  const length = frames.reduce((sum, frame) => sum + frame.length, 0);
  const message = new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    message.set(frame, at);
    at += frame.length;
  }
  return message;
}

/**
 * Reads a message from a server. Frames of a type that is not known are left out.
 *
 * @throws {HeadwaterError} `bad_frame` or `bad_patch`: the connection ends.
 */
export function decodeDown(message: Uint8Array): DownFrame[] {
  try {
    return readFrames(new PackReader(message));
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause;
    throw malformed(`Cannot decode a message: ${cause}`, cause);
  }
}

function readFrames(reader: PackReader): DownFrame[] {
  const frames: DownFrame[] = [];
  do {
    const isFirst = frames.length === 0;
    const map = reader.read();
    if (!isMap(map)) throw malformed("Cannot read frame: it is not a map");
    const frame = toDownFrame(map);
    if (frame?.type === "parts" && !(isFirst && reader.isAtEnd)) {
      throw malformed(
        "Cannot read parts frame: it is not alone in its message",
      );
    }
    if (frame) frames.push(frame);
  } while (!reader.isAtEnd);
  return frames;
}

function malformed(message: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("bad_frame", message, { cause });
}
