/**
 * A real KV that can be made to fail the way real ones do: commits that throw
 * before or after they took effect, hang or land late; reads that fail, hang or
 * let something happen in the moment before them; a watch that never fires. What
 * no fault was asked for goes through to the real KV.
 *
 * @module
 */
import type {
  Kv,
  KvAtomic,
  KvEntry,
  KvKey,
  KvKeyPart,
  KvSelector,
} from "../server/ports.ts";

/** What a commit gives. */
export type CommitResult = { ok: true; versionstamp: string } | { ok: false };

/** One atomic operation, as it was handed to `commit()`. */
export interface Commit {
  readonly checks: readonly {
    readonly key: KvKey;
    readonly versionstamp: string | null;
  }[];
  readonly sets: readonly {
    readonly key: KvKey;
    readonly value: unknown;
    readonly expireIn: number | undefined;
  }[];
  readonly deletes: readonly KvKey[];
  readonly sums: readonly KvKey[];
}

/** One read, before it begins. */
export interface Read {
  readonly kind: "get" | "list";
  /** The key, or where the range begins. */
  readonly key: KvKey;
}

/** Stands in for one commit; `run` does the real one. */
export type CommitFault = (
  run: () => Promise<CommitResult>,
  commit: Commit,
) => Promise<CommitResult>;

/** Which commits or reads are meant. */
export type Match<T> = (what: T) => boolean;

/** See the module's documentation. */
export class FaultyKv implements Kv {
  static #busy = 0;
  /** Every commit that was asked for, in order. */
  readonly commits: Commit[] = [];
  /** Every read that was asked for, in order. */
  readonly reads: Read[] = [];
  /** Every watch that was begun: its keys. */
  readonly watches: KvKey[][] = [];
  /** Watches tell the first state and then nothing. */
  isWatchDead = false;
  /** Ends every watch, as a connection that is lost does. */
  endWatches: () => void = () => {};
  /** While set, every read and commit throws it: the KV is gone. */
  outage: Error | undefined;
  /** Set once the process that uses this KV is to have died: nothing is done or answered any more. */
  isDead = false;
  readonly #kv: Kv;
  #commitFaults: { match: Match<Commit>; fault: CommitFault; times: number }[] =
    [];
  #readFaults: { match: Match<Read>; fault: () => unknown; times: number }[] =
    [];
  #lateReads: { match: Match<Read>; fault: () => unknown; times: number }[] =
    [];
  #entryHooks: { match: Match<KvKey>; run: () => unknown; times: number }[] =
    [];

  /** Passes on to `kv`. */
  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** Real operations that are under way, on any KV: time must stand still for them. */
  static get busy(): number {
    return FaultyKv.#busy;
  }

  /** Puts `fault` in the place of the next `times` commits that match. */
  onCommit(
    fault: CommitFault,
    { match = () => true, times = 1 }: Times<Commit> = {},
  ): void {
    this.#commitFaults.push({ match, fault, times });
  }

  /** Runs `fault` before the next `times` reads that match; what it throws, the read throws. */
  beforeRead(
    fault: () => unknown,
    { match = () => true, times = 1 }: Times<Read> = {},
  ): void {
    this.#readFaults.push({ match, fault, times });
  }

  /** Holds back what the next `times` reads of one key that match have found, while `fault` runs. */
  afterRead(
    fault: () => unknown,
    { match = () => true, times = 1 }: Times<Read> = {},
  ): void {
    this.#lateReads.push({ match, fault, times });
  }

  /** Runs `run` in the middle of a range, before the entry that matches is given. */
  beforeEntry(
    run: () => unknown,
    { match = () => true, times = 1 }: Times<KvKey> = {},
  ): void {
    this.#entryHooks.push({ match, run, times });
  }

  /** Commits that set, delete or add to a key that matches. */
  commitsTo(match: Match<KvKey>): Commit[] {
    return this.commits.filter((commit) => touches(match)(commit));
  }

  async get(key: KvKey): Promise<KvEntry> {
    await this.#read({ kind: "get", key });
    const entry = await FaultyKv.#real(() => this.#kv.get(key));
    const read: Read = { kind: "get", key };
    await take(this.#lateReads, read)?.fault();
    return entry;
  }

  async getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]> {
    for (const key of keys) await this.#read({ kind: "get", key });
    return await FaultyKv.#real(() => this.#kv.getMany(keys));
  }

  async *list(
    selector: KvSelector,
    options?: { limit?: number; reverse?: boolean; batchSize?: number },
  ): AsyncIterableIterator<KvEntry> {
    await this.#read({
      kind: "list",
      key: "prefix" in selector ? selector.prefix : selector.start,
    });
    const entries = this.#kv.list(selector, options);
    for (;;) {
      const { done, value: entry } = await FaultyKv.#real(() => entries.next());
      if (done) return;
      const hook = take(this.#entryHooks, entry.key);
      if (hook) await hook.run();
      yield entry;
    }
  }

  atomic(): KvAtomic {
    return new RecordedAtomic(
      this.#kv.atomic(),
      (commit, run) => this.#commit(commit, () => FaultyKv.#real(run)),
    );
  }

  watch(
    keys: readonly (readonly KvKeyPart[])[],
    options?: { raw?: boolean },
  ): ReadableStream<KvEntry[]> {
    this.watches.push(keys.map((key) => [...key]));
    const reader = this.#kv.watch(keys, options).getReader();
    let isFirst = true;
    return new ReadableStream({
      start: (controller) => {
        this.endWatches = () => {
          reader.cancel();
          controller.close();
        };
      },
      pull: async (controller) => {
        if (this.isWatchDead && !isFirst) return await new Promise(() => {});
        isFirst = false;
        const { done, value } = await reader.read();
        if (!done) controller.enqueue(value);
      },
      cancel: () => reader.cancel(),
    });
  }

  close(): void {
    this.#kv.close();
  }

  static async #real<T>(run: () => Promise<T>): Promise<T> {
    FaultyKv.#busy++;
    try {
      return await run();
    } finally {
      FaultyKv.#busy--;
    }
  }

  async #read(read: Read): Promise<void> {
    this.reads.push(read);
    if (this.isDead) await never();
    if (this.outage) throw this.outage;
    const found = take(this.#readFaults, read);
    if (found) await found.fault();
  }

  async #commit(
    commit: Commit,
    run: () => Promise<CommitResult>,
  ): Promise<CommitResult> {
    this.commits.push(commit);
    if (this.isDead) await never();
    if (this.outage) throw this.outage;
    const found = take(this.#commitFaults, commit);
    const result = found ? await found.fault(run, commit) : await run();
    if (this.isDead) await never();
    return result;
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}

/** Which, and how often. */
export interface Times<T> {
  /** Any by default. */
  readonly match?: Match<T>;
  /** Once by default. */
  readonly times?: number;
}

/** What SQLite says where another process writes. */
export function locked(): Error {
  return new TypeError("database is locked");
}

/** The commit throws and has no effect. */
export const throwsBefore: CommitFault = () =>
  Promise.reject(new Error("connection reset"));

/** The database is locked, and the commit has no effect. */
export const lockedBefore: CommitFault = () => Promise.reject(locked());

/** The database is said to be locked though the commit took effect. */
export const lockedAfter: CommitFault = async (run) => {
  await run();
  throw locked();
};

/** The commit takes effect, and throws. */
export const throwsAfter: CommitFault = async (run) => {
  await run();
  throw new Error("connection reset");
};

/** The commit throws, and takes effect only when `land` is called. */
export function throwsAndLandsLater(): {
  fault: CommitFault;
  land: () => Promise<CommitResult>;
} {
  let real: (() => Promise<CommitResult>) | undefined;
  return {
    fault: (run) => {
      real = run;
      return Promise.reject(new Error("connection reset"));
    },
    land: async () => {
      if (!real) throw new Error("Nothing was committed yet");
      return await real();
    },
  };
}

/** A place where something waits until the test lets it go on. */
export class Gate {
  readonly #reached = Promise.withResolvers<void>();
  readonly #opened = Promise.withResolvers<void>();

  /** Resolves when something waits here. */
  get reached(): Promise<void> {
    return this.#reached.promise;
  }

  /** Waits here. */
  readonly pass = (): Promise<void> => {
    this.#reached.resolve();
    return this.#opened.promise;
  };

  /** Lets everything pass. */
  open(): void {
    this.#opened.resolve();
  }
}

/** The commit waits at the gate before it is made. */
export function waitsBefore(gate: Gate): CommitFault {
  return async (run) => {
    await gate.pass();
    return await run();
  };
}

/** The commit is made, and its answer waits at the gate. */
export function waitsAfter(gate: Gate): CommitFault {
  return async (run) => {
    const result = await run();
    await gate.pass();
    return result;
  };
}

/** Matches keys by their second part, which says what they are: `head`, `log`, `blob` … */
export function keyOf(kind: string): Match<KvKey> {
  return (key) => key[1] === kind;
}

/** Matches reads of such keys. */
export function readOf(kind: string, how?: Read["kind"]): Match<Read> {
  return (read) =>
    read.key[1] === kind && (how === undefined || read.kind === how);
}

/** Matches commits that write a key that matches. */
export function touches(match: Match<KvKey>): Match<Commit> {
  return ({ sets, deletes, sums }) =>
    sets.some(({ key }) => match(key)) || deletes.some(match) ||
    sums.some(match);
}

/** Matches commits that write such a key. */
export function writes(kind: string): Match<Commit> {
  return touches(keyOf(kind));
}

/** Bytes of a commit's values. */
export function valueBytes({ sets }: Commit): number {
  return sets.reduce(
    (sum, { value }) =>
      sum + (value instanceof Uint8Array ? value.byteLength : 0),
    0,
  );
}

function take<T, F extends { match: Match<T>; times: number }>(
  faults: (F & { match: Match<T> })[],
  what: T,
): F | undefined {
  const found = faults.find(({ match }) => match(what));
  if (found && --found.times === 0) faults.splice(faults.indexOf(found), 1);
  return found;
}

class RecordedAtomic implements KvAtomic {
  readonly #real: KvAtomic;
  readonly #commit: (
    commit: Commit,
    run: () => Promise<CommitResult>,
  ) => Promise<CommitResult>;
  readonly #checks: { key: KvKey; versionstamp: string | null }[] = [];
  readonly #sets: {
    key: KvKey;
    value: unknown;
    expireIn: number | undefined;
  }[] = [];
  readonly #deletes: KvKey[] = [];
  readonly #sums: KvKey[] = [];

  constructor(
    real: KvAtomic,
    commit: (
      commit: Commit,
      run: () => Promise<CommitResult>,
    ) => Promise<CommitResult>,
  ) {
    this.#real = real;
    this.#commit = commit;
  }

  check(...checks: { key: KvKey; versionstamp: string | null }[]): this {
    this.#checks.push(...checks);
    this.#real.check(...checks);
    return this;
  }

  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this {
    this.#sets.push({ key, value, expireIn: options?.expireIn });
    this.#real.set(key, value, options);
    return this;
  }

  delete(key: KvKey): this {
    this.#deletes.push(key);
    this.#real.delete(key);
    return this;
  }

  sum(key: KvKey, n: bigint): this {
    this.#sums.push(key);
    this.#real.sum(key, n);
    return this;
  }

  commit(): Promise<CommitResult> {
    const commit = {
      checks: this.#checks,
      sets: this.#sets,
      deletes: this.#deletes,
      sums: this.#sums,
    };
    return this.#commit(commit, () => this.#real.commit());
  }
}
