/**
 * The frame of a client's writes as a MessagePack map; back it is `write_reader.ts`.
 * This module is browser compatible.
 *
 * @module
 */
import type { FrameMap } from "./frame_fields.ts";
import type { ClientWrite, MutateFrame } from "./frames.ts";
import { encodePatch } from "./patch_codec.ts";
import { UP } from "./up_frame_maps.ts";
import type { Json } from "./json.ts";

/** The map that is sent for a client's writes; they lie flat in one array. */
export function toMutateMap(frame: MutateFrame): FrameMap {
  const { id, oldest, resent, exact } = frame;
  return {
    t: UP.mut,
    i: id,
    m: Math.max(0, Math.trunc(frame.elapsedMs)),
    ...(oldest !== id && { o: oldest }),
    ...(resent === true && { r: true }),
    ...(exact === true && { x: true }),
    w: frame.writes.flatMap(toElements),
  };
}

function toElements(write: ClientWrite): Json[] {
  const { name, epoch, base, after } = write;
  return [name, epoch, base, after, toAction(write)];
}

function toAction(write: ClientWrite): Json {
  if ("patch" in write) return encodePatch(write.patch);
  const { mutator, seed, args } = write;
  return args === undefined ? [mutator, seed] : [mutator, seed, args];
}
