/**
 * Waiting in tests: never for a time, always for something, with a deadline
 * that says what did not come.
 *
 * @module
 */

/** How long a test waits for what must come. */
export const DEADLINE_MS = 5_000;

/** Settings of {@linkcode until}. */
export interface UntilOptions {
  /** How long to go on; 5 s by default. */
  ms?: number;
  /** What to print if it does not come true. */
  describe?: () => string;
}

/** Waits until `predicate` gives something truthy, and returns it. */
export async function until<T>(
  predicate: () => T | Promise<T>,
  { ms = DEADLINE_MS, describe = () => predicate.toString() }: UntilOptions =
    {},
): Promise<NonNullable<T>> {
  for (const deadline = performance.now() + ms;;) {
    const value = await predicate();
    if (value) return value;
    if (performance.now() > deadline) {
      throw new Error(`Not true within ${ms} ms: ${describe()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Rejects with what `describe` says if `promise` takes too long. */
export async function within<T>(
  promise: Promise<T>,
  { ms = DEADLINE_MS, describe }: { ms?: number; describe: () => string },
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`Not within ${ms} ms: ${describe()}`)),
    ms,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
