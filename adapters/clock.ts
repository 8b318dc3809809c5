/**
 * Time and randomness, as Deno and Node have them alike.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Random } from "../server/ports.ts";

/** Longer delays run at once: a timer counts in 32 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Time, of the runtime. */
export const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, run) {
    let id: ReturnType<typeof setTimeout>;
    const arm = (leftMs: number) => {
      const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
      id = setTimeout(
        leftMs > stepMs ? () => arm(leftMs - stepMs) : run,
        stepMs,
      );
    };
    arm(ms);
    return { cancel: () => clearTimeout(id) };
  },
  // A timer of 0 ms comes a millisecond late; a microtask comes before the
  // messages that are already there.
  defer: (run) => void setImmediate(run),
};

/** Randomness, of the runtime. */
export const random: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  float: () => Math.random(),
};
