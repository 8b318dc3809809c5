/**
 * Valid frames to begin with: those of the samples, and others that name what
 * the peer has really got, so that they come past the first checks.
 *
 * @module
 */
import { decodeJson, encodeFrame } from "../../protocol/codec.ts";
import type { DownFrame, ResumeToken, UpFrame } from "../../protocol/frames.ts";
import type { Json } from "../../protocol/value.ts";
import {
  randomJson,
  randomPatch,
  type SeededRandom,
} from "../../tests/_arbitraries.ts";
import { DOWN_SAMPLES } from "../../tests/_frames.ts";
import { type Draft, toDraft } from "./draft.ts";
import { EDGE_NUMBERS, HOSTILE_TEXTS } from "./wrong_values.ts";

/** The frames that go up; a sub with a resume token has its own decoder, so it counts apart. */
export const UP_ROWS = [
  "hello",
  "sub",
  "resume token",
  "unsub",
  "rpc",
  "mut",
  "cancel",
  "ping",
] as const;

/** The frames that go down. */
export const DOWN_ROWS: readonly string[] = [
  ...new Set(Object.values(DOWN_SAMPLES).map(({ type }) => type)),
];

/** One of {@linkcode UP_ROWS}. */
export type UpRow = typeof UP_ROWS[number];

/** What a hostile client knows of the server that it speaks to. */
export interface Knowledge {
  /** Names of stores, with and without definition. */
  readonly stores: readonly string[];
  /** Calls that the server may answer: a function and its arguments. */
  readonly calls: readonly { readonly name: string; readonly args?: Json }[];
  /** Tokens of stores, as the server gave them. */
  readonly tokens: Map<string, ResumeToken>;
  /** Session tokens that the server has issued. */
  readonly sessions: string[];
}

/** Knows nothing but names. */
export function newKnowledge(
  stores: readonly string[] = ["Todos", "Room:general"],
  calls: Knowledge["calls"] = [{ name: "echo", args: { text: "hi" } }],
): Knowledge {
  return { stores, calls, tokens: new Map(), sessions: [] };
}

/** A valid frame of that row. */
export function upFrame(
  row: UpRow,
  random: SeededRandom,
  known: Knowledge,
): UpFrame {
  switch (row) {
    case "hello":
      return hello(random, known);
    case "sub":
      return { type: "sub", name: random.pick(known.stores) };
    case "resume token": {
      const name = random.pick(known.stores);
      return { type: "sub", name, token: tokenFor(name, random, known) };
    }
    case "unsub":
      return { type: "unsub", name: random.pick(known.stores) };
    case "rpc":
      return call(random, known);
    case "mut":
      return mutate(random, known);
    case "cancel":
      return { type: "cancel", id: 1 + random.below(60) };
    case "ping":
      return { type: "ping" };
  }
}

function hello(random: SeededRandom, { sessions }: Knowledge): UpFrame {
  const token = () =>
    sessions.length > 0 && random.below(4) > 0
      ? random.pick(sessions)
      : "k3f9.Zm9v.mq1.c2ln";
  const kind = random.below(4);
  return {
    type: "hello",
    protocol: 1,
    ...(kind === 1 && { session: token() }),
    ...(kind === 2 && { identity: token() }),
    ...(kind === 3 && { session: token(), identity: token() }),
  };
}

/**
 * A frame whose fields are of the right kind and mean the worst: names, tokens
 * and numbers that come past every check of form. It never ends a connection.
 */
export function boldFrame(
  row: UpRow,
  random: SeededRandom,
  known: Knowledge,
): UpFrame {
  const frame = upFrame(row, random, known);
  const text = () => random.pick(HOSTILE_TEXTS);
  const uint = () => random.pick(UINTS);
  switch (frame.type) {
    case "hello":
      return { ...frame, session: text(), identity: text(), parts: true };
    case "unsub":
      return { ...frame, name: text() };
    case "sub": {
      const { token } = frame;
      if (!token || random.below(3) === 0) return { ...frame, name: text() };
      const bold = random.below(3);
      return {
        ...frame,
        token: {
          epoch: bold === 0 ? text() : token.epoch,
          version: bold === 1 ? uint() : token.version,
          writer: bold === 2 ? text() : token.writer,
        },
      };
    }
    case "rpc": {
      const id = Math.max(1, uint());
      const args = random.below(2) === 0 ? text() : randomJson(random, 4);
      return {
        ...frame,
        ...(random.below(2) === 0
          ? { id, oldest: random.below(2) === 0 ? id : 1 }
          : { args }),
        elapsedMs: uint(),
      };
    }
    case "mut":
      return {
        ...frame,
        writes: frame.writes.map((write) =>
          random.below(2) === 0
            ? { ...write, base: uint(), after: [Math.max(1, uint())] }
            : { ...write, epoch: text() }
        ),
      };
    default:
      return frame;
  }
}

/** Edges that a field of the kind uint may hold. */
const UINTS = EDGE_NUMBERS.filter((number) =>
  Number.isSafeInteger(number) && number >= 0
);

/** As the server gave it, behind or ahead of it, or of another history. */
function tokenFor(
  name: string,
  random: SeededRandom,
  { tokens }: Knowledge,
): ResumeToken {
  const token = tokens.get(name) ??
    { epoch: "e1Kx", version: 41, writer: "w9Qa" };
  const { version } = token;
  switch (random.below(6)) {
    case 0:
      return { ...token, version: Math.max(0, version - 1 - random.below(5)) };
    case 1:
      return { ...token, version: version + 1 + random.below(3) };
    case 2:
      return { ...token, writer: "w9Qb" };
    case 3:
      return { ...token, epoch: "e1Kz" };
    default:
      return token;
  }
}

function call(random: SeededRandom, { calls }: Knowledge): UpFrame {
  const id = 1 + random.below(random.below(20) === 0 ? 2 ** 40 : 60);
  const oldest = random.below(3) === 0 ? id : 1 + random.below(Math.min(id, 5));
  const { name, args } = random.pick(calls);
  return {
    type: "rpc",
    id,
    name,
    ...(args !== undefined && { args }),
    oldest,
    elapsedMs: random.below(100_000),
    ...(random.below(4) === 0 && { resent: true }),
  };
}

function mutate(random: SeededRandom, known: Knowledge): UpFrame {
  const id = 1 + random.below(60);
  const write = () => {
    const name = random.pick(known.stores);
    const { epoch, version: base } = tokenFor(name, random, known);
    const after = random.below(3) === 0 ? [1 + random.below(60)] : [];
    const place = { name, epoch, base, after };
    return random.below(3) === 0
      ? { ...place, mutator: "say", seed: "q8Zr", args: randomJson(random, 2) }
      : { ...place, patch: randomPatch(random, randomJson(random, 2), 3) };
  };
  return {
    type: "mut",
    id,
    oldest: 1 + random.below(Math.min(id, 5)),
    elapsedMs: random.below(100_000),
    ...(random.below(4) === 0 && { resent: true }),
    ...(random.below(4) === 0 && { exact: true }),
    writes: Array.from({ length: 1 + random.below(4) }, write),
  };
}

/** A valid frame of that type, a sample's or with values of its own. */
function downFrame(type: string, random: SeededRandom): DownFrame {
  const samples: DownFrame[] = Object.values(DOWN_SAMPLES)
    .filter((frame) => frame.type === type);
  const frame = random.pick(samples);
  if (random.below(2) === 0) return frame;
  const state = randomJson(random, 3);
  switch (frame.type) {
    case "snap":
      return { ...frame, state };
    case "patch":
    case "resume":
      return { ...frame, patch: randomPatch(random, state, 3) };
    case "res":
      return { type: "res", id: frame.id, value: state };
    case "evt":
      return { ...frame, data: state };
    default:
      return frame;
  }
}

/** A valid frame that goes up, as a draft. */
export function upDraft(
  row: UpRow,
  random: SeededRandom,
  known: Knowledge,
): Draft {
  return toDraft(decodeJson(encodeFrame(upFrame(row, random, known))));
}

/** A valid frame that goes down, as a draft. */
export function downDraft(type: string, random: SeededRandom): Draft {
  return toDraft(decodeJson(encodeFrame(downFrame(type, random))));
}
