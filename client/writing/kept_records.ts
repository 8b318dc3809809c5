/**
 * The records in which a client keeps its writes and states: their texts, and what
 * is read from them. This module is browser compatible.
 *
 * @module
 */
import type { Patch } from "../../protocol/patch.ts";
import { decodePatch, encodePatch } from "../../protocol/patch_codec.ts";
import { cleanName, cleanValue, type Json } from "../../protocol/value.ts";
import { LONGEST_NAME } from "../request.ts";
import type { WritePolicy } from "../write_options.ts";
import type { KeptState } from "../writing_port.ts";
import type { NamedStep } from "./pending_entry.ts";

/** Number of the records' format. Records with another one are dropped. */
const FORMAT = 1;

/** Key of the session's record. */
export const SESSION_KEY = "session";
/** Key of the user's record. */
export const USER_KEY = "user";
const WRITE_PREFIX = "write:";
const STATE_PREFIX = "state:";

/** Digits of a write's place in the order: keys are read in the order of texts. */
const PLACE_DIGITS = 16;

/** The session in which writes may have been sent. */
export interface KeptSession {
  /** The proof of it. */
  readonly token: string;
  /** When it was issued, in milliseconds since 1970. */
  readonly startedAtMs: number;
  /** How long it is good for. */
  readonly lifeMs: number;
  /** How many clients have gone on with it. */
  readonly lives: number;
}

/** One write of a request. */
export type KeptWrite =
  | { readonly store: string; readonly patch: Patch }
  | { readonly store: string; readonly named: NamedStep };

/** Writes that take effect together. */
export interface KeptRequest {
  /** Number in the session, if it may have been sent. */
  readonly number?: number | undefined;
  /** When it was made, in milliseconds since 1970. */
  readonly createdAtMs: number;
  /** What happens if others have written meanwhile. */
  readonly policy: WritePolicy;
  /** Whether they have. */
  readonly isBeaten: boolean;
  /** What it writes, on top of the kept state of each store. */
  readonly writes: readonly KeptWrite[];
}

/** All that was kept. */
export interface KeptRecords {
  /** Whose it is; undefined where no server had said so yet. */
  readonly user: Json | undefined;
  readonly session: KeptSession | undefined;
  /** In order, with their keys. */
  readonly requests: readonly (readonly [key: string, KeptRequest])[];
  /** By the store's name. */
  readonly states: ReadonlyMap<string, KeptState>;
  /** Keys of what cannot be read, or would rest on what cannot be read. */
  readonly unreadable: readonly string[];
}

/** Key of a write, by its place in the order. */
export function writeKey(place: number): string {
  return WRITE_PREFIX + String(place).padStart(PLACE_DIGITS, "0");
}

/** The place of a write in the order, by its key. */
export function placeOf(key: string): number {
  return Number(key.slice(WRITE_PREFIX.length));
}

/** Key of a store's state. */
export function stateKey(name: string): string {
  return STATE_PREFIX + name;
}

/** Bytes of a record, as they are counted. */
export function recordBytes(key: string, text: string): number {
  return 2 * (key.length + text.length);
}

/** The text of the session's record. */
export function sessionText(session: KeptSession): string {
  return JSON.stringify({ format: FORMAT, ...session });
}

/** The text of the user's record. */
export function userText(user: Json): string {
  return JSON.stringify({ format: FORMAT, user });
}

/** The text of a write's record. */
export function requestText({ writes, ...about }: KeptRequest): string {
  const parts = writes.map((write) =>
    "patch" in write
      ? { store: write.store, patch: encodePatch(write.patch) }
      : { store: write.store, ...write.named }
  );
  return JSON.stringify({ format: FORMAT, ...about, writes: parts });
}

/** The text of a state's record. */
export function stateText({ savedAtMs, state }: KeptState): string {
  return JSON.stringify({ format: FORMAT, savedAtMs, ...state });
}

/** Reads what was kept; never throws. */
export function readRecords(
  records: ReadonlyMap<string, string>,
): KeptRecords {
  const unreadable: string[] = [];
  const states = new Map<string, KeptState>();
  let session: KeptSession | undefined;
  let user: Json | undefined;
  const writeKeys: string[] = [];
  for (const [key, text] of records) {
    if (key.startsWith(WRITE_PREFIX)) {
      writeKeys.push(key);
      continue;
    }
    const fields = parse(text);
    const state = key.startsWith(STATE_PREFIX) ? toState(fields) : undefined;
    if (state) states.set(key.slice(STATE_PREFIX.length), state);
    else if (key === SESSION_KEY) session = toSession(fields);
    else if (key === USER_KEY) user = fields.user;
    else unreadable.push(key);
  }
  const requests: [string, KeptRequest][] = [];
  let isWhole = true;
  for (const key of writeKeys.sort()) {
    const request = toRequest(parse(records.get(key)!)); // it is one of its keys
    // What stands behind one that is lost was made on top of that.
    isWhole &&= request !== undefined && canRestore(request, session, states);
    if (isWhole && request) requests.push([key, request]);
    else unreadable.push(key);
  }
  return { user, session, requests, states, unreadable };
}

/** Members of a record that are not known to be what they should be. */
type Fields = Readonly<Record<string, Json | undefined>>;

function canRestore(
  { number, writes }: KeptRequest,
  session: KeptSession | undefined,
  states: ReadonlyMap<string, KeptState>,
): boolean {
  if (number !== undefined && !session) return false;
  return writes.every((write) =>
    !("patch" in write) || states.has(write.store)
  );
}

function parse(text: string): Fields {
  try {
    const fields = cleanValue(JSON.parse(text));
    const isRecord = isFields(fields) && fields.format === FORMAT;
    return isRecord ? fields : {};
  } catch {
    // Another program's, or one that a failing disk has cut.
    return {};
  }
}

function isFields(value: Json | undefined): value is Json & Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toSession(fields: Fields): KeptSession | undefined {
  const { token, startedAtMs, lifeMs, lives } = fields;
  const isSession = typeof token === "string" &&
    typeof startedAtMs === "number" && typeof lifeMs === "number" &&
    isCount(lives);
  return isSession ? { token, startedAtMs, lifeMs, lives } : undefined;
}

function toState(fields: Fields): KeptState | undefined {
  const { savedAtMs, epoch, version, writer, state } = fields;
  const isState = typeof savedAtMs === "number" && typeof epoch === "string" &&
    isCount(version) && typeof writer === "string" && isFields(state);
  return isState
    ? { savedAtMs, state: { epoch, version, writer, state } }
    : undefined;
}

function toRequest(fields: Fields): KeptRequest | undefined {
  const { number, createdAtMs, policy, isBeaten, writes } = fields;
  const isRequest = (number === undefined || isCount(number) && number > 0) &&
    typeof createdAtMs === "number" && typeof isBeaten === "boolean" &&
    (policy === "rebase" || policy === "expectVersion") &&
    Array.isArray(writes) && writes.length > 0;
  if (!isRequest) return undefined;
  try {
    const parts = (writes as readonly Json[]).map(toWrite); // it is an array
    return { number, createdAtMs, policy, isBeaten, writes: parts };
  } catch {
    return undefined;
  }
}

/** Throws where it is none. */
function toWrite(value: Json): KeptWrite {
  if (!isFields(value)) throw new TypeError("A write must be a record");
  const { patch, mutator, seed, args } = value;
  const store = toName(value.store, "the store name");
  if (mutator === undefined) return { store, patch: decodePatch(patch) };
  const named = {
    mutator: toName(mutator, "the mutator name"),
    seed: toName(seed, "the seed"),
    ...(args !== undefined && { args }),
  };
  return { store, named };
}

function toName(value: Json | undefined, what: string): string {
  return cleanName(value as string, what, LONGEST_NAME); // it checks that, too
}

function isCount(value: Json | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0; // it is a number
}
