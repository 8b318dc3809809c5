/**
 * Changes of a transaction that were made before, be it to stores that have ended since:
 * what they gave then is given again.
 *
 * @module
 */
import type { StoreId } from "../log/keys.ts";
import type { Recorded } from "../log/numbers.ts";
import { pause } from "../log/patience.ts";
import type { Clock, Random } from "../ports.ts";
import { lateError } from "./joint_error.ts";
import type { JointPart, JointWritten } from "./joint_part.ts";
import { refuseFailure } from "./opener.ts";
import { type Seat, seatOf } from "./joint_seats.ts";
import { repeat } from "./refused_write.ts";
import type { Store } from "./store.ts";

/** What is remembered of one change. */
export interface Found {
  readonly id: StoreId;
  readonly store: Store | undefined;
  readonly recorded: Recorded | undefined;
}

/** What is asked for the past. */
export interface PastOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** How long a life that is over may take to be settled. */
  readonly commitMs: number;
  /** The store, if it exists. */
  readonly find: (id: StoreId) => Promise<Store | undefined>;
  /** What became of a write to a life of the store that has ended. */
  readonly findPast: (
    id: StoreId,
    origin: NonNullable<JointPart["source"]["origin"]>,
  ) => Promise<Recorded | undefined>;
}

/** See the module's documentation. */
export class JointPast {
  readonly #options: PastOptions;

  /** The past of the stores of a server. */
  constructor(options: PastOptions) {
    this.#options = options;
  }

  /** What the changes gave, if any of them was made to a life of its store that has ended. */
  async madeBefore(
    parts: readonly JointPart[],
    isAgain: boolean,
  ): Promise<JointWritten[] | undefined> {
    const { clock, commitMs } = this.#options;
    const deadline = clock.monotonic() + commitMs;
    const past = (part: JointPart) => this.#findPast(part, isAgain);
    const known = await Promise.all(parts.map(past));
    if (known.every((recorded) => recorded === undefined)) return undefined;
    for (let retry = 0;; retry++) {
      const found = await this.#findBefore(parts, past);
      if (found) return repeatAll(found);
      if (clock.monotonic() >= deadline) throw lateError(undefined, "unknown");
      await pause(this.#options, retry);
    }
  }

  /** What is remembered of changes that were made; undefined where a life that is over is not settled. */
  async #findBefore(
    parts: readonly JointPart[],
    past: (part: JointPart) => Promise<Recorded | undefined>,
  ): Promise<Found[] | undefined> {
    const found: Found[] = [];
    for (const part of parts) {
      const { id, source } = part;
      const store = await this.#options.find(id);
      // The KV's own error would pass for a refusal of what was made.
      if (store) await refuseFailure(id, store.check());
      if (store?.ended || store?.isGone) return undefined;
      // Asked last: what is not in this life was in one that had ended before it was looked for.
      const recorded = store?.held.find(source) ?? await past(part);
      found.push({ id, store, recorded });
    }
    return found;
  }

  async #findPast(
    { id, source: { origin, isResent } }: JointPart,
    isAgain: boolean,
  ): Promise<Recorded | undefined> {
    return origin && (isResent || isAgain)
      ? await this.#options.findPast(id, origin)
      : undefined;
  }
}

/** What the stores remember of the changes. */
export function findAll(
  seats: readonly Seat[],
  parts: readonly JointPart[],
): Found[] {
  return parts.map(({ id, source }) => {
    const { store } = seatOf(seats, id);
    return { id, store, recorded: store.held.find(source) };
  });
}

/** What changes gave that were decided before; those of no record changed nothing. */
export function repeatAll(found: readonly Found[]): JointWritten[] {
  return found.map(({ id, store, recorded }) => {
    const { epoch = "", version = 0 } = store ?? {};
    if (!recorded) return { id, epoch, version, value: undefined };
    const known = repeat(recorded);
    if ("error" in known) throw known.error;
    return { id, epoch, ...known.written };
  });
}
