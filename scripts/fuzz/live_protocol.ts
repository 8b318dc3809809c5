/**
 * What the fuzzer asks of the server that it fuzzes, by functions whose names no
 * hostile client knows.
 *
 * @module
 */

/** State of the store that the honest client writes. */
export interface HonestState {
  n: number;
  sum: number;
  recent: number[];
}

/** Records that can be put into the server's KV. */
export const PLANTED = [
  "head",
  "log entry",
  "blob reference",
  "feed slot",
  "marker",
] as const;

/** Puts hostile bytes into the KV of the running server. */
export interface PlantArguments {
  readonly what: typeof PLANTED[number] | "feed";
  readonly hex: string;
  /** Store whose record it is. */
  readonly name: string;
  readonly n: number;
}

/** What the server has measured of itself. */
export interface ServerReport {
  /** Messages that came in. */
  readonly messages: number;
  /** Messages that were handled for too long, since the last report. */
  readonly slow: readonly { readonly hex: string; readonly ms: number }[];
  /** The longest that a message was handled, under load. */
  readonly slowestMs: number;
  /** The longest that a timer of 5 ms came late, since the last report. */
  readonly longestTurnMs: number;
  /** Memory of the server: resident, or the heap of its thread. */
  readonly memoryBytes: number;
}
