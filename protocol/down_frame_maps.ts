/**
 * Frames that go down as MessagePack maps with single-letter keys, and back.
 * `PROTOCOL.md` has the same as tables; a change here changes the bytes, and so
 * the number of the protocol. This module is browser compatible.
 *
 * @module
 */
import { unreachable } from "./errors.ts";
import { FrameFields, type FrameMap, toErrorMap } from "./frame_fields.ts";
import type {
  DownFrame,
  ErrorFrame,
  EventFrame,
  PatchFrame,
  ResultFrame,
  ResumeFrame,
  SnapshotFrame,
  WelcomeFrame,
} from "./frames.ts";
import { decodePatch, encodePatch } from "./patch.ts";

/**
 * Field `t` of each frame type, from 32 on; a patch goes without, since nine
 * frames of ten are patches.
 */
const DOWN = {
  welcome: 32,
  snap: 33,
  resume: 34,
  res: 35,
  del: 36,
  evt: 37,
  err: 38,
  pong: 39,
  parts: 40,
  own: 41,
} as const;

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

/**
 * Reads what a server sent; undefined for a type that is not known here, which
 * the client passes over.
 *
 * @throws {HeadwaterError} `bad_frame` or `bad_patch` if the frame is not as it must be.
 */
export function toDownFrame(map: FrameMap): DownFrame | undefined {
  switch (map["t"]) {
    case undefined:
      return toPatch(new FrameFields(map, "patch"));
    case DOWN.res:
      return toResult(new FrameFields(map, "res"));
    case DOWN.pong:
      return { type: "pong" };
    case DOWN.snap:
      return toSnapshot(new FrameFields(map, "snap"));
    case DOWN.resume:
      return toResume(new FrameFields(map, "resume"));
    case DOWN.evt:
      return toEvent(new FrameFields(map, "evt"));
    case DOWN.del:
      return { type: "del", name: new FrameFields(map, "del").string("n") };
    case DOWN.err:
      return toError(new FrameFields(map, "err"));
    case DOWN.welcome:
      return toWelcome(new FrameFields(map, "welcome"));
    case DOWN.parts:
      return {
        type: "parts",
        bytes: new FrameFields(map, "parts").uint("b", 1),
      };
    case DOWN.own: {
      const fields = new FrameFields(map, "own");
      return {
        type: "own",
        name: fields.string("n"),
        calls: fields.numbers("c"),
      };
    }
    default:
      // Of a wrong kind it is a broken peer, not a newer one.
      new FrameFields(map, "unknown").uint("t");
      return undefined;
  }
}

function toPatch(fields: FrameFields): PatchFrame {
  const version = fields.uint("v", 1);
  const from = fields.has("f") ? fields.uint("f") : version - 1;
  if (from >= version) {
    throw fields.conflict(`"f" (${from}) is not below "v" (${version})`);
  }
  const writer = fields.optionalString("w");
  return {
    type: "patch",
    store: fields.uint("s"),
    from,
    version,
    ...(writer !== undefined && { writer }),
    patch: decodePatch(fields.any("p")),
  };
}

function toResult(fields: FrameFields): ResultFrame {
  const id = fields.uint("i", 1);
  const value = fields.any("x");
  if (!fields.has("e")) {
    return { type: "res", id, ...(value !== undefined && { value }) };
  }
  if (value !== undefined) throw fields.conflict('it has both "e" and "x"');
  return { type: "res", id, error: fields.error("e") };
}

function toSnapshot(fields: FrameFields): SnapshotFrame {
  const state = fields.any("x");
  if (state === undefined) throw fields.conflict('it has no "x"');
  return {
    type: "snap",
    store: fields.uint("s"),
    name: fields.string("n"),
    epoch: fields.string("e"),
    version: fields.uint("v"),
    writer: fields.string("w"),
    state,
  };
}

function toResume(fields: FrameFields): ResumeFrame {
  const from = fields.uint("f");
  const version = fields.uint("v");
  if (from > version) {
    throw fields.conflict(`"f" (${from}) is over "v" (${version})`);
  }
  return {
    type: "resume",
    store: fields.uint("s"),
    name: fields.string("n"),
    epoch: fields.string("e"),
    from,
    version,
    writer: fields.string("w"),
    patch: decodePatch(fields.any("p")),
  };
}

function toEvent(fields: FrameFields): EventFrame {
  const channel = fields.string("c");
  const data = fields.any("x");
  const hasOrder = fields.has("s") || fields.has("i");
  return {
    type: "evt",
    channel,
    ...(data !== undefined && { data }),
    ...(hasOrder &&
      { order: { sender: fields.string("s"), number: fields.uint("i", 1) } }),
  };
}

function toError(fields: FrameFields): ErrorFrame {
  const error = fields.error("e");
  const name = fields.optionalString("n");
  return name === undefined
    ? { type: "err", error }
    : { type: "err", error, name };
}

function toWelcome(fields: FrameFields): WelcomeFrame {
  const user = fields.any("u");
  return {
    type: "welcome",
    protocol: fields.uint("v", 1),
    clientId: fields.string("c"),
    session: fields.string("s"),
    resumed: fields.boolean("r"),
    sessionMs: fields.uint("l"),
    heartbeatMs: fields.uint("h"),
    messageBytes: fields.uint("b", 1),
    serverId: fields.string("d"),
    ...(user !== undefined && { user }),
  };
}
