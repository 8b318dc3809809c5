/**
 * Tells definitions that subscribers have left: some stores at the same time, each
 * one after the other, and again until the KV has let it happen.
 *
 * @module
 */
import { headKey, interestKey } from "../log/keys.ts";
import { decodeHead, type Head } from "../log/head.ts";
import type { Kv, KvEntry, Random } from "../ports.ts";
import {
  type DeparturesEnvironment,
  isLife,
  tellDepartures,
} from "./departures.ts";
import type { FollowedStore } from "./followed_store.ts";
import { decodeInterest, type ServerInterest } from "./interest_record.ts";
import type { Pauses } from "./pauses.ts";

/** Stores whose definitions are told at the same time. */
const TOLD_AT_ONCE = 16;
/**
 * Nobody is told before: a client that another server has just taken in is not recorded
 * yet, and one that loads its page anew is soon back.
 */
const LINGER_MS = 100;
/** Waiting time before what failed is tried again; doubles, with jitter. */
const AGAIN_MS = 10;
const AGAIN_MAX_MS = 1_000;

/** What a teller needs. */
export interface TellerOptions extends DeparturesEnvironment {
  readonly kv: Kv;
  readonly random: Random;
  readonly pauses: Pauses;
  /** Called when a store's definition has been told, or is not to be. */
  readonly onTold: (followed: FollowedStore) => void;
}

/** What was recorded when there was something to tell. */
interface Occasion {
  readonly told: ServerInterest;
  /** The store's, if it existed. */
  readonly head: Head | undefined;
}

/** See the module's documentation. */
export class Teller {
  readonly #options: TellerOptions;
  readonly #telling = new Set<Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #isClosed = false;

  /** Has nothing to tell yet. */
  constructor(options: TellerOptions) {
    this.#options = options;
  }

  /** Tells the store's definition what has been recorded. */
  tell(followed: FollowedStore, head: Head | undefined): void {
    const told = followed.toTell;
    if (!told || followed.isTelling || this.#isClosed) return;
    followed.isTelling = true;
    const telling = this.#tell(followed, { told, head })
      .finally(() => {
        followed.isTelling = false;
        this.#telling.delete(telling);
        this.#waiting.shift()?.();
        this.#options.onTold(followed);
      });
    this.#telling.add(telling);
  }

  /** Tells nothing more, and waits for hooks that run. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.all(this.#telling);
  }

  async #tell(
    followed: FollowedStore,
    { told, head }: Occasion,
  ): Promise<void> {
    if (this.#telling.size >= TOLD_AT_ONCE) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const { pauses, random, onError } = this.#options;
    const { id, definition } = followed;
    await pauses.wait(LINGER_MS);
    for (let failures = 0; !this.#isClosed; failures++) {
      try {
        const remaining = head && await this.#remaining(followed, head);
        if (definition && head && remaining !== undefined) {
          const { left } = told;
          const isIdle = told.idle > 0 && remaining === 0;
          const departures = { id, definition, left, remaining, isIdle, head };
          await tellDepartures(this.#options, departures);
        }
        return followed.told(told);
      } catch (error) {
        if (failures === 0) onError(error, id);
        await pauses.wait(againMs(failures, random));
      }
    }
  }

  /** Subscribers of that life of the store, on all servers; undefined where it is over. */
  async #remaining(
    followed: FollowedStore,
    { epoch }: Head,
  ): Promise<number | undefined> {
    const { id } = followed;
    const keys = [interestKey(id), headKey(id)];
    const [interest, entry] = await this.#options.kv.getMany(keys);
    const head = toHead(entry!); // as many as were asked for
    if (!isLife(head, epoch)) return undefined;
    let sum = 0;
    for (const { count, epoch } of decodeInterest(interest!.value).values()) {
      if (isLife(head, epoch)) sum += count;
    }
    // Who has just come to this server is not recorded yet.
    return Math.max(sum, followed.count);
  }
}

/** How long to wait after so many failures. */
export function againMs(failures: number, random: Random): number {
  const ms = Math.min(AGAIN_MAX_MS, AGAIN_MS * 2 ** failures);
  return ms * (0.5 + random.float() / 2);
}

/** The head that an entry holds, if there is one. */
export function toHead({ value, versionstamp }: KvEntry): Head | undefined {
  return versionstamp === null ? undefined : decodeHead(value);
}
