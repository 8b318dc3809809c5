/**
 * Where a server can be made to die: before and after each kind of atomic
 * operation, and around an answer. The one table of them.
 *
 * @module
 */

/** Kinds of atomic operations, and what they are. */
const ATOMICS = {
  "secret": "the secret that signs sessions",
  "create": "first commit of a store",
  "entry": "commit of an entry",
  "entries": "one commit of several stores",
  "chunked": "commit with its entry in chunks",
  "marker": "marker before a blob",
  "snapshot": "first chunks of a snapshot",
  "snapshot-more": "its further chunks",
  "large": "first chunks of a large entry",
  "large-more": "its further chunks",
  "large-commit": "commit that makes a large entry reachable",
  "flip": "flip to a snapshot",
  "old-chunks": "deletion of the replaced snapshot",
  "old-marker": "deletion of its marker",
  "floor": "raise of the floor",
  "trim-chunks": "deletion of an old large entry",
  "trim": "deletion of old log",
  "delete": "deletion of a store",
  "claim": "sweep: taking over a marker",
  "sweep-chunks": "sweep: deletion of chunks",
  "sweep-log": "sweep: log of a deleted store",
  "sweep-marker": "sweep: deletion of the marker",
  "once": "recorded answer of a call",
  "events": "events for other servers",
} as const;

const ANSWER = "handing an answer to its socket, all committed";

/** What an atomic operation does. */
export type AtomicKind = keyof typeof ATOMICS;

/** One place where a server can die. */
export interface Point {
  /** Such as `flip:before`. */
  readonly name: string;
  /** What happens there, for people. */
  readonly what: string;
}

/** Every point. */
export const POINTS: readonly Point[] = [
  ...Object.entries(ATOMICS).flatMap(([kind, what]) => [
    { name: `${kind}:before`, what },
    { name: `${kind}:after`, what },
  ]),
  { name: "answer:before", what: ANSWER },
  { name: "answer:after", what: ANSWER },
];

/** Points that only the first server on a new file passes. */
export const FIRST_POINTS: readonly string[] = [
  "secret:before",
  "secret:after",
];

/** Points that are passed so often that the first time is not the only one of interest. */
const FREQUENT = new Set(["entry", "entries", "answer", "chunked"]);

/** Points that are passed only where a server before has left a marker behind. */
export const SWEEP_POINTS: readonly string[] = [
  "claim:before",
  "claim:after",
  "sweep-chunks:before",
  "sweep-chunks:after",
];

/** When a server is to die: at the `nth` time that it passes `point`. */
export interface KillOrder {
  readonly point: string;
  readonly nth: number;
}

/** The environment variable that carries a {@linkcode KillOrder}. */
export const KILL_AT = "HEADWATER_KILL_AT";

/** An order to die at `point`; where it is passed often, not at the first time only. */
export function orderFor(point: string, random: () => number): KillOrder {
  const [kind = ""] = point.split(":");
  const isRare = FIRST_POINTS.includes(point) || SWEEP_POINTS.includes(point);
  const most = FREQUENT.has(kind) ? 40 : isRare ? 1 : 3;
  return { point, nth: 1 + Math.floor(random() * most) };
}

/** Writes an order as text, such as `flip:before:3`. */
export function encodeOrder({ point, nth }: KillOrder): string {
  return `${point}:${nth}`;
}

/**
 * Reads what {@linkcode encodeOrder} wrote; the number may be absent.
 *
 * @throws {TypeError} if there is no such point.
 */
export function decodeOrder(text: string): KillOrder {
  const [kind, side, nth = "1"] = text.split(":");
  const point = `${kind}:${side}`;
  if (!POINTS.some(({ name }) => name === point) || !(Number(nth) >= 1)) {
    throw new TypeError(`Cannot kill at "${text}": there is no such point`);
  }
  return { point, nth: Number(nth) };
}
