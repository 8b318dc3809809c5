/**
 * Loads the part of the client that writes, and keeps in order what is written until
 * it is there. This module is browser compatible.
 *
 * @module
 */
import { copyClean } from "../protocol/copy_clean.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { Json } from "../protocol/json.ts";
import { checkFunction } from "../protocol/shown.ts";
import { Deferred, rejectedQuietly } from "./deferred.ts";
import { disconnected } from "./reconnector.ts";
import type { WriteOptions } from "./write_options.ts";
import type {
  LoadWriting,
  Writing,
  WritingModule,
  WritingOwner,
} from "./writing_port.ts";

/** Something that waits for the part. */
interface Waiting {
  /** Does it; may throw. */
  start(writing: Writing): void;
  /** It will not be done; absent where nobody would be told. */
  reject?(error: unknown): void;
  /** Who it is done as. */
  user?: Json | undefined;
}

/** See the module's documentation. */
export class LateWriting {
  readonly #load: LoadWriting;
  readonly #owner: WritingOwner;
  #writing: Writing | undefined;
  /** The try that is under way. */
  #loading: Promise<void> | undefined;
  #waiting: Waiting[] = [];
  /** What the batch at hand writes. */
  #batch: Waiting[] | undefined;
  #isOver = false;

  constructor(load: LoadWriting, owner: WritingOwner) {
    this.#load = load;
    this.#owner = owner;
  }

  /** The part, once it is there. */
  get part(): Writing | undefined {
    return this.#writing;
  }

  /** Writes that wait for it. */
  get size(): number {
    return this.#waiting.filter(({ reject }) => reject).length;
  }

  /** Begins to load it, unless it is there or on its way. */
  load(): void {
    if (this.#writing || this.#loading || this.#isOver) return;
    try {
      const loaded = this.#load();
      if (!(loaded instanceof Promise)) return this.#start(loaded);
      this.#loading = loaded.then((module) => this.#start(module))
        .catch((error) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Resolves when the try that is under way has ended; undefined where there is none. */
  settled(): Promise<void> | undefined {
    return this.#loading;
  }

  /** Does it with the part, now or when it is there. */
  when(act: (writing: Writing) => void): void {
    if (this.#writing) act(this.#writing);
    else this.#wait({ start: act });
  }

  /** Writes with the part, now or when it is there; what it throws then rejects. */
  run<R>(write: (writing: Writing) => Promise<R>): Promise<R> {
    const { closedBy } = this.#owner;
    if (closedBy) return rejectedQuietly(disconnected(closedBy));
    if (this.#writing) return write(this.#writing);
    const done = new Deferred<R>();
    const reject = (error: unknown) => done.rejectQuietly(error);
    const start = (writing: Writing) =>
      void write(writing).then((value) => done.resolve(value), reject);
    if (this.#batch) this.#batch.push({ start, reject });
    else this.#wait({ start, reject });
    return done.promise;
  }

  /** Has everything that `run` writes take effect together. */
  batch(run: () => void, options: WriteOptions): Promise<void> {
    checkFunction(run, "Cannot batch: what it is to run");
    const { closedBy } = this.#owner;
    if (closedBy) return rejectedQuietly(disconnected(closedBy));
    if (this.#batch) throw new TypeError("Cannot batch within a batch");
    const items: Waiting[] = this.#batch = [];
    try {
      if (this.#writing) {
        return this.#writing.batch(() => refusePromise(run()), options);
      }
      refusePromise(run());
    } catch (error) {
      for (const item of items) item.reject?.(error);
      throw error;
    } finally {
      this.#batch = undefined;
    }
    return this.#runAll(items, options);
  }

  /**
   * A clean copy of a value.
   *
   * @throws {HeadwaterError} `bad_value` if it cannot be shared; once the part is there,
   * with where and why.
   */
  clean(value: unknown, what: string): Json {
    const clean = copyClean(value);
    if (clean !== undefined) return clean;
    throw this.#writing?.refusalOf(value, what) ??
      new HeadwaterError("bad_value", `Cannot share ${what}`);
  }

  /** There is no connection until further notice, or none any more: nothing waits. */
  closed(cause: Error, { isFinal }: { isFinal: boolean }): void {
    this.#isOver ||= isFinal;
    const error = new HeadwaterError("disconnected", "Disconnected", {
      outcome: "notSent",
      cause,
    });
    for (const { reject } of this.#waiting.splice(0)) reject?.(error);
  }

  #runAll(items: Waiting[], options: WriteOptions): Promise<void> {
    if (items.length === 0) return Promise.resolve();
    const done = new Deferred<void>();
    const reject = (error: unknown) => {
      for (const item of items) item.reject?.(error);
      done.rejectQuietly(error);
    };
    const start = (writing: Writing) => {
      const startAll = () => {
        for (const item of items) item.start(writing);
      };
      writing.batch(startAll, options).then(() => done.resolve(), reject);
    };
    this.#wait({ start, reject });
    return done.promise;
  }

  #wait(item: Waiting): void {
    const size = this.#waiting.length + this.#owner.outbox.size + 1;
    try {
      this.#owner.outbox.checkRoom("write", size);
    } catch (error) {
      item.reject?.(error);
      throw error;
    }
    item.user = this.#owner.user;
    this.#waiting.push(item);
    this.load();
  }

  #start(module: WritingModule): void {
    this.#loading = undefined;
    if (this.#isOver) return;
    this.#writing = module.startWriting(this.#owner);
    for (const item of this.#waiting.splice(0)) {
      try {
        const foreign = this.#writing.foreign(item.user);
        if (foreign) throw foreign;
        item.start(this.#writing);
      } catch (error) {
        item.reject?.(error);
        this.#owner.fail(error as Error); // a user's recipe: told as it was thrown
      }
    }
  }

  #failed(cause: unknown): void {
    this.#loading = undefined;
    this.#owner.fail(
      new HeadwaterError(
        "unavailable",
        "Cannot load the part of the client that writes: writes wait until it can be loaded",
        { cause },
      ),
    );
  }
}

function refusePromise(returned: unknown): void {
  if (!(returned instanceof Promise)) return;
  returned.catch(() => {});
  throw new TypeError("A batch is synchronous: this one returned a promise");
}
