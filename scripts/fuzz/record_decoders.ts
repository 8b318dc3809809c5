/**
 * The readers of what the KV holds, given bytes as a KV that is corrupt or
 * hostile would give them.
 *
 * @module
 */
import {
  decodeDown,
  decodeJson,
  encodeFrame,
  encodeJson,
} from "../../protocol/codec.ts";
import { DEFAULT_LIMITS } from "../../protocol/limits.ts";
import type { Json } from "../../protocol/value.ts";
import { Answers } from "../../server/log/answers.ts";
import { Sweeper } from "../../server/log/blobs.ts";
import { encodeStoreSnapshot } from "../../server/log/compaction.ts";
import { decodeSlot } from "../../server/log/feed_slot.ts";
import {
  answerKey,
  pastKey,
  pendingKey,
  type StoreId,
} from "../../server/log/keys.ts";
import { encodePast, readPast } from "../../server/log/past.ts";
import { readStore } from "../../server/log/reader.ts";
import { encodeBlobRef } from "../../server/log/blob_ref.ts";
import { encodeHead } from "../../server/log/head.ts";
import { encodeEntry } from "../../server/log/log_entry.ts";
import { corrupt } from "../../server/log/record.ts";
import { Sessions } from "../../server/sessions.ts";
import {
  decodeInterest,
  encodeInterest,
} from "../../server/stores/interest_record.ts";
import type { Clock } from "../../server/ports.ts";
import type { SeededRandom } from "../../tests/_arbitraries.ts";
import { FuzzFailure } from "./contract.ts";
import { type Decoder, peekValue, type StopWatch } from "./decoder.ts";
import { type Draft, type DraftWriter, toDraft } from "./draft.ts";
import { PlantedKv } from "./planted_kv.ts";
import {
  type Exchange,
  FIRST_ENTRY,
  HEAD,
  numbersOf,
  SECOND_BLOB,
  SECOND_ENTRY,
  storedStore,
} from "./stored_store.ts";

/** A value of the KV has no more. */
const KV_VALUE_BYTES = 65_536;

const ID: StoreId = { namespace: "default", name: "Todos" };

/** Every reader of records, and of the session tokens that clients keep. */
export async function recordDecoders(): Promise<Decoder[]> {
  return [
    record(
      "head",
      [encodeHead(HEAD), encodeHead(bareHead())],
      (head, watch) => load({ head }, watch),
    ),
    record(
      "log entry",
      [encodeEntry(FIRST_ENTRY)],
      (entry, watch) => load({ entry }, watch),
    ),
    record("blob reference", [
      encodeBlobRef(SECOND_BLOB),
      encodeEntry(SECOND_ENTRY),
    ], (blobRef, watch) => load({ blobRef }, watch)),
    snapshotDecoder(),
    record("past lives", [encodePast(numbersOf())], readPastLives),
    slotDecoder(),
    record("recorded answer", [
      encodeJson({ v: { id: 7 }, w: [["default", "Todos", "e1Kx", 4]] }),
      encodeJson({ e: { code: "limit", message: "Too much" }, w: [] }),
    ], readAnswer),
    record("marker", [
      encodeJson({ k: "new", n: "default", s: "Todos", e: "e1Kx" }),
      encodeJson({ k: "epoch", n: "default", s: "Todos", e: "e1Kx" }),
    ], sweep),
    record("interest", [
      encodeInterest(
        new Map([
          ["aV3q", { count: 2, epoch: "e1Kx", left: 1, idle: 0, attempt: 7 }],
          ["bQ9_", { count: 0, epoch: "e1Kx", left: 0, idle: 3, attempt: 1 }],
        ]),
      ),
    ], (bytes) => Promise.resolve().then(() => decodeInterest(bytes))),
    await sessionDecoder(),
  ];
}

function record(
  name: string,
  samples: readonly Uint8Array[],
  run: (bytes: Uint8Array, watch: StopWatch) => Promise<unknown>,
): Decoder {
  const values = samples.map((bytes) => decodeJson(bytes));
  return {
    name,
    longest: KV_VALUE_BYTES,
    draft: (random) => toDraft(random.pick(values)),
    async run(bytes, watch) {
      await run(bytes, watch);
      return undefined;
    },
    peek: (bytes) => peekValue(bytes, name),
  };
}

/** A head without anything that it may lack. */
function bareHead() {
  const { expiresAtMs: _, mintedFrom: __, ...head } = HEAD;
  return head;
}

/** Loads a store of which one record was exchanged, and makes a snapshot of it as a compaction would. */
async function load(exchange: Exchange, watch: StopWatch): Promise<void> {
  const store = await readStore(new PlantedKv(storedStore(ID, exchange)), ID);
  if (!store) throw new FuzzFailure("a store whose head is there is absent");
  watch.end();
  const state = encodeJson(store.state);
  const { bytes, stateBytes } = encodeStoreSnapshot(state, store.numbers);
  decodeJson(bytes.subarray(0, stateBytes));
  decodeJson(bytes.subarray(stateBytes));
}

/** Joined parts with the length of the first in front of them, as a feed slot has it. */
function withLength(
  parts: readonly Draft[],
  writer: DraftWriter,
): Uint8Array<ArrayBuffer> {
  const bytes = parts.map((part) => writer.write(part));
  const total = bytes.reduce((sum, part) => sum + part.length, 4);
  const joined = new Uint8Array(total);
  new DataView(joined.buffer).setUint32(0, bytes[0]?.length ?? 0);
  let at = 4;
  for (const part of bytes) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function pack(draft: Draft, writer: DraftWriter): Uint8Array<ArrayBuffer> {
  return withLength(Array.isArray(draft) ? draft : [draft], writer);
}

function snapshotDecoder(): Decoder {
  const numbers = numbersOf().toJson();
  const name = "snapshot";
  const split = (bytes: Uint8Array) => {
    const length = bytes.length < 4 ? 0 : new DataView(
      bytes.buffer,
      bytes.byteOffset,
    ).getUint32(0);
    return { bytes: bytes.subarray(4), stateBytes: length };
  };
  return {
    name,
    longest: KV_VALUE_BYTES,
    draft: () => toDraft([{ items: [{ text: "zero" }], note: null }, numbers]),
    pack,
    async run(bytes, watch) {
      await load({ snapshot: split(bytes) }, watch);
      return undefined;
    },
    peek(bytes) {
      const snapshot = split(bytes);
      return peekValue(snapshot.bytes.subarray(0, snapshot.stateBytes), name) &&
        peekValue(snapshot.bytes.subarray(snapshot.stateBytes), name);
    },
  };
}

/** An event with all that it may have, as its record is. */
const EVENT: Json = {
  s: "default",
  c: "tick",
  i: 7,
  a: { c: "c1", u: "7", n: "Todos", x: ["c2"] },
  x: { text: "hi" },
};

function slotDecoder(): Decoder {
  const name = "feed slot";
  const entry = decodeJson(encodeEntry(FIRST_ENTRY));
  const length = encodeEntry(FIRST_ENTRY).byteLength;
  const event = encodeJson(EVENT);
  const items: Json = [
    ["default", "Todos", "e1Kx", 5, length],
    ["default", "Room:1", "e2Kx", 9, -1],
    ["default", "Room:2", "e3Kx", 9, 0],
  ];
  return {
    name,
    longest: KV_VALUE_BYTES,
    draft: () =>
      toDraft([{ c: "c9", i: items, e: ["s1", [event.length]] }, entry, EVENT]),
    pack,
    run(bytes) {
      decodeSlot(bytes);
      return undefined;
    },
    peek: (bytes) => {
      if (bytes.length < 4) return undefined;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      return peekValue(bytes.subarray(4, 4 + view.getUint32(0)), name);
    },
  };
}

const CLOCK: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: () => ({ cancel() {} }),
  defer: (run) => queueMicrotask(run),
};
const RANDOM = {
  bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
  float: () => Math.random(),
};

async function readAnswer(bytes: Uint8Array, watch: StopWatch): Promise<void> {
  const key = { namespace: "default", session: "s1", call: 4 };
  const kv = new PlantedKv([[answerKey("default", "s1", 4), bytes]]);
  const answers = new Answers(kv, {
    clock: CLOCK,
    random: RANDOM,
    limitMs: 0,
    keptMs: 1_000,
  });
  const answer = await answers.read(key);
  watch.end();
  if (!answer) throw new FuzzFailure("an answer that is there is absent");
  const { value, error } = answer;
  // As it would be sent, at the depth that a client reads.
  if (value !== undefined && depthOf(value) > DEFAULT_LIMITS.depth) return;
  decodeDown(encodeFrame({
    type: "res",
    id: 4,
    ...(error ? { error } : value !== undefined && { value }),
  }));
}

function depthOf(value: Json): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

async function readPastLives(
  bytes: Uint8Array,
  watch: StopWatch,
): Promise<void> {
  const { numbers } = await readPast(new PlantedKv([[pastKey(ID), bytes]]), ID);
  watch.end();
  encodePast(numbers.toPast(undefined, 1));
}

async function sweep(bytes: Uint8Array): Promise<void> {
  const kv = new PlantedKv([[pendingKey("b7"), bytes]]);
  await new Sweeper(kv, () => 0, 0).sweep();
}

/** Tokens of sessions: none that was not issued may be taken. */
async function sessionDecoder(): Promise<Decoder> {
  const name = "session token";
  const sessions = new Sessions({
    kv: new PlantedKv([[["hw", "secret"], RANDOM.bytes(32)]]),
    clock: CLOCK,
    random: RANDOM,
    sessionMs: 86_400_000,
  });
  const issued: string[] = [];
  for (let i = 0; i < 4; i++) {
    issued.push((await sessions.begin({})).session.token);
  }
  return {
    name,
    longest: KV_VALUE_BYTES,
    draft: (random: SeededRandom) => random.pick(issued),
    async run(bytes) {
      const token = decodeJson(bytes);
      if (typeof token !== "string") throw corrupt("token: it is no text");
      const begun = await sessions.begin({ resume: token, identity: token });
      sessions.release(begun.session);
      if (begun.resumed !== issued.includes(token)) {
        throw new FuzzFailure(
          begun.resumed ? "a forged token was taken" : "a token was refused",
        );
      }
      if (!begun.resumed) throw corrupt("token: it was not issued");
      return undefined;
    },
    peek: (bytes) => peekValue(bytes, name),
  };
}
