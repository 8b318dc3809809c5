/**
 * How servers that write to one store get out of each other's way.
 *
 * Whoever has just committed knows the head and is quicker than one who has to
 * read it first: left to themselves one server would commit on and on, and the
 * others never. So whoever knows of a rival writes for a while and then pauses,
 * long enough for the rival to read the head and commit; and whoever lost tries
 * again about once in the time that a commit takes, until it meets that pause.
 * One that starves says so in its feed. All of this is only a matter of time:
 * what may be committed is decided by the check of the head alone.
 *
 * @module
 */
import type { Clock, Random } from "../ports.ts";

/** A turn is at least so long, so that most commits need not read the head. */
const TURN_MS = 25;
/** And so many commits, where these take longer. */
const TURN_COMMITS = 4;
/** Tries are at least so far apart. */
const TRY_MS = 2;
/** A rival of which nothing was heard for so long has gone. */
const RIVAL_MS = 1_000;
/** Conflicts in a row after which a server says that it starves, and how often it does. */
const STARVING_TRIES = 3;
const ASK_MS = 250;
/** Tries in a row after which they come half as often, and again, up to so far apart. */
const TRIES_PER_STEP = 16;
const STEPS = 6;
const WAIT_MAX_MS = 1_000;
/** How much longer pauses become where the rival starves all the same. */
const PATIENCE_MAX = 16;
const PAUSE_MAX_MS = 500;
/** A round that takes longer says nothing of the next. */
const ROUND_MAX_MS = 500;
/** How much of its old value the measured time of a round keeps. */
const KEPT = 0.8;

/** What a rivalry needs. */
export interface RivalryOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** One store, and who else writes to it; see the module's documentation. */
export class Rivalry {
  readonly #options: RivalryOptions;
  #tries = 0;
  #patience = 1;
  #heardMs: number;
  #askedMs = -Infinity;
  #wonMs = -Infinity;
  #turnSinceMs: number | undefined;

  /** A rival was heard of just now. */
  constructor(options: RivalryOptions) {
    this.#options = options;
    this.#heardMs = options.clock.monotonic();
  }

  /** Whether the last try met a conflict: the store commits apart from the others. */
  get hasLost(): boolean {
    return this.#tries > 0;
  }

  /** The rival committed, or says that it finds no turn. */
  heard(isStarving: boolean): void {
    this.#heardMs = this.#options.clock.monotonic();
    // It may be slower than this server, with more to read before it can commit.
    this.#patience = isStarving
      ? Math.min(PATIENCE_MAX, this.#patience * 2)
      : Math.max(1, this.#patience / 2);
  }

  /** The atomic met a conflict, perhaps because of another store in it. */
  suspected(): void {
    this.#tries = Math.max(1, this.#tries);
  }

  /** The rival was quicker; returns how long to wait before the next try. */
  lost(roundMs: number): number {
    this.#heardMs = this.#options.clock.monotonic();
    this.#turnSinceMs = undefined;
    const step = Math.min(STEPS, Math.floor(this.#tries++ / TRIES_PER_STEP));
    const ms = Math.min(WAIT_MAX_MS, Math.max(TRY_MS, roundMs) * 2 ** step);
    return ms * (0.5 + this.#options.random.float());
  }

  /** Whether the rival should be told now that this server wants to write. */
  asks(): boolean {
    const now = this.#options.clock.monotonic();
    if (this.#tries < STARVING_TRIES || now - this.#askedMs < ASK_MS) {
      return false;
    }
    this.#askedMs = now;
    return true;
  }

  /** A commit took effect. */
  won(roundMs: number): void {
    const now = this.#options.clock.monotonic();
    this.#tries = 0;
    // Whoever waits for each write before the next has no work for a moment after each.
    const hasRested = now - this.#wonMs > 3 * Math.max(TRY_MS, roundMs);
    if (this.#turnSinceMs === undefined || hasRested) this.#turnSinceMs = now;
    this.#wonMs = now;
  }

  /** All that there was to write was there already, by a rival who was quicker. */
  settled(): void {
    this.#tries = 0;
  }

  /** How long to pause before the next commit: 0 until the turn is over. */
  pauseMs(roundMs: number): number {
    const now = this.#options.clock.monotonic();
    if (this.hasLost || this.#turnSinceMs === undefined) return 0;
    if (now - this.#heardMs > RIVAL_MS) return 0;
    const turnMs = Math.max(TURN_MS, TURN_COMMITS * roundMs);
    if (now - this.#turnSinceMs < turnMs) return 0;
    this.#turnSinceMs = undefined;
    // One try that began too early, the wait after it, and one whole try.
    const ms = 1.5 * Math.max(TRY_MS, roundMs) + 3 * roundMs;
    return Math.min(PAUSE_MAX_MS, this.#patience * ms);
  }
}

/** How long rounds take, each counting less the longer ago it was. */
export class RoundTime {
  #ms: number | undefined;

  /** Milliseconds; 0 before the first. */
  get ms(): number {
    return this.#ms ?? 0;
  }

  /** Takes another one into account. */
  add(ms: number): void {
    // A process that was asleep meanwhile would wait as long after its next conflict.
    const counted = Math.min(ROUND_MAX_MS, ms);
    const before = this.#ms ?? counted;
    this.#ms = KEPT * before + (1 - KEPT) * counted;
  }
}
