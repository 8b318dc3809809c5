/**
 * How servers are to die: each point at least once, and in between at random.
 *
 * @module
 */
import {
  FIRST_POINTS,
  type KillOrder,
  orderFor,
  POINTS,
  SWEEP_POINTS,
} from "./points.ts";

/** How a server is to die. */
export type Death =
  /** At a point that it finds by itself. */
  | { readonly name: "order"; readonly order: KillOrder }
  /** So long after its start. */
  | { readonly name: "start"; readonly ms: number }
  /** So long after it began to listen. */
  | { readonly name: "later"; readonly ms: number };

/** Of the deaths, so many are at points while there are points left. */
const NAMED_FIRST = 0.8;
const NAMED_THEN = 0.4;
/** Of the others, so many while the server starts. */
const AT_START = 0.15;
const START_MS = 450;
const MEAN_MS = 260;
/** Whoever dies there leaves a marker that waits for its commit. */
const LEAVES_MARKER = "large:after";
/** How often a point that was not reached is tried again. */
const TRIES = 4;

/** Numbers from 0 up to but not 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** See the module's documentation. */
export class KillPlan {
  /** How often each point was where a server died; those to be tried have 0. */
  readonly hits = new Map<string, number>();
  readonly #random: () => number;
  readonly #left: string[];
  readonly #tries = new Map<string, number>();
  /** The last death was to leave a marker behind, for the next server to sweep. */
  #isPrepared = false;

  /** A plan in which each of `points` comes at least once. */
  constructor(points: readonly string[], random: () => number) {
    this.#random = random;
    this.#left = shuffled(points, random);
    for (const point of points) this.hits.set(point, 0);
  }

  /**
   * The next death; `isFirst`: of the first server on a new file; `deathsLeft`: how
   * many may come, this one included.
   */
  next(
    { isFirst, isWatched, deathsLeft }: {
      isFirst: boolean;
      isWatched: boolean;
      deathsLeft: number;
    },
  ): Death {
    const random = this.#random;
    const named = this.#left.length > 0 ? NAMED_FIRST : NAMED_THEN;
    const isNamed = isFirst || this.#isPrepared ||
      this.#needed >= deathsLeft || random() < named;
    const point = isWatched && isNamed ? this.#point(isFirst) : undefined;
    if (point) return { name: "order", order: orderFor(point, random) };
    return random() < AT_START
      ? { name: "start", ms: random() * START_MS }
      : { name: "later", ms: -Math.log(1 - random()) * MEAN_MS };
  }

  /** All markers have been swept. */
  swept(): void {
    this.#isPrepared = false;
  }

  /** A server died there. */
  hit(point: string): void {
    this.hits.set(point, (this.hits.get(point) ?? 0) + 1);
  }

  /** A server did not come there: it is tried again, but not for ever. */
  miss(point: string): void {
    const tries = (this.#tries.get(point) ?? 0) + 1;
    this.#tries.set(point, tries);
    if (this.hits.get(point) === 0 && tries < TRIES) this.#left.unshift(point);
  }

  /** How many deaths the points that are left take, if none is missed. */
  get #needed(): number {
    const sweeps = this.#left.filter((point) => SWEEP_POINTS.includes(point));
    return this.#left.length + sweeps.length;
  }

  #point(isFirst: boolean): string | undefined {
    const at = this.#left.findIndex((point) =>
      FIRST_POINTS.includes(point) === isFirst
    );
    if (isFirst && at < 0) return undefined;
    const next = this.#left[at];
    if (next && SWEEP_POINTS.includes(next) && !this.#isPrepared) {
      this.#isPrepared = true;
      return LEAVES_MARKER;
    }
    this.#isPrepared = false;
    if (next !== undefined) return this.#left.splice(at, 1)[0];
    const others = POINTS.map(({ name }) => name)
      .filter((name) => !FIRST_POINTS.includes(name));
    return others[Math.floor(this.#random() * others.length)];
  }
}

/** The same in another order. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items.map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
