/**
 * The decoders of frames, in both directions.
 *
 * @module
 */
import {
  decodeDown,
  decodeJson,
  decodeUp,
  encodeFrame,
  joinFrames,
} from "../../protocol/codec.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { isMap } from "../../protocol/frame_fields.ts";
import { toFrameMap } from "../../protocol/frame_maps.ts";
import type {
  DownFrame,
  RefusedFrame,
  UpFrame,
} from "../../protocol/frames.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import { applyPatch } from "../../protocol/patch.ts";
import { freezeDeep, type Json } from "../../protocol/value.ts";
import { SAMPLES } from "../../tests/_frames.ts";
import { FuzzFailure } from "./contract.ts";
import type { Decoder, StopWatch } from "./decoder.ts";
import {
  DOWN_ROWS,
  downDraft,
  newKnowledge,
  UP_ROWS,
  upDraft,
  type UpRow,
} from "./frame_drafts.ts";

/** Type of a frame by its field `t`, as the codec itself writes it. */
const TYPES = new Map<Json | undefined, string>(
  Object.values(SAMPLES).map((frame) => [toFrameMap(frame)["t"], frame.type]),
);

/** Every decoder of a frame. */
export function frameDecoders(): Decoder[] {
  const known = newKnowledge();
  const up = UP_ROWS.map((name): Decoder => ({
    name,
    draft: (random) => upDraft(name, random, known),
    run: (bytes, watch) => takeUp(bytes, name, watch),
    peek: (bytes) => peekFrame(bytes, UP_ROWS),
  }));
  const down = DOWN_ROWS.map((name): Decoder => ({
    name,
    draft: (random) => downDraft(name, random),
    run: takeDown,
    peek: (bytes) => peekFrame(bytes, DOWN_ROWS),
  }));
  return [...up, ...down];
}

/** The row of a frame that was read. */
export function rowOfFrame(frame: UpFrame | RefusedFrame): UpRow {
  if (frame.type === "refused") return frame.of;
  if (frame.type === "sub" && frame.token) return "resume token";
  return frame.type;
}

/** Which of `rows` has refused a frame for its fields; undefined where it was not read so far. */
export function peekFrame(
  bytes: Uint8Array,
  rows: readonly string[],
): string | undefined {
  let map: Json;
  try {
    map = decodeJson(bytes);
  } catch {
    return undefined;
  }
  if (!isMap(map)) return undefined;
  const type = TYPES.get(map["t"]);
  const hasToken = map["e"] !== undefined || map["v"] !== undefined ||
    map["w"] !== undefined;
  const row = type === "sub" && hasToken ? "resume token" : type;
  return row !== undefined && rows.includes(row) ? row : undefined;
}

function takeUp(
  bytes: Uint8Array,
  aimed: string,
  watch: StopWatch,
): string | undefined {
  const frames = decodeUp(bytes, DEFAULT_LIMITS);
  const [first] = frames;
  if (first === undefined) throw new FuzzFailure("no frame and no error");
  if (first.type === "refused") {
    throw HeadwaterError.fromBody(first.error);
  }
  watch.end();
  const again = joinFrames(frames.map(encodeTaken));
  const reread = decodeUp(again, DEFAULT_LIMITS).map(encodeTaken);
  if (!isEqual(again, joinFrames(reread))) {
    throw new FuzzFailure("a frame that was taken reads differently again");
  }
  return rowOfFrame(first) === aimed ? undefined : rowOfFrame(first);
}

/** A refusal is not sent, so only the frames around it can be compared. */
function encodeTaken(
  frame: UpFrame | RefusedFrame,
): Uint8Array<ArrayBuffer> {
  return encodeFrame(frame.type === "refused" ? { type: "ping" } : frame);
}

const STATE: Json = freezeDeep({
  items: [{ done: false }, { done: true }],
  note: null,
  a: { b: 1 },
});

function takeDown(
  bytes: Uint8Array,
  watch: StopWatch,
): string | undefined {
  const frames = decodeDown(bytes);
  watch.end();
  for (const frame of frames) {
    // What the client would do with it: a patch may not fit, but must say so.
    if (frame.type === "patch" || frame.type === "resume") tryPatch(frame);
  }
  const again = joinFrames(frames.map((frame) => encodeFrame(frame)));
  const reread = frames.length === 0 ? [] : decodeDown(again);
  if (!isEqual(again, joinFrames(reread.map((frame) => encodeFrame(frame))))) {
    throw new FuzzFailure("a frame that was taken reads differently again");
  }
  return frames[0]?.type;
}

function tryPatch(frame: Extract<DownFrame, { type: "patch" | "resume" }>) {
  try {
    applyPatch(STATE, frame.patch, { freeze: true });
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
