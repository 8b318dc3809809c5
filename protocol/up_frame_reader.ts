/**
 * Reads the frames that go up: `up_frame_maps.ts` backwards. This module is browser
 * compatible.
 *
 * @module
 */
import { toErrorBody } from "./error_body.ts";
import { type ErrorBody, HeadwaterError } from "./errors.ts";
import { FrameFields, type FrameMap } from "./frame_fields.ts";
import type {
  CallFrame,
  HelloFrame,
  RefusedFrame,
  ResumeToken,
  SubscribeFrame,
  UpFrame,
} from "./frames.ts";
import { UP } from "./up_frame_maps.ts";
import { cleanName } from "./value.ts";
import { toMutate } from "./write_reader.ts";

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
