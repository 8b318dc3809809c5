/**
 * Who subscribes to stores on which something depends, over all servers: keeps the
 * records, and tells definitions when subscribers have left.
 *
 * Subscriptions are counted in memory, at once, and recorded behind: no client waits
 * for that. What has to be told is recorded before and removed afterwards, so that a
 * server that dies in between leaves it to another. One worker does it all, since
 * everything that it writes checks the lease that it renews.
 *
 * @module
 */
import {
  headKey,
  interestKey,
  interestPrefix,
  interestStore,
  leaseKey,
  type StoreId,
  storeKey,
} from "../log/keys.ts";
import { inTime } from "../log/patience.ts";
import type { Head } from "../log/head.ts";
import type { Clock, Kv, KvEntry, Random, Timer } from "../ports.ts";
import type { Definitions } from "./definitions.ts";
import { type DeparturesEnvironment, isLife } from "./departures.ts";
import { FollowedStore } from "./followed_store.ts";
import {
  decodeInterest,
  encodeInterest,
  type InterestRecord,
  type NextInterest,
  nextInterest,
} from "./interest_record.ts";
import { type Lease, Leases } from "./leases.ts";
import { Pauses } from "./pauses.ts";
import type { Store } from "./store.ts";
import { againMs, Teller, toHead } from "./teller.ts";

/** Stores whose records are written in one atomic: a KV reads 10 keys, two for each. */
const STORES_AT_ONCE = 5;
/** How often a server shows that it is alive, and looks for others, within a lease. */
const BEATS = 4;
/** How long `close()` waits for hooks that run, and for what is to be recorded. */
const CLOSE_MS = 2_000;

/** What interest needs. */
export interface InterestOptions extends DeparturesEnvironment {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly leaseMs: number;
  readonly definitions: Definitions;
}

/** See the module's documentation. */
export class Interest {
  readonly #options: InterestOptions;
  readonly #leases: Leases;
  readonly #followed = new Map<string, FollowedStore>();
  readonly #stale = new Set<FollowedStore>();
  /** Servers that died, and whose part is not taken over yet. */
  readonly #dead = new Map<string, Lease>();
  readonly #pauses: Pauses;
  readonly #teller: Teller;
  #timer: Timer | undefined;
  #isTickDue = false;
  #working: Promise<void> | undefined;
  #isLeaving = false;
  #isClosed = false;

  /** Nothing is counted yet. */
  constructor(options: InterestOptions) {
    this.#options = options;
    this.#leases = new Leases(options);
    const pauses = this.#pauses = new Pauses(options.clock);
    this.#teller = new Teller({
      ...options,
      pauses,
      onTold: (followed) => this.#look(followed),
    });
  }

  /** From now on takes over what servers that died had to do. */
  start(): void {
    const { clock, leaseMs } = this.#options;
    this.#timer = clock.setTimer(leaseMs / BEATS, () => {
      this.#isTickDue = true;
      this.#kick();
      this.start();
    });
  }

  /** A store has other subscribers, of which some have left. */
  changed(store: Store, departed: number): void {
    const { id } = store;
    const key = storeKey(id);
    let followed = this.#followed.get(key);
    if (this.#isLeaving) return;
    if (!followed) {
      const definition = this.#options.definitions.find(id.name);
      if (!definition?.countsSubscribers) return;
      followed = this.#follow(id);
    }
    followed.take(store, departed);
    this.#look(followed);
  }

  /** The server is about to close: who leaves now is only sent to another. */
  beginClose(): void {
    this.#isLeaving = true;
  }

  /** Waits for hooks that run, though not for ever, and notes that they have run. */
  async close(): Promise<void> {
    const { clock } = this.#options;
    this.#isLeaving = true;
    this.#timer?.cancel();
    const deadline = clock.monotonic() + CLOSE_MS;
    const settle = async () => {
      await this.#teller.close();
      this.#isTickDue = true;
      this.#kick();
      await this.#working;
    };
    // What is not noted by then is left to another server, like everything.
    await inTime(clock, settle(), deadline).catch(() => {});
    this.#isClosed = true;
    this.#pauses.close();
    await this.#working;
  }

  #follow(id: StoreId): FollowedStore {
    const key = storeKey(id);
    const known = this.#followed.get(key);
    if (known) return known;
    const definition = this.#options.definitions.find(id.name);
    const followed = new FollowedStore(id, definition);
    this.#followed.set(key, followed);
    return followed;
  }

  /** Does what is to be done about a store, now that something has changed. */
  #look(followed: FollowedStore): void {
    const key = storeKey(followed.id);
    if (this.#followed.get(key) !== followed) return;
    if (followed.isStale) this.#stale.add(followed);
    // What a server that died has left is to be recorded first.
    else if (followed.isOver && !this.#stale.has(followed)) {
      this.#followed.delete(key);
    }
    if (this.#stale.size > 0) this.#kick();
  }

  #kick(): void {
    if (this.#working || this.#isClosed) return;
    // Deferred, so that all who leave in one tick are recorded at once.
    this.#working = new Promise<void>((resolve) =>
      this.#options.clock.defer(resolve)
    )
      .then(() => this.#work())
      .finally(() => {
        this.#working = undefined;
        if (this.#stale.size > 0) this.#kick();
      });
  }

  /** Ends when nothing is left to do. Until the KV can be written it tries again. */
  async #work(): Promise<void> {
    const { onError, random } = this.#options;
    let size = STORES_AT_ONCE;
    for (let failures = 0; !this.#isClosed;) {
      const [first] = this.#stale;
      try {
        if (this.#isTickDue) await this.#tick();
        else if (first) {
          const isRecorded = await this.#record(size);
          // A store that many servers write to must not keep others from being recorded.
          size = isRecorded ? STORES_AT_ONCE : 1;
          if (!isRecorded) await this.#pauses.wait(againMs(failures++, random));
          else failures = 0;
        } else if (this.#dead.size > 0) await this.#bury();
        else return;
      } catch (error) {
        if (failures === 0 && first) onError(error, first.id);
        // Whatever is wrong with one store must not keep the others for ever.
        size = 1;
        if (first && this.#stale.delete(first)) this.#stale.add(first);
        await this.#pauses.wait(againMs(failures++, random));
      }
    }
  }

  /** Renews the lease, and looks for servers that have not done so. */
  async #tick(): Promise<void> {
    if (this.#leases.held) {
      if (this.#followed.size === 0) await this.#leases.release();
      else if (!await this.#leases.renew()) this.#rename();
    }
    if (this.#options.definitions.countSubscribers && !this.#isLeaving) {
      for (const lease of await this.#leases.declareDead()) {
        this.#dead.set(lease.server, lease);
      }
      if (this.#dead.size > 0) await this.#inherit();
    }
    this.#isTickDue = false;
    // A store that had to begin another epoch is recorded under that.
    for (const followed of [...this.#followed.values()]) this.#look(followed);
  }

  /** Finds what servers that died had to do with. */
  async #inherit(): Promise<void> {
    const selector = { prefix: interestPrefix() };
    for await (const { key, value } of this.#options.kv.list(selector)) {
      const record = this.#decode(interestStore(key), value);
      const isTheirs = [...this.#dead.keys()].some((dead) => record.has(dead));
      if (isTheirs) this.#stale.add(this.#follow(interestStore(key)));
    }
  }

  async #bury(): Promise<void> {
    for (const [server, lease] of [...this.#dead]) {
      await this.#leases.bury(lease);
      this.#dead.delete(server);
    }
  }

  /** Others took this server for dead: they have taken over what it had to do. */
  #rename(): void {
    this.#stale.clear();
    // What of the dead was to be taken over is looked for again.
    this.#isTickDue ||= this.#dead.size > 0;
    for (const [key, before] of [...this.#followed]) {
      const followed = before.renamed();
      this.#followed.set(key, followed);
      this.#look(followed);
    }
  }

  /** Records some stores; false where another server wrote at the same time. */
  async #record(size: number): Promise<boolean> {
    const { kv } = this.#options;
    const lease = await this.#leases.own();
    const batch = [...this.#stale].slice(0, size);
    const keys = batch.flatMap(({ id }) => [interestKey(id), headKey(id)]);
    const entries = await kv.getMany(keys);
    const { server, stamp } = lease;
    const atomic = kv.atomic();
    atomic.check({ key: leaseKey(server), versionstamp: stamp });
    let isChanged = false;
    const landings = batch.map((followed, index) => {
      const interest = entries[2 * index]!; // as many as were asked for
      const head = toHead(entries[2 * index + 1]!);
      const { next, landed } = this.#prepare(followed, {
        server,
        interest,
        head,
      });
      if (next.isChanged) {
        isChanged = true;
        const { key, versionstamp } = interest;
        atomic.check({ key, versionstamp });
        if (next.record.size === 0) atomic.delete(key);
        else atomic.set(key, encodeInterest(next.record));
      }
      return () => {
        landed();
        this.#stale.delete(followed);
        this.#teller.tell(followed, head);
        this.#look(followed);
      };
    });
    if (isChanged && !(await atomic.commit()).ok) {
      if (!await this.#leases.verify()) this.#rename();
      return false;
    }
    for (const land of landings) land();
    return true;
  }

  /** The record, or an empty one where it cannot be read: it is written anew. */
  #decode(id: StoreId, value: unknown): InterestRecord {
    try {
      return decodeInterest(value);
    } catch (error) {
      this.#options.onError(error, id);
      return new Map();
    }
  }

  #prepare(
    followed: FollowedStore,
    { server, interest, head }: {
      server: string;
      interest: KvEntry;
      head: Head | undefined;
    },
  ): { next: NextInterest; landed: () => void } {
    const record = this.#decode(followed.id, interest.value);
    const own = followed.toOwn(server, record);
    const next = nextInterest(record, own, {
      isPresent: (epoch) => isLife(head, epoch),
      epoch: head?.epoch,
      use: followed.use,
      dead: new Set(this.#dead.keys()),
    });
    return { next, landed: followed.attempt(own, next) };
  }
}
