/**
 * Time that moves only when it is told to, for any number of processes.
 *
 * Everything that happens in a simulation is an event of one queue, ordered by
 * virtual time and then by when it was asked for. Between two events all that
 * follows from the first runs to its end, so a run is the same each time.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../../server/ports.ts";

/** Whatever asks for something at once, again and again, is stopped after so many. */
const MOST_AT_ONCE = 300_000;

/** Something that will happen. */
interface Occurrence {
  readonly dueMs: number;
  /** Order of those that are due at the same moment. */
  readonly number: number;
  readonly run: () => void;
  readonly owner: HostClock | undefined;
  isCancelled: boolean;
}

/**
 * The time of a whole simulation. It stands still until it is moved, and what is
 * due happens on the way: in the order of its time, and of its asking at one moment.
 */
export class VirtualClock {
  /** Occurrences by time, then number: a binary heap. */
  readonly #heap: Occurrence[] = [];
  readonly #startMs: number;
  #elapsedMs = 0;
  #count = 0;
  /** What has happened since time last moved, or was asked to. */
  #atOnce = 0;

  /** Begins at `startMs` milliseconds since 1970; the first of January 2026 by default. */
  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs;
  }

  /** Milliseconds since 1970. */
  get nowMs(): number {
    return this.#startMs + this.#elapsedMs;
  }

  /** Milliseconds since the simulation began. */
  get elapsedMs(): number {
    return this.#elapsedMs;
  }

  /** How often something was asked for at a time, which is what a simulation costs. */
  get eventCount(): number {
    return this.#count;
  }

  /** A clock for one more process, or for a part of yours that takes a {@linkcode Clock}. */
  createHost(): HostClock {
    return new HostClock(this);
  }

  /**
   * Calls `run` after `ms`, unless its owner has crashed; where the owner is
   * suspended, when it goes on.
   *
   * @throws {RangeError} if `ms` is negative or not a number.
   */
  schedule(ms: number, run: () => void, owner?: HostClock): Timer {
    // A NaN would never be due, and the simulation would pass for nothing.
    if (!(ms >= 0)) throw new RangeError(`Cannot set a timer of ${ms} ms`);
    const dueMs = this.#elapsedMs + ms;
    const event: Occurrence = {
      dueMs,
      number: this.#count++,
      run,
      owner,
      isCancelled: false,
    };
    if (dueMs < Infinity) this.#push(event);
    return { cancel: () => void (event.isCancelled = true) };
  }

  /**
   * Lets `ms` pass, with all that happens in it.
   *
   * @throws {Error} if so much happens at one moment that it will never pass.
   * @throws {RangeError} if `ms` is negative or not finite.
   */
  async advance(ms: number): Promise<void> {
    refuseEndless(ms);
    const untilMs = this.#elapsedMs + ms;
    this.#atOnce = 0;
    await drain();
    while (this.#nextMs() <= untilMs) await this.#step();
    this.#elapsedMs = untilMs;
  }

  /**
   * Lets time pass until `isDone()`, which is asked whenever something has happened.
   *
   * @throws {Error} if it is not so within `limitMs` of virtual time, or so much
   * happens at one moment that it will never pass.
   * @throws {RangeError} if `limitMs` is negative or not finite.
   */
  async until(isDone: () => boolean, limitMs: number): Promise<void> {
    refuseEndless(limitMs);
    const untilMs = this.#elapsedMs + limitMs;
    this.#atOnce = 0;
    await drain();
    while (!isDone()) {
      if (this.#nextMs() > untilMs) {
        this.#elapsedMs = Math.max(this.#elapsedMs, untilMs);
        throw new Error(`It did not come to that within ${limitMs} ms`);
      }
      await this.#step();
    }
  }

  #nextMs(): number {
    // Called-off timers must not count as something that is still to come.
    while (this.#heap[0]?.isCancelled) this.#pop();
    return this.#heap[0]?.dueMs ?? Infinity;
  }

  async #step(): Promise<void> {
    const event = this.#pop();
    if (!event || event.isCancelled) return;
    if (event.dueMs > this.#elapsedMs) this.#atOnce = 0;
    this.#elapsedMs = Math.max(this.#elapsedMs, event.dueMs);
    // A loop that waits for nothing would take the memory of the machine, and no time.
    if (++this.#atOnce > MOST_AT_ONCE) throw endlessMoment(this.#elapsedMs);
    if (event.owner?.hold(event.run)) return;
    event.run();
    await drain();
  }

  #push(event: Occurrence): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): Occurrence | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) {
        child++;
      }
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

/**
 * What one process sees of the time, and what it has asked to be woken for. Made by
 * {@linkcode VirtualClock.createHost}.
 */
export class HostClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #pending = new Set<Timer>();
  /** What came while the process was suspended. */
  #held: (() => void)[] | undefined;
  #skewMs = 0;
  #isDead = false;

  /**
   * Made by {@linkcode VirtualClock.createHost}.
   *
   * @ignore
   */
  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  /** Timers that have neither run nor been called off. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Whether the process has crashed. */
  get isDead(): boolean {
    return this.#isDead;
  }

  /** Milliseconds since 1970 as this process sees them; jumps with {@linkcode HostClock.jump}. */
  now(): number {
    return this.#clock.nowMs + this.#skewMs;
  }

  /** Milliseconds since the simulation began, suspended or not. */
  monotonic(): number {
    return this.#clock.elapsedMs;
  }

  /**
   * Calls `run` once after `ms`, while the process lives.
   *
   * @throws {RangeError} if `ms` is negative or not a number.
   */
  setTimer(ms: number, run: () => void): Timer {
    const timer = this.#clock.schedule(ms, () => {
      // Called off while the process was suspended, perhaps.
      if (this.#pending.delete(own)) run();
    }, this);
    const own: Timer = {
      cancel: () => {
        this.#pending.delete(own);
        timer.cancel();
      },
    };
    // What asks for it after its death was under way: it gets nothing.
    if (!this.#isDead) this.#pending.add(own);
    return own;
  }

  /** Calls `run` at this moment, after all that is under way in it. */
  defer(run: () => void): void {
    this.#clock.schedule(0, run, this);
  }

  /**
   * Moves what {@linkcode HostClock.now} shows by `ms`, forwards or backwards, as a
   * user or NTP does. Timers do not notice.
   */
  jump(ms: number): void {
    this.#skewMs += ms;
  }

  /** Stops the process, as a laptop that is closed: whatever is due for it waits. */
  suspend(): void {
    this.#held ??= [];
  }

  /** Lets it go on, at this moment, with all that was due meanwhile. */
  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const run of held) this.#clock.schedule(0, run, this);
  }

  /**
   * The process is dead: nothing runs for it any more.
   *
   * @ignore
   */
  kill(): void {
    this.#isDead = true;
    for (const timer of [...this.#pending]) timer.cancel();
    this.#held = undefined;
  }

  /**
   * Keeps what cannot run now, or never; false: it can.
   *
   * @ignore
   */
  hold(run: () => void): boolean {
    if (this.#isDead) return true;
    this.#held?.push(run);
    return this.#held !== undefined;
  }
}

/** Lets everything happen that needs no time: microtasks, and what they start. */
function drain(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}

function endlessMoment(ms: number): Error {
  return new Error(
    `Time stands still at ${ms} ms: ${MOST_AT_ONCE} things have happened at that moment`,
  );
}

/** With no end in sight the loops over what is due would have none, either. */
function refuseEndless(ms: number): void {
  if (ms >= 0 && ms < Infinity) return;
  throw new RangeError(
    `Cannot let ${ms} ms pass: it must be finite and not negative`,
  );
}

function isBefore(a: Occurrence, b: Occurrence): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number);
}
