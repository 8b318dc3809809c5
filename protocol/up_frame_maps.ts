/**
 * Frames that go up as MessagePack maps with single-letter keys; back it is
 * `up_frame_reader.ts`, and what writes is in `write_maps.ts`.
 * `PROTOCOL.md` has the same as tables; a change here changes the bytes, and so
 * the number of the protocol. This module is browser compatible.
 *
 * @module
 */
import { unreachable } from "./errors.ts";
import type { SentMap } from "./frame_fields.ts";
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

/** The map that is sent for a frame. What is undefined is left out. */
export function toPlainUpMap(frame: PlainUpFrame): SentMap {
  switch (frame.type) {
    case "rpc":
      return toCallMap(frame);
    case "hello":
      return {
        t: UP.hello,
        v: frame.protocol,
        s: frame.session,
        i: frame.identity,
        p: frame.parts || undefined,
        o: frame.own || undefined,
        k: frame.token,
      };
    case "sub": {
      const { epoch, version, writer } = frame.token ?? {};
      return { t: UP.sub, n: frame.name, e: epoch, v: version, w: writer };
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

function toCallMap(frame: CallFrame): SentMap {
  const { id, name, args, oldest, resent } = frame;
  return {
    t: UP.rpc,
    i: id,
    n: name,
    // Clocks give fractions, which would take nine bytes.
    m: Math.max(0, Math.trunc(frame.elapsedMs)),
    o: oldest === id ? undefined : oldest,
    r: resent || undefined,
    a: args,
  };
}
