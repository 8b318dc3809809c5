/**
 * Counts of what was sent and what became of it, by decoder and by kind.
 *
 * @module
 */

/** What became of the inputs of one row. */
export interface Row {
  /** Inputs that were meant for it, or reached it. */
  frames: number;
  /** Inputs that it took. */
  accepted: number;
  /** Inputs that were refused, by code. */
  readonly refused: Record<string, number>;
  /** Refused inputs of which it is certain that this decoder saw them. */
  reached: number;
}

/** Rows by name. */
export type Tally = Record<string, Row>;

/** The row of that name, made where it is not there yet. */
export function rowOf(tally: Tally, name: string): Row {
  return tally[name] ??= { frames: 0, accepted: 0, refused: {}, reached: 0 };
}

/** Counts one refusal. */
export function countRefused(row: Row, code: string, count = 1): void {
  row.refused[code] = (row.refused[code] ?? 0) + count;
}

/** Adds the counts of `other` to `tally`. */
export function addTally(tally: Tally, other: Tally): void {
  for (const [name, from] of Object.entries(other)) {
    const row = rowOf(tally, name);
    row.frames += from.frames;
    row.accepted += from.accepted;
    row.reached += from.reached;
    for (const [code, count] of Object.entries(from.refused)) {
      countRefused(row, code, count);
    }
  }
}

/** Inputs that were refused. */
export function refusedOf(row: Row): number {
  let sum = 0;
  for (const count of Object.values(row.refused)) sum += count;
  return sum;
}

/** All inputs. */
export function framesOf(tally: Tally): number {
  let sum = 0;
  for (const { frames } of Object.values(tally)) sum += frames;
  return sum;
}

/** The least share of the inputs that each decoder must have had. */
export const LEAST_SHARE = 0.005;

/** What is wrong with the counts: a decoder that was hardly reached, or never took or never refused anything. */
export function findGaps(tally: Tally, decoders: readonly string[]): string[] {
  const total = framesOf(tally);
  const gaps: string[] = [];
  for (const name of decoders) {
    const row = rowOf(tally, name);
    const share = row.frames / Math.max(1, total);
    if (share < LEAST_SHARE) {
      gaps.push(`${name}: ${(share * 100).toFixed(2)} % of the frames`);
    }
    if (row.accepted === 0) gaps.push(`${name}: none accepted`);
    if (refusedOf(row) === 0) gaps.push(`${name}: none refused`);
  }
  return gaps;
}
