/**
 * Which servers are alive. Each that holds something changes a record of its own now
 * and then; one that stays as it is for `leaseMs` is of a server that died. Time is
 * the reader's own, so that clocks may differ.
 *
 * A server that was only silent finds its record changed by whoever declared it dead,
 * and goes on under another name: what it held is not its own any more. Whatever a
 * server writes under its name checks its record.
 *
 * @module
 */
import { newId } from "../log/ids.ts";
import { lastString, leaseKey, leasePrefix } from "../log/keys.ts";
import { decodeRecord, encodeRecord } from "../log/record.ts";
import type { Clock, Kv, KvKey, Random } from "../ports.ts";

/** What leases need. */
export interface LeasesOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly leaseMs: number;
}

/** A record at a version. */
export interface Lease {
  readonly server: string;
  readonly stamp: string;
}

const ALIVE = encodeRecord({});
const DEAD = encodeRecord({ d: true });

/** See the module's documentation. */
export class Leases {
  readonly #options: LeasesOptions;
  #own: Lease | undefined;
  /** Name under which a record is being made, since what became of that may not be known. */
  #name: string | undefined;
  #seen = new Map<string, { stamp: string; sinceMs: number }>();
  #lookedMs = -Infinity;

  /** No lease yet. */
  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** This server's, if it has one. */
  get held(): Lease | undefined {
    return this.#own;
  }

  /** This server's lease, which is made if need be. */
  async own(): Promise<Lease> {
    if (this.#own) return this.#own;
    const server = this.#name ??= newId(this.#options.random);
    const stamp = await this.#write(leaseKey(server), null, ALIVE);
    if (stamp !== undefined) return this.#own = { server, stamp };
    // It was made by an attempt whose outcome was not known, or is used up since.
    return await this.#read(server) ?? await this.own();
  }

  /** Shows that this server is alive; false where others have taken it for dead. */
  async renew(): Promise<boolean> {
    if (!this.#own) return true;
    const { server, stamp } = this.#own;
    const next = await this.#write(leaseKey(server), stamp, ALIVE);
    if (next === undefined) return await this.verify();
    this.#own = { server, stamp: next };
    return true;
  }

  /** Reads how this server's lease stands; false where others have taken it for dead. */
  async verify(): Promise<boolean> {
    if (!this.#own) return true;
    return await this.#read(this.#own.server) !== undefined;
  }

  /** Gives this server's lease up: it holds nothing any more. */
  async release(): Promise<void> {
    if (!this.#own) return;
    const { server, stamp } = this.#own;
    this.#own = this.#name = undefined;
    await this.#options.kv.atomic()
      .check({ key: leaseKey(server), versionstamp: stamp })
      .delete(leaseKey(server))
      .commit();
  }

  /** Declares servers dead whose time is over; nobody else will do so for a while. */
  async declareDead(): Promise<Lease[]> {
    const { kv, clock, leaseMs } = this.#options;
    const now = clock.monotonic();
    // Of what this server has slept through it cannot tell who was silent.
    const isAwake = now - this.#lookedMs < leaseMs;
    this.#lookedMs = now;
    const seen = new Map<string, { stamp: string; sinceMs: number }>();
    const dead: Lease[] = [];
    for await (const { key, versionstamp } of kv.list(PREFIX)) {
      const server = lastString(key);
      if (versionstamp === null || server === this.#own?.server) continue;
      const before = this.#seen.get(server);
      const isSame = isAwake && before?.stamp === versionstamp;
      const sinceMs = isSame ? before.sinceMs : now;
      seen.set(server, { stamp: versionstamp, sinceMs });
      if (now - sinceMs < leaseMs) continue;
      const stamp = await this.#write(key, versionstamp, DEAD);
      if (stamp === undefined) continue;
      seen.set(server, { stamp, sinceMs: now });
      dead.push({ server, stamp });
    }
    this.#seen = seen;
    return dead;
  }

  /** Forgets a server that is dead, once everything that it held has been taken over. */
  async bury({ server, stamp }: Lease): Promise<void> {
    await this.#options.kv.atomic()
      .check({ key: leaseKey(server), versionstamp: stamp })
      .delete(leaseKey(server))
      .commit();
  }

  async #read(server: string): Promise<Lease | undefined> {
    const { kv } = this.#options;
    const { value, versionstamp } = await kv.get(leaseKey(server));
    const isAlive = versionstamp !== null && !isDead(value);
    this.#own = isAlive ? { server, stamp: versionstamp } : undefined;
    if (!isAlive) this.#name = undefined;
    return this.#own;
  }

  async #write(
    key: KvKey,
    versionstamp: string | null,
    value: Uint8Array<ArrayBuffer>,
  ): Promise<string | undefined> {
    const result = await this.#options.kv.atomic()
      .check({ key, versionstamp })
      .set(key, value)
      .commit();
    return result.ok ? result.versionstamp : undefined;
  }
}

const PREFIX = { prefix: leasePrefix() };

function isDead(value: unknown): boolean {
  return decodeRecord(value, "lease")["d"] === true;
}
