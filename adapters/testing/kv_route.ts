/**
 * The way between one process and the database: how long it takes, and what goes
 * wrong on it.
 *
 * @module
 */
import type { Clock, Timer } from "../../server/ports.ts";
import type { KvDelay, KvFaultSettings } from "./kv_faults.ts";

/** The two ends of a route, and what is between them. */
export interface KvRouteOptions {
  /** Time at the database; what travels there has left its process. */
  readonly databaseClock: Clock;
  /** Time of the process. */
  readonly processClock: Clock;
  readonly random: { float(): number };
  /** Knobs for all. */
  readonly faults: KvFaultSettings;
}

/** See the module's documentation. */
export class KvRoute {
  /** Knobs for this route alone; one that is not set is the database's. */
  faults: Partial<KvFaultSettings> = {};
  readonly #options: KvRouteOptions;

  /** A route without faults of its own. */
  constructor(options: KvRouteOptions) {
    this.#options = options;
  }

  /** How a knob stands. */
  knob<K extends keyof KvFaultSettings>(name: K): KvFaultSettings[K] {
    return this.faults[name] ?? this.#options.faults[name];
  }

  /** Whether it happens this time. A knob that is off must not change what is drawn for others. */
  happens(chance: number): boolean {
    return chance > 0 && this.#options.random.float() < chance;
  }

  /** A delay within the range. */
  draw([minMs, maxMs]: KvDelay): number {
    if (maxMs <= minMs) return minMs;
    return minMs + (maxMs - minMs) * this.#options.random.float();
  }

  /** Runs `run` at the database when a request has travelled. */
  request(run: () => void): Timer {
    return later(this.#options.databaseClock, this.#latencyMs(), run);
  }

  /** Runs `run` in the process when an answer has travelled. */
  answer(run: () => void): Timer {
    return later(this.#options.processClock, this.#latencyMs(), run);
  }

  /** Runs `run` at the database after so long. */
  wait(ms: number, run: () => void): Timer {
    return later(this.#options.databaseClock, ms, run);
  }

  #latencyMs(): number {
    const ms = this.draw(this.knob("latencyMs"));
    const spike = this.knob("spike");
    return this.happens(spike.chance) ? ms + this.draw(spike.ms) : ms;
  }
}

function later(clock: Clock, ms: number, run: () => void): Timer {
  if (ms > 0) return clock.setTimer(ms, run);
  let isOff = false;
  clock.defer(() => {
    if (!isOff) run();
  });
  return { cancel: () => void (isOff = true) };
}

/** What a driver says of a connection that was lost. */
export function connectionLost(): Error {
  return new Error("The connection to the database was lost");
}

/** What SQLite says while another process writes. */
export function locked(): Error {
  return new TypeError("database is locked");
}

/** What Deno says of an operation that was under way when its handle was closed. */
export function databaseClosed(): Error {
  return new TypeError("Database is closed.");
}

/** What Deno says of a handle that was closed before. */
export function badResource(): Error {
  const error = new Error("Bad resource ID");
  error.name = "BadResource";
  return error;
}
