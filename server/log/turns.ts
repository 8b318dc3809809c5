/**
 * Whose turn it is in a lane. A store that met a conflict commits apart from the
 * others, and not before it has waited; one that other servers write to, too,
 * pauses now and then to let them.
 *
 * @module
 */
import type { Clock, Random } from "../ports.ts";
import type { Participant } from "./participant.ts";
import { Rivalry, RoundTime } from "./rivalry.ts";

/** Stores in one atomic: denokv allows 10 checks, one is the feed slot's. */
const STORES_PER_ATOMIC = 9;

/** The stores whose turn it is. */
export interface Round {
  readonly chosen: readonly Participant[];
  /** When the last of them came. */
  readonly sinceMs: number;
}

/** What turns need. */
export interface TurnsOptions {
  readonly clock: Clock;
  readonly random: Random;
}

/** See the module's documentation. */
export class Turns {
  readonly #options: TurnsOptions;
  /** Stores with work, and since when they have waited. */
  #ready = new Map<Participant, number>();
  /** Stores that other servers write to, too. */
  readonly #rivalries = new WeakMap<Participant, Rivalry>();
  readonly #roundTime = new RoundTime();
  /** Stores that wait for their turn; the others go on meanwhile. */
  readonly #waiting = new Set<Participant>();
  #wake: () => void = () => {};

  /** Nobody has work yet. */
  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** Whether nobody has work. */
  get isEmpty(): boolean {
    return this.#ready.size + this.#waiting.size === 0;
  }

  /** Takes a store that has work; false where it has to wait for its turn. */
  add(participant: Participant): boolean {
    if (this.#waiting.has(participant)) return false;
    this.#enqueue(participant);
    this.#wake();
    return true;
  }

  /** Those that are next; undefined where all wait for their turn. */
  choose(): Round | undefined {
    if (this.#ready.size === 0) return undefined;
    const chosen: Participant[] = [];
    let sinceMs = -Infinity;
    for (const participant of this.#ready.keys()) {
      if (this.#rivalries.get(participant)?.hasLost) {
        if (chosen.length > 0) continue;
        chosen.push(participant);
        break;
      }
      chosen.push(participant);
      if (chosen.length === STORES_PER_ATOMIC) break;
    }
    for (const participant of chosen) {
      sinceMs = Math.max(sinceMs, this.#ready.get(participant)!); // from #ready
      this.#ready.delete(participant);
    }
    return { chosen, sinceMs };
  }

  /** Resolves when somebody may be next. */
  async woken(): Promise<void> {
    await new Promise<void>((resolve) => this.#wake = resolve);
  }

  /** Another server wrote to the store, or says that it finds no turn. */
  heard(participant: Participant, isStarving: boolean): void {
    this.#rivalryOf(participant).heard(isStarving);
  }

  /** A round took so long, from its first read to its answer. */
  took(ms: number): void {
    this.#roundTime.add(ms);
  }

  /** The commit of these stores took effect. */
  committed(stores: Iterable<Participant>): void {
    for (const participant of stores) {
      this.#rivalries.get(participant)?.won(this.#roundTime.ms);
    }
  }

  /** The atomic with these stores met a conflict; whether the rival should be told of it. */
  conflicted(stores: readonly Participant[]): boolean {
    const [only] = stores;
    if (stores.length > 1 || !only) {
      // Not known which of them it was: each goes alone once.
      for (const one of stores) this.#rivalryOf(one).suspected();
      return false;
    }
    const rivalry = this.#rivalryOf(only);
    this.#wait(only, rivalry.lost(this.#roundTime.ms));
    return rivalry.asks();
  }

  /** Ends a round, in which those that are `late` found no room. */
  end({ chosen, sinceMs }: Round, late: readonly Participant[]): void {
    this.#enqueueFirst(late, sinceMs);
    for (const participant of chosen) {
      if (this.#waiting.has(participant)) continue;
      const rivalry = this.#rivalries.get(participant);
      const ms = rivalry?.pauseMs(this.#roundTime.ms) ?? 0;
      if (ms > 0) this.#wait(participant, ms);
      else if (participant.hasWork()) this.#enqueue(participant);
      // Were a conflict not forgotten with that, each later one would wait longer.
      else rivalry?.settled();
    }
  }

  #rivalryOf(participant: Participant): Rivalry {
    let rivalry = this.#rivalries.get(participant);
    if (!rivalry) {
      rivalry = new Rivalry(this.#options);
      this.#rivalries.set(participant, rivalry);
    }
    return rivalry;
  }

  #wait(participant: Participant, ms: number): void {
    this.#ready.delete(participant);
    this.#waiting.add(participant);
    this.#options.clock.setTimer(ms, () => {
      this.#waiting.delete(participant);
      if (participant.hasWork()) this.#enqueue(participant);
      this.#wake();
    });
  }

  #enqueue(participant: Participant): void {
    if (this.#ready.has(participant)) return;
    this.#ready.set(participant, this.#options.clock.monotonic());
  }

  /** Lets those that found no room come before those that did. */
  #enqueueFirst(late: readonly Participant[], sinceMs: number): void {
    const first = new Map<Participant, number>();
    for (const participant of late) {
      if (participant.hasWork()) first.set(participant, sinceMs);
    }
    if (first.size === 0) return;
    for (const [participant, ms] of this.#ready) {
      if (!first.has(participant)) first.set(participant, ms);
    }
    this.#ready = first;
  }
}
