/**
 * Frames that go up as MessagePack maps with single-letter keys, and back.
 * `PROTOCOL.md` has the same as tables; a change here changes the bytes, and so
 * the number of the protocol. This module is browser compatible.
 *
 * @module
 */
import { toErrorBody } from "./error_body.ts";
import { type ErrorBody, HeadwaterError, unreachable } from "./errors.ts";
import { FrameFields, type FrameMap } from "./frame_fields.ts";
import type {
  CallFrame,
  HelloFrame,
  RefusedFrame,
  ResumeToken,
  SubscribeFrame,
  UpFrame,
} from "./frames.ts";
import { cleanName } from "./value.ts";
import { toMutate, toMutateMap } from "./write_maps.ts";

/** Field `t` of each frame type; those from 32 on go down. */
const UP = {
  hello: 1,
  sub: 2,
  unsub: 3,
  rpc: 4,
  ping: 5,
  mut: 6,
  cancel: 7,
} as const;

/** The map that is sent for a frame. Optional fields are absent, never null. */
export function toUpMap(frame: UpFrame): FrameMap {
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
    case "mut":
      return toMutateMap(frame, UP.mut);
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

/** Options of {@linkcode toUpFrame}. */
export interface UpFrameOptions {
  /** Characters of a name. */
  readonly nameLength: number;
}

/**
 * Reads what a client sent. A request whose name is refused comes back as a
 * {@linkcode RefusedFrame}, since it can be answered.
 *
 * @throws {HeadwaterError} `bad_frame` if it is no frame of the protocol.
 */
export function toUpFrame(
  map: FrameMap,
  options: UpFrameOptions,
): UpFrame | RefusedFrame {
  switch (map["t"]) {
    case UP.rpc:
      return toCall(new FrameFields(map, "rpc"), options);
    case UP.ping:
      return { type: "ping" };
    case UP.sub:
      return toSubscribe(new FrameFields(map, "sub"), options);
    case UP.unsub: {
      const sent = new FrameFields(map, "unsub").string("n");
      const name = tryName(sent, "the store name", options);
      return typeof name === "string"
        ? { type: "unsub", name }
        : { type: "refused", of: "unsub", name: sent, error: name };
    }
    case UP.mut:
      return toMutate(new FrameFields(map, "mut"), options);
    case UP.cancel:
      return {
        type: "cancel",
        id: new FrameFields(map, "cancel").uint("i", 1),
      };
    case UP.hello:
      return toHello(new FrameFields(map, "hello"));
    default:
      throw new HeadwaterError(
        "bad_frame",
        `Cannot read frame: no type ${JSON.stringify(map["t"])} goes up`,
      );
  }
}

function toHello(fields: FrameFields): HelloFrame {
  const protocol = fields.uint("v", 1);
  const session = fields.optionalString("s");
  const identity = fields.optionalString("i");
  const parts = fields.has("p") && fields.boolean("p");
  const own = fields.has("o") && fields.boolean("o");
  const token = fields.optionalString("k");
  return {
    type: "hello",
    protocol,
    ...(session !== undefined && { session }),
    ...(identity !== undefined && { identity }),
    ...(parts && { parts }),
    ...(own && { own }),
    ...(token !== undefined && { token }),
  };
}

function toSubscribe(
  fields: FrameFields,
  options: UpFrameOptions,
): SubscribeFrame | RefusedFrame {
  const sent = fields.string("n");
  const token = toToken(fields);
  const name = tryName(sent, "the store name", options);
  if (typeof name !== "string") {
    return { type: "refused", of: "sub", name: sent, error: name };
  }
  return token === undefined
    ? { type: "sub", name }
    : { type: "sub", name, token };
}

/** A token has all of its three fields or is absent. */
function toToken(fields: FrameFields): ResumeToken | undefined {
  if (!fields.has("e") && !fields.has("v") && !fields.has("w")) {
    return undefined;
  }
  return {
    epoch: fields.string("e"),
    version: fields.uint("v"),
    writer: fields.string("w"),
  };
}

function toCall(
  fields: FrameFields,
  options: UpFrameOptions,
): CallFrame | RefusedFrame {
  const id = fields.uint("i", 1);
  const sent = fields.string("n");
  const elapsedMs = fields.uint("m");
  const oldest = fields.has("o") ? fields.uint("o", 1) : id;
  if (oldest > id) throw fields.conflict(`"o" (${oldest}) is over "i" (${id})`);
  const resent = fields.has("r") && fields.boolean("r");
  const args = fields.any("a");
  const name = tryName(sent, "the function name", options);
  if (typeof name !== "string") {
    return { type: "refused", of: "rpc", id, error: name };
  }
  return {
    type: "rpc",
    id,
    name,
    ...(args !== undefined && { args }),
    oldest,
    elapsedMs,
    ...(resent && { resent }),
  };
}

/** The name in its normal form, or why it is refused. */
function tryName(
  name: string,
  what: string,
  options: UpFrameOptions,
): string | ErrorBody {
  try {
    return cleanName(name, what, options.nameLength);
  } catch (error) {
    return toErrorBody(error, "bad_name");
  }
}
