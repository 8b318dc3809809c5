/**
 * A storage for clients that outlives them, as a browser's outlives its pages, and
 * fails as asked.
 *
 * @module
 */
import type { ClientStorage } from "../client/mod.ts";

/** One origin's disk. */
export class MemoryDisk {
  /** What it holds. */
  readonly records = new Map<string, string>();
  /** Bytes that a client may keep. */
  maxBytes = 2 ** 20;
  /** What each action rejects with, if anything. */
  readonly failures: { load?: Error; save?: Error; lock?: Error } = {};
  /** Saves that took effect. */
  saves = 0;
  readonly #locks = new Map<string, Set<() => void>>();
  #gate: Promise<void> | undefined;
  #queue: Promise<void> = Promise.resolve();

  /** The storage as a page sees it. */
  openPage(): MemoryPage {
    return new MemoryPage(this);
  }

  /** Saves wait until the returned function is called. */
  holdSaves(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return () => {
      this.#gate = undefined;
      resolve();
    };
  }

  /** Runs actions one at a time, in order. */
  inOrder<T>(run: () => T, isHeld = false): Promise<T> {
    const gate = isHeld ? this.#gate : undefined;
    const done = this.#queue.then(() => gate).then(run);
    this.#queue = done.then(() => {}, () => {});
    return done;
  }

  /** Calls `owned` when the lock is free; returns what ends that. */
  acquire(name: string, owned: () => void): () => void {
    const queue = this.#locks.get(name) ?? new Set();
    this.#locks.set(name, queue);
    queue.add(owned);
    // Not at once: the caller has no release yet.
    if (queue.size === 1) queueMicrotask(owned);
    return () => {
      const wasFirst = [...queue][0] === owned;
      if (queue.delete(owned) && wasFirst) [...queue][0]?.();
    };
  }
}

/** What one page has of a {@linkcode MemoryDisk}. */
export class MemoryPage implements ClientStorage {
  readonly #disk: MemoryDisk;
  readonly #releases = new Set<() => void>();
  #isGone = false;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  get maxBytes(): number {
    return this.#disk.maxBytes;
  }

  load(): Promise<ReadonlyMap<string, string>> {
    return this.#disk.inOrder(() => {
      this.#check(this.#disk.failures.load);
      return new Map(this.#disk.records);
    });
  }

  save(changes: ReadonlyMap<string, string | undefined>): Promise<void> {
    const copy = new Map(changes);
    return this.#disk.inOrder(() => {
      this.#check(this.#disk.failures.save);
      for (const [key, text] of copy) {
        if (text === undefined) this.#disk.records.delete(key);
        else this.#disk.records.set(key, text);
      }
      this.#disk.saves++;
    }, true);
  }

  lock(name: string, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      this.#check(this.#disk.failures.lock);
      signal.throwIfAborted();
      const release = this.#disk.acquire(name, () => {
        signal.removeEventListener("abort", onAbort);
        resolve(release);
      });
      const onAbort = () => {
        release();
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      this.#releases.add(release);
    });
  }

  clear(): Promise<void> {
    return this.#disk.inOrder(() => {
      this.#check(this.#disk.failures.save);
      this.#disk.records.clear();
    });
  }

  /** The page is gone at once: nothing that it was at takes effect, and its locks are free. */
  vanish(): void {
    this.#isGone = true;
    for (const release of this.#releases) release();
  }

  #check(failure: Error | undefined): void {
    if (this.#isGone) throw new Error("The page is gone");
    if (failure) throw failure;
  }
}
