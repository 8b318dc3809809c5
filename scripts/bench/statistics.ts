/**
 * The few statistics that the bench needs.
 *
 * @module
 */

/** The middle one, or the mean of the two in the middle; NaN of nothing. */
export function median(numbers: readonly number[]): number {
  return (percentile(numbers, 0.5, Math.floor) +
    percentile(numbers, 0.5, Math.ceil)) / 2;
}

/** The number below which that part of all lies; NaN of nothing. */
export function percentile(
  numbers: ArrayLike<number>,
  part: number,
  round: (index: number) => number = Math.round,
): number {
  const sorted = Float64Array.from(numbers).sort();
  return sorted[round((sorted.length - 1) * part)] ?? NaN;
}

/** The sum. */
export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Waits. Only the bench does: its subject is time. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Milliseconds since 1970 with fractions; comparable between the processes of one machine. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
