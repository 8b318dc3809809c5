/**
 * The ends of stores that were given a time to live. A store lives until its
 * deletion is committed, by a server that has it in memory, by whoever asks for it,
 * or by a sweep, if nobody ever does.
 *
 * @module
 */
import { expiryPrefix, type StoreId, storeKey } from "../log/keys.ts";
import { readHead } from "../log/reader.ts";
import type { Clock, Kv, KvKey, Timer } from "../ports.ts";
import type { Endings } from "./endings.ts";
import type { Store } from "./store.ts";

/** An end that could not be committed is tried again after so long. */
const AGAIN_MS = 1_000;
/** The longest that a timer can wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** Ends of one sweep; the next goes on. */
const SWEPT_MAX = 1_000;

/** What expiries need. */
export interface ExpiriesOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly endings: Endings;
  /** Loads a store, which ends it if it has expired. */
  readonly find: (id: StoreId) => Promise<Store | undefined>;
  readonly onError: (error: unknown, id: StoreId) => void;
}

/** See the module's documentation. */
export class Expiries {
  readonly #options: ExpiriesOptions;
  readonly #timers = new Map<string, Timer>();
  #isClosed = false;

  /** No store that ends by itself yet. */
  constructor(options: ExpiriesOptions) {
    this.#options = options;
  }

  /** Whether that time has come. */
  isExpired(ms: number | undefined): boolean {
    return ms !== undefined && ms <= this.#options.clock.now();
  }

  /** Ends the store when its time has come. */
  watch(store: Store): void {
    const { expiresAtMs } = store;
    if (expiresAtMs === undefined || this.#isClosed) return;
    if (this.#timers.has(storeKey(store.id))) return;
    const { clock } = this.#options;
    const waitMs = Math.max(0, expiresAtMs - clock.now());
    this.#set(store, Math.min(TIMER_MAX_MS, waitMs));
  }

  /** Forgets the store. */
  unwatch(store: Store): void {
    const key = storeKey(store.id);
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
  }

  /** Ends a store that has expired; the hook that comes first may fail as it likes. */
  async end(store: Store): Promise<void> {
    await this.#options.endings.end(store, (store) => store.delete(), {
      find: () => Promise.resolve(this.#isClosed ? undefined : store),
      isAsked: false,
    });
  }

  /** Ends what has expired and is in nobody's memory. */
  async sweep(): Promise<void> {
    const { kv, clock } = this.#options;
    const start = expiryPrefix();
    // The end of a range is not in it.
    const end: KvKey = [...start, Math.floor(clock.now()) + 1];
    const options = { limit: SWEPT_MAX };
    for await (
      const { key, versionstamp } of kv.list({ start, end }, options)
    ) {
      if (this.#isClosed) return;
      const [ms, namespace, name] = key.slice(-3);
      const id = { namespace: String(namespace), name: String(name) };
      try {
        if (!await this.#sweep(id, Number(ms))) continue;
        await kv.atomic().check({ key, versionstamp }).delete(key).commit();
      } catch (error) {
        // One that cannot be ended must not keep the others for ever.
        this.#options.onError(error, id);
      }
    }
  }

  /** Ends nothing any more. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /** Whether nothing that was to end at that time is left. */
  async #sweep(id: StoreId, ms: number): Promise<boolean> {
    const store = await this.#options.find(id);
    // It is in memory where the clock has jumped: its timer did not notice.
    if (store && this.isExpired(store.expiresAtMs)) {
      await this.end(store).catch((error) => {
        if (!store.ended) throw error;
      });
    }
    const read = await readHead(this.#options.kv, id);
    return read?.head.expiresAtMs !== ms;
  }

  #set(store: Store, ms: number): void {
    const timer = this.#options.clock.setTimer(ms, () => this.#expire(store));
    this.#timers.set(storeKey(store.id), timer);
  }

  #expire(store: Store): void {
    this.#timers.delete(storeKey(store.id));
    if (!this.isExpired(store.expiresAtMs)) return this.watch(store);
    this.end(store).catch((error) => {
      if (store.ended || this.#isClosed) return;
      this.#options.onError(error, store.id);
      this.#set(store, AGAIN_MS);
    });
  }
}
