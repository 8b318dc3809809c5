/**
 * The call in which code runs. A store write inside a function is numbered by
 * its call, through every await, without the handler passing anything along:
 * that is what makes the writes of a resent call apply once.
 *
 * @module
 */
import { LimitError } from "../protocol/errors.ts";
import { Errand, HeededPromise, type OnUnheeded } from "./errand.ts";
import { type StoreId, storeKey } from "./log/keys.ts";
import type { WrittenTo } from "./log/answers.ts";
import { type Origin, WRITES_PER_CALL } from "./log/mutation.ts";
import type { Ambient, Clock } from "./ports.ts";
import type { Writer } from "./stores/writer.ts";

/** Identifies a call over all connections and servers. */
export interface CallId {
  readonly session: string;
  readonly issuedAtMs: number;
  readonly call: number;
  readonly oldest: number;
}

/** One run of one call's handler. */
export class CallScope extends Errand {
  /** Who calls. */
  readonly writer: Writer;
  /** Whether the call may have run before. */
  readonly isResent: boolean;
  /** Makes ids that are the same in each run; absent where no function runs. */
  newId?: () => string;
  readonly #id: CallId;
  readonly #writes = new Map<string, number>();
  readonly #versions = new Map<string, WrittenTo>();

  /** A scope for one run. */
  constructor(
    id: CallId,
    writer: Writer,
    { isResent = false, what = "a function" }: {
      isResent?: boolean;
      what?: string;
    } = {},
  ) {
    super(what, writer.clientId);
    this.#id = id;
    this.writer = writer;
    this.isResent = isResent;
  }

  /** The number of the next write to a store. */
  nextOrigin(id: StoreId): Origin {
    const key = storeKey(id);
    // Per store: what another store was written meanwhile does not shift the numbers.
    const n = this.#writes.get(key) ?? 0;
    if (n >= WRITES_PER_CALL) {
      throw new LimitError(
        `write to store "${id.name}"`,
        "writesPerCall",
        WRITES_PER_CALL,
        n + 1,
      );
    }
    this.#writes.set(key, n + 1);
    return { ...this.#id, n };
  }

  /** Notes that the call's effect on a store is in that version. */
  wrote(to: WrittenTo): void {
    const key = storeKey(to.id);
    const known = this.#versions.get(key);
    if (known?.epoch !== to.epoch || known.version < to.version) {
      this.#versions.set(key, to);
    }
  }

  /**
   * Notes that the call's effect was in a life of a store that has ended: nobody
   * shows that any more, but whoever still does has to see its end.
   */
  wrotePast(id: StoreId): void {
    const key = storeKey(id);
    if (!this.#versions.has(key)) {
      this.#versions.set(key, { id, epoch: "", version: 0 });
    }
  }

  /** What the caller must have seen when it gets its answer. */
  get written(): readonly WrittenTo[] {
    return [...this.#versions.values()];
  }
}

/** The current scope of asynchronous code. */
export class CallScopes {
  readonly #ambient: Ambient;
  readonly #unheeded: { clock: Clock; tell: OnUnheeded } | undefined;

  /** Scopes carried by `ambient`; told is what nobody waits for in them. */
  constructor(
    ambient: Ambient,
    unheeded?: { readonly clock: Clock; readonly tell: OnUnheeded },
  ) {
    this.#ambient = ambient;
    this.#unheeded = unheeded;
  }

  /** The scope of the running code, if a call made it run. */
  current(): CallScope | undefined {
    const value = this.#ambient.get();
    return value instanceof CallScope ? value : undefined;
  }

  /** Runs code within a scope. */
  run<T>(scope: CallScope, run: () => T): T {
    return this.#ambient.run(scope, run);
  }

  /**
   * Begins something for the code that runs. Where the server runs that code, and it
   * does not wait for what it has begun, a failure ends not the process, but is told.
   */
  begin<T>(run: () => Promise<T>): Promise<T> {
    const errand = this.#ambient.get();
    if (!this.#unheeded || !(errand instanceof Errand)) return run();
    const { clock, tell: onUnheeded } = this.#unheeded;
    const defer = (run: () => void) => clock.defer(run);
    return HeededPromise.of(run(), { errand, defer, onUnheeded });
  }

  /** Runs code of the application outside of any scope, to its end. */
  async runErrand<T>(
    errand: Errand,
    run: () => T | Promise<T>,
  ): Promise<T> {
    try {
      return await this.exit(run, errand);
    } finally {
      errand.end();
    }
  }

  /** Runs code outside of any scope; `place` says where instead. */
  exit<T>(run: () => T, place: object = OUTSIDE): T {
    return this.#ambient.run(place, run);
  }

  /** What {@linkcode CallScopes.exit} was given, in code that it runs. */
  place(): object | undefined {
    return this.#ambient.get();
  }
}

const OUTSIDE = {};
