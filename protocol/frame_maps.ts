/**
 * Frames of both directions as MessagePack maps. This module is browser compatible.
 *
 * @module
 */
import { toDownMap } from "./down_frame_maps.ts";
import type { SentMap } from "./frame_fields.ts";
import type { DownFrame, UpFrame } from "./frames.ts";
import { toPlainUpMap } from "./up_frame_maps.ts";
import { toMutateMap } from "./write_maps.ts";

/** The map that is sent for a frame. */
export function toFrameMap(frame: UpFrame | DownFrame): SentMap {
  switch (frame.type) {
    case "mut":
      return toMutateMap(frame);
    case "rpc":
    case "cancel":
    case "ping":
    case "sub":
    case "unsub":
    case "hello":
      return toPlainUpMap(frame);
    default:
      return toDownMap(frame);
  }
}
