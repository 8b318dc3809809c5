/**
 * Finds out that a connection is dead. This module is browser compatible.
 *
 * @module
 */
import type { ClientClock, ClientTimer } from "./environment.ts";

/** What {@linkcode Heartbeat} asks of its owner. */
export interface HeartbeatOwner {
  /** Sends a ping. */
  ping(): void;
  /** Nothing was heard for too long. */
  silent(): void;
}

/** How long a peer may take to answer a {@linkcode Heartbeat.probe}. */
const PROBE_MS = 5_000;

/**
 * Pings when nothing was sent, or nothing heard, for `intervalMs`, and reports
 * when the interval passes again without a sound.
 *
 * Sending and hearing only note the time; the one timer looks at the notes when
 * it fires. Else each message would cost a timer.
 */
export class Heartbeat {
  readonly #clock: ClientClock;
  readonly #owner: HeartbeatOwner;
  #intervalMs = 0;
  #sentMs = 0;
  #heardMs = 0;
  #deadlineMs: number | undefined;
  #timer: ClientTimer | undefined;

  constructor(clock: ClientClock, owner: HeartbeatOwner) {
    this.#clock = clock;
    this.#owner = owner;
  }

  /** Begins, or changes the interval; 0 means that the server wants no pings. */
  start(intervalMs: number): void {
    this.#intervalMs = intervalMs;
    this.#sentMs = this.#heardMs = this.#clock.monotonic();
    this.#deadlineMs = undefined;
    this.#arm();
  }

  /** Notes that something was sent. */
  sent(): void {
    this.#sentMs = this.#clock.monotonic();
  }

  /** Notes that something was heard. */
  heard(): void {
    this.#heardMs = this.#clock.monotonic();
    this.#deadlineMs = undefined;
  }

  /** Pings now: after a sleep the connection may be dead without anybody knowing. */
  probe(): void {
    this.#ping(
      this.#intervalMs > 0 ? Math.min(this.#intervalMs, PROBE_MS) : PROBE_MS,
    );
  }

  /** Ends it. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #ping(waitMs: number): void {
    this.#deadlineMs = this.#clock.monotonic() + waitMs;
    this.#arm();
    this.#owner.ping();
  }

  #arm(): void {
    this.stop();
    const dueMs = this.#dueMs();
    if (dueMs === undefined) return;
    this.#timer = this.#clock.setTimer(
      Math.max(0, dueMs - this.#clock.monotonic()),
      () => this.#look(),
    );
  }

  #dueMs(): number | undefined {
    if (this.#deadlineMs !== undefined) return this.#deadlineMs;
    if (this.#intervalMs === 0) return undefined;
    return Math.min(this.#sentMs, this.#heardMs) + this.#intervalMs;
  }

  #look(): void {
    const dueMs = this.#dueMs();
    if (dueMs === undefined) return;
    if (this.#clock.monotonic() < dueMs) return this.#arm();
    if (this.#deadlineMs !== undefined) return this.#owner.silent();
    this.#ping(this.#intervalMs);
  }
}
