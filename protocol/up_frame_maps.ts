/**
 * Frames that go up as MessagePack maps with single-letter keys; back it is
 * `up_frame_reader.ts`, and what writes is in `write_maps.ts`.
 * `PROTOCOL.md` has the same as tables; a change here changes the bytes, and so
 * the number of the protocol. This module is browser compatible.
 *
 * @module
 */
import { unreachable } from "./errors.ts";
import type { FrameMap } from "./frame_fields.ts";
import type { CallFrame, MutateFrame, UpFrame } from "./frames.ts";

/** Field `t` of each frame type; those from 32 on go down. */
export const UP = {
  hello: 1,
  sub: 2,
  unsub: 3,
  rpc: 4,
  ping: 5,
  mut: 6,
  cancel: 7,
} as const;

/** Frames that clients send which write nothing; see `write_maps.ts` for the other one. */
export type PlainUpFrame = Exclude<UpFrame, MutateFrame>;

/** The map that is sent for a frame. Optional fields are absent, never null. */
export function toPlainUpMap(frame: PlainUpFrame): FrameMap {
  switch (frame.type) {
    case "rpc":
      return toCallMap(frame);
    case "hello":
      return {
        t: UP.hello,
        v: frame.protocol,
        ...(frame.session !== undefined && { s: frame.session }),
        ...(frame.identity !== undefined && { i: frame.identity }),
        ...(frame.parts === true && { p: true }),
        ...(frame.own === true && { o: true }),
        ...(frame.token !== undefined && { k: frame.token }),
      };
    case "sub": {
      const { token } = frame;
      return {
        t: UP.sub,
        n: frame.name,
        ...(token !== undefined &&
          { e: token.epoch, v: token.version, w: token.writer }),
      };
    }
    case "unsub":
      return { t: UP.unsub, n: frame.name };
    case "ping":
      return { t: UP.ping };
    case "cancel":
      return { t: UP.cancel, i: frame.id };
    default:
      return unreachable(frame);
  }
}

function toCallMap(frame: CallFrame): FrameMap {
  const { id, name, args, oldest, resent } = frame;
  return {
    t: UP.rpc,
    i: id,
    n: name,
    // Clocks give fractions, which would take nine bytes.
    m: Math.max(0, Math.trunc(frame.elapsedMs)),
    ...(oldest !== id && { o: oldest }),
    ...(resent === true && { r: true }),
    ...(args !== undefined && { a: args }),
  };
}
