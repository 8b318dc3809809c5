/**
 * The numbers of the writes that a store has seen, per session: what makes the
 * writes of a resent call apply once. They ride in the log entries, with a table
 * in each snapshot, so that every server which loads the store knows them.
 *
 * @module
 */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Json } from "../../protocol/value.ts";
import type { Mutation, Origin, Refusal } from "./records.ts";

/** What is remembered of a write that was seen. */
export interface Recorded {
  readonly version: number;
  readonly value?: Json;
  readonly refused?: Refusal;
}

interface SessionNumbers {
  readonly issuedAtMs: number;
  /** Calls below it are forgotten. */
  oldest: number;
  /** Writes of each call. Calls overlap, so this is a set and not a watermark. */
  readonly calls: Map<number, (Recorded | undefined)[]>;
}

/**
 * A call that is not awaited any more may still run on a server that is slow,
 * after another one has answered it: then nobody can tell whether it has written.
 */
const FORGOTTEN: Recorded = {
  version: 0,
  refused: {
    code: "unknown",
    message: "Cannot write: the answer of the call is not awaited any more",
  },
};

/** Every numbered write that a store remembers. */
export class WriteNumbers {
  readonly #sessions = new Map<string, SessionNumbers>();

  /** Sessions that are remembered. */
  get size(): number {
    return this.#sessions.size;
  }

  /** What became of this write, if it was seen before. */
  find(origin: Origin): Recorded | undefined {
    const session = this.#sessions.get(origin.session);
    if (!session) return undefined;
    return origin.call < session.oldest
      ? FORGOTTEN
      : session.calls.get(origin.call)?.[origin.n];
  }

  /** Remembers a mutation that was committed as `version`. */
  add(mutation: Mutation, version: number): void {
    const { origin, value, refused } = mutation;
    if (!origin) return;
    let session = this.#sessions.get(origin.session);
    if (!session) {
      const { issuedAtMs } = origin;
      session = { issuedAtMs, oldest: 0, calls: new Map() };
      this.#sessions.set(origin.session, session);
    }
    // Nobody asks again for a call below the oldest one that the client awaits.
    if (origin.oldest > session.oldest) {
      session.oldest = origin.oldest;
      for (const call of session.calls.keys()) {
        if (call < origin.oldest) session.calls.delete(call);
      }
    }
    const writes = session.calls.get(origin.call) ?? [];
    writes[origin.n] = {
      version,
      ...(value !== undefined && { value }),
      ...(refused !== undefined && { refused }),
    };
    session.calls.set(origin.call, writes);
  }

  /** Forgets sessions issued before `issuedBeforeMs`: their tokens are refused by now. */
  prune(issuedBeforeMs: number): void {
    for (const [id, session] of this.#sessions) {
      if (session.issuedAtMs < issuedBeforeMs) this.#sessions.delete(id);
    }
  }

  /** The table of a snapshot. */
  toJson(): Json {
    return [...this.#sessions].map(([id, { issuedAtMs, oldest, calls }]) => [
      id,
      issuedAtMs,
      oldest,
      // A call's numbers may have gaps: a write that changed nothing is not recorded.
      [...calls].map((
        [call, writes],
      ) => [call, Array.from(writes, (w) => w ? toRow(w) : null)]),
    ]);
  }

  /** The table that {@linkcode WriteNumbers.toJson} made. */
  static fromJson(json: Json): WriteNumbers {
    const numbers = new WriteNumbers();
    // Made by toJson(): its shape is known, and a snapshot is read whole or not at all.
    const rows = json as unknown as SessionRow[];
    for (const [id, issuedAtMs, oldest, calls] of rows) {
      numbers.#sessions.set(id, {
        issuedAtMs,
        oldest,
        calls: new Map(
          calls.map(([call, rows]) => [
            call,
            rows.map((r) => r ? fromRow(r) : undefined),
          ]),
        ),
      });
    }
    return numbers;
  }
}

type WriteRow = [
  version: number,
  refused: [ErrorCode, string] | null,
  value?: Json,
];
type SessionRow = [
  id: string,
  issuedAtMs: number,
  oldest: number,
  calls: [number, (WriteRow | null)[]][],
];

function toRow({ version, refused, value }: Recorded): Json {
  const refusal = refused ? [refused.code, refused.message] : null;
  return value === undefined ? [version, refusal] : [version, refusal, value];
}

function fromRow([version, refused, value]: WriteRow): Recorded {
  return {
    version,
    ...(value !== undefined && { value }),
    ...(refused !== null &&
      { refused: { code: refused[0], message: refused[1] } }),
  };
}
