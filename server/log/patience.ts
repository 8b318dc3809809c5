/**
 * Waiting for a KV: not for ever, and not all servers at the same moment.
 *
 * @module
 */
import type { Clock, Random } from "../ports.ts";

/** Waiting time before the first retry; doubles, with jitter. */
const RETRY_MS = 4;
const RETRY_MAX_MS = 500;

/** What waiting needs. */
export interface Waiting {
  readonly clock: Clock;
  readonly random: Random;
}

/** Waits before the retry of that number, from 0. */
export async function pause(
  { clock, random }: Waiting,
  retry: number,
): Promise<void> {
  const ms = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** retry) * random.float();
  await new Promise<void>((resolve) => clock.setTimer(ms, resolve));
}

/** Runs what may be run again, until it succeeds or the time is over. */
export async function retry<T>(
  { limitMs, ...waiting }: Waiting & { readonly limitMs: number },
  run: () => Promise<T>,
  { when = () => true, again = () => {} }: {
    /** Which errors may pass; any. */
    when?: (error: unknown) => boolean;
    /** Called before it is run again. */
    again?: () => void;
  } = {},
): Promise<T> {
  const { clock } = waiting;
  const deadline = clock.monotonic() + limitMs;
  for (let count = 0;; count++) {
    try {
      return await inTime(clock, run(), deadline);
    } catch (error) {
      if (!when(error) || clock.monotonic() >= deadline) throw error;
      await pause(waiting, count);
      again();
    }
  }
}

/** Gives up waiting at the deadline: a KV that hangs must not hang whoever uses it. */
export async function inTime<T>(
  clock: Clock,
  promise: Promise<T>,
  deadline: number,
): Promise<T> {
  let cancel = (): void => {};
  const late = new Promise<never>((_, reject) => {
    const timer = clock.setTimer(
      Math.max(0, deadline - clock.monotonic()),
      () => reject(new Error("The KV did not answer in time")),
    );
    cancel = () => timer.cancel();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
