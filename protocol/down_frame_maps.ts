/**
 * Frames that go down as MessagePack maps with single-letter keys; back it is
 * `down_frame_reader.ts`.
 * `PROTOCOL.md` has the same as tables; a change here changes the bytes, and so
 * the number of the protocol. This module is browser compatible.
 *
 * @module
 */
import { DOWN } from "./down_tags.ts";
import { unreachable } from "./errors.ts";
import { type FrameMap, toErrorMap } from "./frame_fields.ts";
import type {
  DownFrame,
  PatchFrame,
  ResultFrame,
  SnapshotFrame,
} from "./frames.ts";
import { encodePatch } from "./patch_codec.ts";

/** The map that is sent for a frame. Optional fields are absent, never null. */
export function toDownMap(frame: DownFrame): FrameMap {
  switch (frame.type) {
    case "patch":
      return toPatchMap(frame);
    case "res":
      return toResultMap(frame);
    case "welcome":
      return {
        t: DOWN.welcome,
        v: frame.protocol,
        c: frame.clientId,
        s: frame.session,
        r: frame.resumed,
        l: frame.sessionMs,
        h: frame.heartbeatMs,
        b: frame.messageBytes,
        d: frame.serverId,
        ...(frame.user !== undefined && { u: frame.user }),
      };
    case "snap":
      return { ...toSnapshotHead(frame), x: frame.state };
    case "resume":
      return {
        t: DOWN.resume,
        s: frame.store,
        n: frame.name,
        e: frame.epoch,
        f: frame.from,
        v: frame.version,
        w: frame.writer,
        p: encodePatch(frame.patch),
      };
    case "del":
      return { t: DOWN.del, n: frame.name };
    case "evt":
      return {
        t: DOWN.evt,
        c: frame.channel,
        ...(frame.data !== undefined && { x: frame.data }),
        ...(frame.order && { s: frame.order.sender, i: frame.order.number }),
      };
    case "err":
      return {
        t: DOWN.err,
        e: toErrorMap(frame.error),
        ...(frame.name !== undefined && { n: frame.name }),
      };
    case "pong":
      return { t: DOWN.pong };
    case "parts":
      return { t: DOWN.parts, b: frame.bytes };
    case "own":
      return { t: DOWN.own, n: frame.name, c: frame.calls };
    default:
      return unreachable(frame);
  }
}

/** A snapshot's map without its state, which comes last, as field `x`. */
export function toSnapshotHead(
  frame: Omit<SnapshotFrame, "state">,
): FrameMap {
  return {
    t: DOWN.snap,
    s: frame.store,
    n: frame.name,
    e: frame.epoch,
    v: frame.version,
    w: frame.writer,
  };
}

function toPatchMap(frame: PatchFrame): FrameMap {
  const { store, version, from, writer } = frame;
  const p = encodePatch(frame.patch);
  if (from === version - 1) {
    return writer === undefined
      ? { s: store, v: version, p }
      : { s: store, v: version, w: writer, p };
  }
  if (writer === undefined) return { s: store, v: version, f: from, p };
  return { s: store, v: version, f: from, w: writer, p };
}

function toResultMap({ id, value, error }: ResultFrame): FrameMap {
  if (error !== undefined) return { t: DOWN.res, i: id, e: toErrorMap(error) };
  return value === undefined
    ? { t: DOWN.res, i: id }
    : { t: DOWN.res, i: id, x: value };
}
