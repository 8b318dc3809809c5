/**
 * The levels that somebody may have had, and until when: what they were given before
 * may be good for a while beside what they have been given since.
 *
 * @module
 */

/** A level that was given. */
export interface Grant {
  readonly level: number;
  /** When the last server has heard of another one. */
  untilMs: number;
}

/** See the module's documentation. */
export class Grants {
  readonly #all: Grant[] = [];

  /** Begins with one. */
  constructor(level?: number) {
    if (level !== undefined) this.add(level);
  }

  /** Another one is given, beside those so far. */
  add(level: number): Grant {
    const grant = { level, untilMs: Infinity };
    this.#all.push(grant);
    return grant;
  }

  /** What was given before this one ends. */
  settle(grant: Grant, untilMs: number): void {
    for (const before of this.#all) {
      if (before === grant) return;
      before.untilMs = Math.min(before.untilMs, untilMs);
    }
  }

  /** Until when that level, or a higher one, may be good. */
  lastMs(level: number): number {
    const enough = this.#all.filter((grant) => grant.level >= level);
    return Math.max(...enough.map(({ untilMs }) => untilMs));
  }

  /** Whether one below that level was ever given. */
  wasBelow(level: number): boolean {
    return this.#all.some((grant) => grant.level < level);
  }

  /** Whether every one that is good is at that level, or above it. */
  isAtLeast(level: number, nowMs: number): boolean {
    return this.#all.every((grant) =>
      grant.level >= level || grant.untilMs < nowMs
    );
  }
}
