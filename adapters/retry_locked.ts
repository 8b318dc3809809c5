/**
 * Keeps "database is locked" from whoever uses a KV file that several processes
 * or isolates share: SQLite says so to all but one of those who write at once.
 *
 * @module
 */
import type { Kv, KvAtomic, KvEntry } from "../server/ports.ts";

/** Waiting time before the first retry; doubles, with jitter. */
const FIRST_MS = 2;
const LONGEST_MS = 100;
/** After so many retries, some seconds, it is passed on. */
const RETRIES = 60;

/** Runs `attempt` until the database is not locked. */
export async function retryLocked<T>(attempt: () => Promise<T>): Promise<T> {
  for (let retry = 0;; retry++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isLocked(error) || retry === RETRIES) throw error;
      const ms = Math.min(LONGEST_MS, FIRST_MS * 2 ** retry) * Math.random();
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  }
}

/** The same KV, whose operations wait for the lock. */
export function waitForLock(kv: Kv): Kv {
  return {
    get: (key) => retryLocked(() => kv.get(key)),
    getMany: (keys) => retryLocked(() => kv.getMany(keys)),
    list: (selector, options) => listLocked(() => kv.list(selector, options)),
    atomic: () => waitInCommit(kv.atomic()),
    watch: (keys, options) => kv.watch(keys, options),
    close: () => kv.close(),
  };
}

function waitInCommit(atomic: KvAtomic): KvAtomic {
  const commit = atomic.commit.bind(atomic);
  // SQLite says that it is locked before it has written anything.
  atomic.commit = () => retryLocked(commit);
  return atomic;
}

/** Only the first step takes the lock that can be missing. */
async function* listLocked(
  list: () => AsyncIterableIterator<KvEntry>,
): AsyncGenerator<KvEntry, void> {
  const { entries, first } = await retryLocked(async () => {
    const entries = list();
    return { entries, first: await entries.next() };
  });
  if (first.done) return;
  yield first.value;
  yield* entries;
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && error.message.includes("database is locked");
}
