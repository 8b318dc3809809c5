/**
 * Chance that a seed repeats.
 *
 * @module
 */
import { shown } from "../../protocol/shown.ts";
import type { Random } from "../../server/ports.ts";

/**
 * Numbers of a seed: the same seed gives the same ones. Not for secrets.
 *
 * The generator is mulberry32 by Tommy Ettinger (public domain).
 */
export class SeededRandom implements Random {
  #state: number;

  /**
   * Begins with `seed`, any whole number.
   *
   * @throws {RangeError} if it is none.
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(
        `Cannot begin with the seed ${shown(seed)}: it must be a whole number`,
      );
    }
    this.#state = seed | 0;
  }

  /** A number from 0 up to but not 1. */
  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** That many bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.integer(0, 255));
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.float() * (max - min + 1));
  }

  /** True with that probability, from 0 to 1. Draws nothing where it is certain. */
  chance(probability: number): boolean {
    if (probability <= 0) return false;
    return probability >= 1 || this.float() < probability;
  }

  /**
   * One of the items.
   *
   * @throws {RangeError} if there are none.
   */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("Cannot pick one of nothing");
    return items[this.integer(0, items.length - 1)]!; // in range
  }

  /**
   * An independent source, which continues this one's seed: what one part of a
   * test draws then changes nothing for the others.
   */
  fork(): SeededRandom {
    return new SeededRandom(Math.floor(this.float() * 2 ** 32));
  }
}
