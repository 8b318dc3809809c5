/**
 * What was promised to the clients of one KV file: kept by the driver, and
 * compared with the file by the check.
 *
 * @module
 */
import type { WrittenRow } from "./app.ts";

/** What kind of promise was broken. */
export type BreachKind =
  /** An acknowledged write is not there, or not as it was acknowledged. */
  | "lost"
  /** A write is there twice. */
  | "twice"
  /** Anything else. */
  | "wrong";

/** A broken promise. */
export interface Breach {
  readonly kind: BreachKind;
  readonly text: string;
}

/** A write that was acknowledged. */
export interface AckedWrite extends WrittenRow {
  readonly label: string;
  /** The call's id; the server's own updates have none. */
  readonly call?: string;
}

/** A call whose recorded answer was given. */
export interface AckedAnswer {
  readonly call: string;
  readonly token: string;
}

/** A number that only one strand counts up. */
export interface Count {
  readonly store: string;
  /** Where the store holds one for each strand. */
  readonly strand?: string;
  /** Every acknowledged write, and those that may have been made as well. */
  least: number;
  most: number;
}

/** What a counted write gave, as far as it is known. */
export function countUp(count: Count, value: number): BreachKind | undefined {
  const { least, most } = count;
  const kind = value <= least ? "lost" : value > most + 1 ? "twice" : undefined;
  // Writes of an unknown outcome that this one did not come after may still land.
  count.most = Math.max(value, most + 1);
  count.least = value;
  return kind;
}

/** An account as JSON. */
export interface AccountData {
  readonly acked: readonly AckedWrite[];
  readonly present: readonly string[];
  readonly refused: readonly string[];
  readonly unknown: readonly string[];
  readonly answers: readonly AckedAnswer[];
  readonly counts: readonly Count[];
  readonly rooms: Readonly<Record<string, readonly string[]>>;
  readonly epochs: Readonly<Record<string, string>>;
}

/** See the module's documentation. */
export class Account {
  readonly acked: AckedWrite[] = [];
  /** Labels whose call failed after its write: they are there once. */
  readonly present: string[] = [];
  /** Labels of writes that were refused: they are nowhere. */
  readonly refused: string[] = [];
  /** Labels of which nobody was told: there once, or not at all. */
  readonly unknown: string[] = [];
  readonly answers: AckedAnswer[] = [];
  readonly counts: Count[] = [];
  /** What the rooms must hold; rooms of an unknown outcome are not among them. */
  readonly rooms = new Map<string, string[]>();
  /** The lives of the stores that are never deleted, as the last check found them. */
  epochs: Readonly<Record<string, string>> = {};
  readonly breaches: Breach[] = [];
  /** Milliseconds from the start of a server to its first answer. */
  readonly recoveriesMs: number[] = [];
  /** When the server was started whose first answer is awaited. */
  recoveringSinceMs: number | undefined;

  /** Notes a broken promise. */
  breach(kind: BreachKind, text: string): void {
    this.breaches.push({ kind, text });
  }

  /** A call was answered. */
  answer(): void {
    if (this.recoveringSinceMs === undefined) return;
    this.recoveriesMs.push(performance.now() - this.recoveringSinceMs);
    this.recoveringSinceMs = undefined;
  }

  /** A call was answered with where it wrote. */
  ack(label: string, call: string, writes: readonly WrittenRow[]): void {
    for (const write of writes) this.acked.push({ ...write, label, call });
  }

  /** For the check in another process. */
  toData(): AccountData {
    const { acked, present, refused, unknown, answers, counts, epochs } = this;
    const rooms = Object.fromEntries(this.rooms);
    return {
      acked,
      present,
      refused,
      unknown,
      answers,
      counts,
      rooms,
      epochs,
    };
  }
}
