/**
 * Writers that take one atomic at a time, for many transactions: those that wait for one
 * go together, as many as fit.
 *
 * @module
 */
import type { AtomicWriter, CommitResult } from "../log/atomic_writer.ts";
import type { StoreCommit } from "../log/commit.ts";
import type { Clock } from "../ports.ts";
import { STORES_PER_TRANSACTION, TRANSACTION_BYTES } from "./joint_part.ts";

/** Whoever has no more than this part of its time left is not to be the end of others. */
const LEAST_PART = 1 / 8;

/** What a pool needs. */
export interface WriterPoolOptions {
  readonly clock: Clock;
  /** Writers of which none is used otherwise. */
  readonly writers: readonly AtomicWriter[];
  /** How long a commit is tried. */
  readonly commitMs: number;
}

/** How a commit is tried. */
export interface TryOptions {
  readonly deadline: number;
  /** Whether it goes alone: it may be in the way of others, or they of it. */
  readonly isAlone: boolean;
}

interface Waiting extends TryOptions {
  readonly commits: readonly StoreCommit[];
  readonly settle: (result: CommitResult) => void;
  readonly fail: (error: unknown) => void;
}

/** See the module's documentation. */
export class WriterPool {
  readonly #options: WriterPoolOptions;
  readonly #free: AtomicWriter[];
  #waiting: Waiting[] = [];
  readonly #asking: ((writer: AtomicWriter) => void)[] = [];

  /** A pool in which nothing waits. */
  constructor(options: WriterPoolOptions) {
    this.#options = options;
    this.#free = [...options.writers];
  }

  /**
   * Commits in one atomic, all or nothing. No store of it may be in another commit that
   * waits. Throws where it cannot be told in time what became of it.
   */
  commit(
    commits: readonly StoreCommit[],
    options: TryOptions,
  ): Promise<CommitResult> {
    return new Promise((settle, fail) => {
      this.#waiting.push({ ...options, commits, settle, fail });
      this.#advance();
    });
  }

  /** See {@linkcode AtomicWriter.ask}. */
  async ask(commits: readonly StoreCommit[], deadline: number): Promise<void> {
    const writer = this.#free.pop() ??
      await new Promise<AtomicWriter>((resolve) => this.#asking.push(resolve));
    await writer.ask(commits, deadline);
    this.#release(writer);
  }

  #release(writer: AtomicWriter): void {
    const asking = this.#asking.shift();
    if (asking) return asking(writer);
    this.#free.push(writer);
    this.#advance();
  }

  #advance(): void {
    if (this.#waiting.length === 0) return;
    const writer = this.#free.pop();
    if (writer) this.#write(writer).then(() => this.#release(writer));
  }

  async #write(writer: AtomicWriter): Promise<void> {
    const group = this.#take();
    if (await this.#try(writer, group)) return;
    // One of them has lost to another server: that must not punish the others.
    for (const one of group) await this.#try(writer, [one]);
  }

  /** Those that have waited longest, as many as one atomic takes. */
  #take(): Waiting[] {
    const { clock, commitMs } = this.#options;
    const soon = clock.monotonic() + commitMs * LEAST_PART;
    let stores = 0;
    let bytes = 0;
    let count = 0;
    for (const { commits, deadline, isAlone } of this.#waiting) {
      stores += commits.length;
      for (const { entryBytes } of commits) bytes += entryBytes?.length ?? 0;
      const fits = stores <= STORES_PER_TRANSACTION &&
        bytes <= TRANSACTION_BYTES;
      const goesAlone = isAlone || deadline < soon;
      if (count > 0 && (goesAlone || !fits)) break;
      count++;
      if (goesAlone) break;
    }
    const group = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    return group;
  }

  /** Tells each what became of it; false where it is known that nothing of several was written. */
  async #try(
    writer: AtomicWriter,
    group: readonly Waiting[],
  ): Promise<boolean> {
    const deadline = Math.min(...group.map(({ deadline }) => deadline));
    try {
      // Those before it may have taken all the time that there was.
      const result = this.#options.clock.monotonic() < deadline
        ? await writer.commit(group.flatMap(({ commits }) => commits), deadline)
        : { ok: false } as const;
      if (!result.ok && group.length > 1) return false;
      for (const { settle } of group) settle(result);
    } catch (error) {
      for (const { fail } of group) fail(error);
    }
    return true;
  }
}
