/**
 * The recorded answers of functions that must not run twice.
 *
 * @module
 */
import type { ErrorBody, ErrorCode, Outcome } from "../../protocol/errors.ts";
import { LimitError } from "../../protocol/errors.ts";
import { toErrorBody } from "../../protocol/error_body.ts";
import type { Json } from "../../protocol/value.ts";
import type { Kv } from "../ports.ts";
import { CHUNK_BYTES } from "./blobs.ts";
import { answerKey, type StoreId } from "./keys.ts";
import { retry, type Waiting } from "./patience.ts";
import {
  corrupt,
  decodeRecord,
  encodeRecord,
  fields,
  text,
  uint,
} from "./record.ts";

/** What a call gave, and in which versions its writes are. */
export interface RecordedAnswer {
  readonly value?: Json;
  readonly error?: ErrorBody;
  readonly written: readonly WrittenTo[];
}

/** The newest version in which a call's writes to one store are. */
export interface WrittenTo {
  readonly id: StoreId;
  readonly epoch: string;
  readonly version: number;
}

/** Identifies a call. */
export interface CallKey {
  readonly namespace: string;
  readonly session: string;
  readonly call: number;
}

/** Recorded answers in the KV. */
export class Answers {
  readonly #kv: Kv;
  readonly #waiting: Waiting & { readonly limitMs: number };
  readonly #keptMs: number;

  /** Answers that are kept for `keptMs`; recording one is tried for `limitMs`. */
  constructor(
    kv: Kv,
    { keptMs, ...waiting }: Waiting & {
      readonly keptMs: number;
      readonly limitMs: number;
    },
  ) {
    this.#kv = kv;
    this.#waiting = waiting;
    this.#keptMs = keptMs;
  }

  /** The answer that the call was given before, if any. */
  async read(
    { namespace, session, call }: CallKey,
  ): Promise<RecordedAnswer | undefined> {
    const { value } = await this.#kv.get(answerKey(namespace, session, call));
    return value === null ? undefined : fromBytes(value);
  }

  /** Records an answer; if another run was quicker, that one's is the answer. */
  async record(id: CallKey, answer: RecordedAnswer): Promise<RecordedAnswer> {
    const key = answerKey(id.namespace, id.session, id.call);
    const { answer: kept, bytes } = toFit(answer);
    // The handler has run, so this must not fail for nothing. It may be done again: whichever
    // try takes effect, the others find its answer.
    const { ok } = await retry(this.#waiting, () =>
      this.#kv.atomic()
        .check({ key, versionstamp: null })
        .set(key, bytes, { expireIn: this.#keptMs })
        .commit());
    return ok ? kept : await this.read(id) ?? kept;
  }
}

/** An answer that is too large is recorded as the error that it is: its handler has run. */
function toFit(
  answer: RecordedAnswer,
): { answer: RecordedAnswer; bytes: Uint8Array<ArrayBuffer> } {
  const bytes = toBytes(answer);
  if (bytes.byteLength <= CHUNK_BYTES) return { answer, bytes };
  const error = new LimitError(
    "keep the answer of a function with `once`",
    "answerBytes",
    CHUNK_BYTES,
    bytes.byteLength,
  );
  const refused = {
    error: { ...toErrorBody(error, "limit"), outcome: "unknown" as const },
    written: answer.written,
  };
  return { answer: refused, bytes: toBytes(refused) };
}

function toBytes(
  { value, error, written }: RecordedAnswer,
): Uint8Array<ArrayBuffer> {
  return encodeRecord({
    ...(value !== undefined && { v: value }),
    ...(error && { e: { ...error } }),
    w: written.map((
      { id, epoch, version },
    ) => [id.namespace, id.name, epoch, version]),
  });
}

function fromBytes(bytes: unknown): RecordedAnswer {
  const { v: value, e, w } = decodeRecord(bytes, "recorded answer");
  if (!Array.isArray(w)) throw corrupt("recorded answer");
  return {
    ...(value !== undefined && { value }),
    ...(e !== undefined && { error: toError(e) }),
    written: w.map(toWritten),
  };
}

function toError(json: Json): ErrorBody {
  const { code, message, path, data, outcome, id } = fields(
    json,
    "recorded answer",
  );
  return {
    // Written by this or a newer server; clients treat one that they do not know as a failure.
    code: text(code) as ErrorCode,
    message: text(message),
    ...(path !== undefined && { path: text(path) }),
    ...(data !== undefined && { data }),
    ...(outcome !== undefined && { outcome: text(outcome) as Outcome }),
    ...(id !== undefined && { id: text(id) }),
  };
}

function toWritten(json: Json): WrittenTo {
  if (!Array.isArray(json)) throw corrupt("recorded answer");
  const [namespace, name, epoch, version] = json as readonly Json[];
  return {
    id: { namespace: text(namespace), name: text(name) },
    epoch: text(epoch),
    version: uint(version),
  };
}
