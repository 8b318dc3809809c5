/**
 * Reads the frames that go down, for clients: `down_frame_maps.ts` backwards. This
 * module is browser compatible.
 *
 * @module
 */
import { DOWN } from "./down_tags.ts";
import { HeadwaterError } from "./errors.ts";
import { type FrameMap, isMap, isUint } from "./frame_fields.ts";
import type { DownFrame } from "./frames.ts";
import { readPatch } from "./patch_reader.ts";
import type { Json } from "./json.ts";

/** What a field means; undefined: it is not as it must be. */
type Kind = (value: Json | undefined) => unknown;

/** What was read, by name. */
type Fields = Record<string, unknown>;

/** Name and letter of a field, what it must be, and whether it may be absent. */
type Field = readonly [
  name: string,
  letter: string,
  kind: Kind,
  isOptional?: true,
];

const any: Kind = (value) => value;
const text: Kind = (value) => typeof value === "string" ? value : undefined;
const flag: Kind = (value) => typeof value === "boolean" ? value : undefined;
const count: Kind = (value) => isUint(value) ? value : undefined;
const place: Kind = (value) => value === 0 ? undefined : count(value);
const places: Kind = (value) =>
  Array.isArray(value) && value.every(place) ? value : undefined;
const error: Kind = (value) =>
  isMap(value) ? readFields(value, "error", ERROR) : undefined;
// One of another kind, of a newer server, promises nothing.
const outcome: Kind = (value) =>
  value === "notSent" || value === "notApplied" ? value : "unknown";

const NAME: Field = ["name", "n", text];
const STORE: Field = ["store", "s", count];
const VERSION: Field = ["version", "v", count];
const PATCH: Field = ["patch", "p", readPatch];
const SNAPSHOT: readonly Field[] = [
  STORE,
  NAME,
  VERSION,
  ["epoch", "e", text],
  ["writer", "w", text],
];
const ERROR: readonly Field[] = [
  // A code that a newer server made is shown as it came: programs have a default case anyway.
  ["code", "c", text],
  ["message", "m", text],
  ["path", "p", text, true],
  ["data", "d", any, true],
  ["outcome", "o", outcome, true],
  ["id", "i", text, true],
];
const ORDER: readonly Field[] = [
  ["sender", "s", text],
  ["number", "i", place],
];

/** What each type of frame has, by its field `t`. */
const FRAMES: ReadonlyMap<Json | undefined, readonly [string, ...Field[]]> =
  new Map([
    [undefined, [
      "patch",
      STORE,
      ["version", "v", place],
      ["from", "f", count, true],
      ["writer", "w", text, true],
      PATCH,
    ]],
    [DOWN.welcome, [
      "welcome",
      ["protocol", "v", place],
      ["clientId", "c", text],
      ["session", "s", text],
      ["resumed", "r", flag],
      ["sessionMs", "l", count],
      ["heartbeatMs", "h", count],
      ["messageBytes", "b", place],
      ["serverId", "d", text],
      ["user", "u", any, true],
    ]],
    [DOWN.snap, ["snap", ...SNAPSHOT, ["state", "x", any]]],
    [DOWN.resume, ["resume", ...SNAPSHOT, ["from", "f", count], PATCH]],
    [DOWN.res, [
      "res",
      ["id", "i", place],
      ["value", "x", any, true],
      ["error", "e", error, true],
    ]],
    [DOWN.del, ["del", NAME]],
    [DOWN.evt, ["evt", ["channel", "c", text], ["data", "x", any, true]]],
    [DOWN.err, ["err", ["error", "e", error], ["name", "n", text, true]]],
    [DOWN.pong, ["pong"]],
    [DOWN.parts, ["parts", ["bytes", "b", place]]],
    [DOWN.own, ["own", NAME, ["calls", "c", places]]],
  ]);

/**
 * Reads what a server sent; undefined for a type that is not known here, which the
 * client passes over.
 *
 * @throws {HeadwaterError} `bad_frame` or `bad_patch` if the frame is not as it must be.
 */
export function toDownFrame(map: FrameMap): DownFrame | undefined {
  const { t: tag } = map;
  const known = FRAMES.get(tag);
  if (!known) {
    // Of a wrong kind it is a broken peer, not a newer one.
    if (isUint(tag)) return undefined;
    throw misfit("unknown", "t");
  }
  const [type, ...fields] = known;
  const frame: Fields = { type, ...readFields(map, type, fields) };
  const { version, from, error: failure, value } = frame;
  if (type === "patch" && from === undefined) {
    frame["from"] = Number(version) - 1;
  } else if (from !== undefined) {
    const steps = Number(version) - Number(from);
    const isForward = steps > 0 || steps === 0 && type !== "patch";
    if (!isForward) throw misfit(type, "f");
  }
  if (failure && value !== undefined) throw misfit(type, "x");
  if (type === "evt" && ("s" in map || "i" in map)) {
    frame["order"] = readFields(map, type, ORDER);
  }
  // The tables say what the types say.
  return frame as unknown as DownFrame;
}

function readFields(
  map: FrameMap,
  type: string,
  fields: readonly Field[],
): Fields {
  const frame: Fields = {};
  for (const [name, letter, kind, isOptional] of fields) {
    const value = map[letter];
    if (isOptional && value === undefined) continue;
    const read = kind(value);
    if (read === undefined) throw misfit(type, letter);
    frame[name] = read;
  }
  return frame;
}

function misfit(type: string, letter: string): HeadwaterError {
  return new HeadwaterError(
    "bad_frame",
    `Cannot read ${type} frame: field "${letter}" is not as it must be`,
  );
}
