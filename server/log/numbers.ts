/**
 * The numbers of the writes that a store has seen, per session: what makes the
 * writes of a resent call apply once. They ride in the log entries, with a table
 * in each snapshot, so that every server which loads the store knows them.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";
import type { Mutation, Origin } from "./mutation.ts";
import { list, text, uint } from "./record.ts";
import { type Refusal, refusalFromJson, refusalToJson } from "./refusal.ts";

/** What is remembered of a write that was seen. */
export interface Recorded {
  readonly version: number;
  /** It was made to a life of the store that has ended: the version is one of that. */
  readonly isPast?: boolean;
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
  /** Of sessions issued until then, some were too many to be remembered. */
  #cutMs = -Infinity;

  /** Sessions that are remembered. */
  get size(): number {
    return this.#sessions.size;
  }

  /** What became of this write, if it was seen before; `isResent`: it may have been. */
  find(origin: Origin, isResent = false): Recorded | undefined {
    const session = this.#sessions.get(origin.session);
    if (!session) {
      const isCut = isResent && origin.issuedAtMs <= this.#cutMs;
      return isCut ? FORGOTTEN : undefined;
    }
    return origin.call < session.oldest
      ? FORGOTTEN
      : session.calls.get(origin.call)?.[origin.n];
  }

  /** Whether the same call has made a later write than this one, which left no record. */
  hasLater({ session, call, n }: Origin): boolean {
    const writes = this.#sessions.get(session)?.calls.get(call) ?? [];
    return writes.slice(n + 1).some((write) => write !== undefined);
  }

  /** Calls of a session, from its `oldest` on, that have written until `version`. */
  callsOf(
    { id, oldest }: { readonly id: string; readonly oldest: number },
    version: number,
  ): number[] {
    const calls: number[] = [];
    for (const [call, writes] of this.#sessions.get(id)?.calls ?? []) {
      const isIn = call >= oldest &&
        writes.some((write) =>
          write && (write.isPast || write.version <= version)
        );
      if (isIn) calls.push(call);
    }
    return calls;
  }

  /** Remembers a mutation that was committed as `version`. */
  add(mutation: Mutation, version: number): void {
    const { origin, value, refused } = mutation;
    if (!origin) return;
    this.#record(origin, {
      version,
      ...(value !== undefined && { value }),
      ...(refused !== undefined && { refused }),
    });
  }

  /** What the store's next life has to remember, once `deletion` has ended this one at `version`. */
  toPast(deletion: Origin | undefined, version: number): WriteNumbers {
    const past = WriteNumbers.fromJson(this.toJson());
    past.#cutMs = this.#cutMs;
    if (deletion) past.#record(deletion, { version });
    for (const { calls } of past.#sessions.values()) {
      for (const writes of calls.values()) {
        for (const [n, write] of writes.entries()) {
          if (write) writes[n] = { ...write, isPast: true };
        }
      }
    }
    return past;
  }

  /** Adds what lives before this one remembered. */
  addPast(past: WriteNumbers): void {
    this.#cutMs = past.#cutMs;
    for (const [id, session] of past.#sessions) {
      const known = this.#sessions.get(id);
      if (!known) {
        this.#sessions.set(id, session);
        continue;
      }
      for (const [call, writes] of session.calls) {
        if (call < known.oldest) continue;
        // A call may have written to both lives.
        const merged = known.calls.get(call) ?? [];
        for (const [n, write] of writes.entries()) merged[n] ??= write;
        known.calls.set(call, merged);
      }
    }
  }

  /** Forgets the oldest sessions, but that there were some, until at most `count` are left. */
  cut(count: number): void {
    const byAge = [...this.#sessions].sort(([, a], [, b]) =>
      a.issuedAtMs - b.issuedAtMs
    );
    for (const [id, { issuedAtMs }] of byAge.slice(0, byAge.length - count)) {
      this.#sessions.delete(id);
      this.#cutMs = Math.max(this.#cutMs, issuedAtMs);
    }
  }

  /** When the youngest session was issued that {@linkcode WriteNumbers.cut} has forgotten. */
  get cutMs(): number {
    return this.#cutMs;
  }

  #record(origin: Origin, recorded: Recorded): void {
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
    writes[origin.n] = recorded;
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
  static fromJson(json: Json, cutMs: number = -Infinity): WriteNumbers {
    const numbers = new WriteNumbers();
    numbers.#cutMs = cutMs;
    for (const row of list(json)) {
      const [id, issuedAtMs, oldest, calls] = list(row);
      numbers.#sessions.set(text(id), {
        issuedAtMs: uint(issuedAtMs),
        oldest: uint(oldest),
        calls: new Map(list(calls).map(fromCallRow)),
      });
    }
    return numbers;
  }
}

function fromCallRow(row: Json): [number, (Recorded | undefined)[]] {
  const [call, writes] = list(row);
  return [
    uint(call),
    list(writes).map((write) => write === null ? undefined : fromRow(write)),
  ];
}

/** A version of a life that has ended is written below 0: there are none. */
function toRow({ version, isPast, refused, value }: Recorded): Json {
  const refusal = refused ? refusalToJson(refused) : null;
  const number = isPast ? -1 - version : version;
  return value === undefined ? [number, refusal] : [number, refusal, value];
}

function fromRow(row: Json): Recorded {
  const [number, refused = null, value] = list(row);
  const isPast = typeof number === "number" && number < 0;
  return {
    version: uint(isPast ? -1 - number : number),
    ...(isPast && { isPast }),
    ...(value !== undefined && { value }),
    ...(refused !== null && { refused: refusalFromJson(refused) }),
  };
}
