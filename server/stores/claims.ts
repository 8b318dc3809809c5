/**
 * Claims: one of all servers does something while the others wait. Whoever holds a
 * claim renews it; one that stays as it is for a while is of a server that died,
 * and is taken over. Time is the waiting server's own, so that clocks may differ.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { newId } from "../log/ids.ts";
import { decodeRecord, encodeRecord, text } from "../log/record.ts";
import type { Clock, Kv, KvEntry, KvKey, Random, Timer } from "../ports.ts";
import { Pauses } from "./pauses.ts";

/** How soon a claim that somebody holds is looked at again; doubles. */
const LOOK_MS = 5;
const LOOK_MAX_MS = 500;
/** A broom: nobody may ever ask again for what a server that died had claimed. */
const FORGET_MS = 24 * 60 * 60 * 1000;

/** What claims need. */
export interface ClaimsOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  /** How long a claim stays its holder's without being renewed. */
  readonly leaseMs: number;
}

/** A claim that is held. */
export interface Claim {
  /** Another server took it over, since this one was silent for too long. */
  readonly isLost: boolean;
  /** Lets others have it. Never rejects: what cannot be removed runs out. */
  release(): Promise<void>;
}

/** See the module's documentation. */
export class Claims {
  readonly #options: ClaimsOptions;
  /** Those of this server wait for each other without asking the KV. */
  readonly #held = new Map<string, Promise<void>>();
  readonly #pauses: Pauses;
  readonly #claims = new Set<HeldClaim>();
  #isClosed = false;

  /** No claims yet. */
  constructor(options: ClaimsOptions) {
    this.#options = options;
    this.#pauses = new Pauses(options.clock);
  }

  /**
   * Waits until nobody else holds the claim, and takes it.
   *
   * @throws {HeadwaterError} `closed`, or whatever the KV throws.
   */
  async acquire(key: KvKey): Promise<Claim> {
    const name = key.join("\u0000");
    while (this.#held.has(name)) await this.#held.get(name);
    const held = Promise.withResolvers<void>();
    this.#held.set(name, held.promise);
    const free = (claim?: HeldClaim) => {
      if (claim) this.#claims.delete(claim);
      this.#held.delete(name);
      held.resolve();
    };
    try {
      const owner = newId(this.#options.random);
      const stamp = await this.#take(key, owner);
      const claim = new HeldClaim(this.#options, { key, owner, stamp, free });
      this.#claims.add(claim);
      return claim;
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Nobody is to wait any longer, and what is held runs out. */
  close(): void {
    this.#isClosed = true;
    this.#pauses.close();
    for (const claim of this.#claims) claim.abandon();
  }

  async #take(key: KvKey, owner: string): Promise<string> {
    const { kv, clock, leaseMs } = this.#options;
    let seen: string | null = null;
    let sinceMs = 0;
    for (let looks = 0;; looks++) {
      if (this.#isClosed) throw closedError();
      const entry = await kv.get(key);
      const stamp = entry.versionstamp;
      // An attempt whose outcome was not known.
      if (stamp !== null && ownerOf(entry) === owner) return stamp;
      if (stamp !== seen) {
        seen = stamp;
        sinceMs = clock.monotonic();
      }
      if (stamp === null || clock.monotonic() - sinceMs >= leaseMs) {
        const taken = await writeClaim(kv, { key, stamp, owner })
          .catch(() => undefined);
        if (taken !== undefined) return taken;
        if (stamp === null && looks === 0) continue;
      }
      const ms = Math.min(LOOK_MAX_MS, LOOK_MS * 2 ** looks);
      await this.#pauses.wait(ms);
    }
  }
}

class HeldClaim implements Claim {
  readonly #options: ClaimsOptions;
  readonly #key: KvKey;
  readonly #owner: string;
  readonly #free: (claim: HeldClaim) => void;
  #stamp: string;
  #timer: Timer;
  #renewing: Promise<void> = Promise.resolve();
  #isLost = false;
  #isReleased = false;

  constructor(
    options: ClaimsOptions,
    { key, owner, stamp, free }: {
      key: KvKey;
      owner: string;
      stamp: string;
      free: (claim: HeldClaim) => void;
    },
  ) {
    this.#options = options;
    this.#key = key;
    this.#owner = owner;
    this.#stamp = stamp;
    this.#free = free;
    this.#timer = this.#schedule();
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#timer.cancel();
    await this.#renewing;
    try {
      if (this.#isLost) return;
      await this.#options.kv.atomic()
        .check({ key: this.#key, versionstamp: this.#stamp })
        .delete(this.#key)
        .commit();
    } catch {
      // It runs out by itself.
    } finally {
      this.#free(this);
    }
  }

  /** Renews it no more. */
  abandon(): void {
    this.#isLost = true;
    this.#timer.cancel();
  }

  #schedule(): Timer {
    const { clock, leaseMs } = this.#options;
    return clock.setTimer(leaseMs / 4, () => {
      this.#renewing = this.#renew().finally(() => {
        if (!this.#isReleased && !this.#isLost) this.#timer = this.#schedule();
      });
    });
  }

  async #renew(): Promise<void> {
    const { kv } = this.#options;
    const key = this.#key;
    const owner = this.#owner;
    try {
      const stamp = await writeClaim(kv, { key, stamp: this.#stamp, owner });
      if (stamp !== undefined) {
        this.#stamp = stamp;
        return;
      }
      const entry = await kv.get(key);
      // An earlier attempt may have come through after all.
      if (entry.versionstamp !== null && ownerOf(entry) === owner) {
        this.#stamp = entry.versionstamp;
      } else this.#isLost = true;
    } catch {
      // Tried again in a while; by then it may be lost.
    }
  }
}

/** Writes a claim over what was read; undefined where that has changed. */
async function writeClaim(
  kv: Kv,
  { key, stamp, owner }: { key: KvKey; stamp: string | null; owner: string },
): Promise<string | undefined> {
  const result = await kv.atomic()
    .check({ key, versionstamp: stamp })
    .set(key, encodeRecord({ o: owner }), { expireIn: FORGET_MS })
    .commit();
  return result.ok ? result.versionstamp : undefined;
}

function ownerOf({ value }: KvEntry): string {
  return text(decodeRecord(value, "claim")["o"]);
}

function closedError(): HeadwaterError {
  return new HeadwaterError("closed", "The server is closed", {
    outcome: "notApplied",
  });
}
