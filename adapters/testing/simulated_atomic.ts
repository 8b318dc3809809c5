/**
 * An atomic operation of the simulated KV: builds it, and refuses what is over
 * Deno KV's limits.
 *
 * @module
 */
import type { Clock, KvAtomic, KvKey } from "../../server/ports.ts";
import { after, encodeKey, storedKey } from "./kv_key_order.ts";
import { type KvStored, KvU64 } from "./kv_table.ts";

/** Deno KV's limits, in bytes where it is not a number of things. */
export const KV_LIMITS = {
  writeKey: 2_048,
  readKey: 2_049,
  value: 65_536,
  writes: 1_000,
  checks: 100,
  atomic: 819_200,
  atomicKeys: 81_920,
  keysAtOnce: 10,
  batch: 1_000,
} as const;

/** What a commit gives. */
export type KvCommitResult = { ok: true; versionstamp: string } | { ok: false };

/** A check, of an encoded key. */
export interface KvCheck {
  readonly key: string;
  readonly versionstamp: string | null;
}

/** A write, of an encoded key. */
export interface KvWrite {
  readonly key: string;
  readonly parts: KvKey;
  readonly change:
    // Deno counts from the wall clock of the process that commits.
    | { kind: "set"; value: KvStored; expiresAtMs: number | undefined }
    | { kind: "delete" }
    | { kind: "sum"; value: KvU64 };
}

/** What travels to the database. */
export interface KvAtomicRequest {
  readonly checks: readonly KvCheck[];
  readonly writes: readonly KvWrite[];
}

/** A write as it was named; keys and bytes may still be changed by who named it. */
type NamedWrite =
  & { readonly key: KvKey }
  & (
    | {
      readonly kind: "set";
      readonly value: Uint8Array | KvU64;
      readonly expireIn: number | undefined;
    }
    | { readonly kind: "delete" }
    | { readonly kind: "sum"; readonly value: KvU64 }
  );

/** Built by `KvHandle.atomic()`. */
export class SimulatedAtomic implements KvAtomic {
  readonly #commit: (request: KvAtomicRequest) => Promise<KvCommitResult>;
  readonly #maxChecks: number;
  readonly #clock: Pick<Clock, "now">;
  readonly #checks: { key: KvKey; versionstamp: string | null }[] = [];
  readonly #writes: NamedWrite[] = [];

  /** Hands what was built to `commit`, once it is within the limits. */
  constructor(
    commit: (request: KvAtomicRequest) => Promise<KvCommitResult>,
    { maxChecks, clock }: { maxChecks: number; clock: Pick<Clock, "now"> },
  ) {
    this.#commit = commit;
    this.#maxChecks = maxChecks;
    this.#clock = clock;
  }

  /** @inheritdoc */
  check(...checks: { key: KvKey; versionstamp: string | null }[]): this {
    this.#checks.push(...checks);
    return this;
  }

  /** @inheritdoc */
  set(key: KvKey, value: unknown, options: { expireIn?: number } = {}): this {
    const { expireIn } = options;
    if (
      expireIn !== undefined && !(Number.isInteger(expireIn) && expireIn >= 0)
    ) {
      throw new TypeError(
        `expireIn must be a non-negative integer: received ${expireIn}`,
      );
    }
    if (!(value instanceof KvU64 || value instanceof Uint8Array)) {
      // Deno KV takes more, which no other runtime could read.
      throw new TypeError("The simulated KV keeps Uint8Array and KvU64 only");
    }
    this.#writes.push({ key, kind: "set", value, expireIn });
    return this;
  }

  /** @inheritdoc */
  delete(key: KvKey): this {
    this.#writes.push({ key, kind: "delete" });
    return this;
  }

  /** @inheritdoc */
  sum(key: KvKey, n: bigint): this {
    this.#writes.push({ key, kind: "sum", value: new KvU64(n) });
    return this;
  }

  /** @inheritdoc */
  async commit(): Promise<KvCommitResult> {
    return await this.#commit(this.#build());
  }

  /** Reads keys and bytes as they are now, and measures them. */
  #build(): KvAtomicRequest {
    refuseOver("checks", this.#checks.length, this.#maxChecks);
    refuseOver("mutations", this.#writes.length, KV_LIMITS.writes);
    let bytes = 0;
    let keyBytes = 0;
    const checks = this.#checks.map(({ key, versionstamp }) => {
      if (versionstamp !== null && !/^[0-9a-f]{20}$/.test(versionstamp)) {
        throw new TypeError("Invalid check");
      }
      const encoded = encodeWritable(key);
      bytes += encoded.length;
      return { key: encoded, versionstamp };
    });
    const writes = this.#writes.map((named): KvWrite => {
      const key = encodeWritable(named.key);
      bytes += key.length;
      // Deno counts the key of what has a value twice.
      if (named.kind !== "delete") {
        bytes += key.length + sizeOf(named.value);
        keyBytes += key.length;
      }
      return {
        key,
        parts: storedKey(named.key),
        change: this.#toChange(named),
      };
    });
    if (bytes > KV_LIMITS.atomic) {
      throw tooLarge("Total mutation size", KV_LIMITS.atomic);
    }
    if (keyBytes > KV_LIMITS.atomicKeys) {
      throw tooLarge("Total key size", KV_LIMITS.atomicKeys);
    }
    return { checks, writes };
  }

  #toChange(named: NamedWrite): KvWrite["change"] {
    if (named.kind !== "set") return named;
    const { kind, value, expireIn } = named;
    return {
      kind,
      value: value instanceof KvU64 ? value : new Uint8Array(value),
      expiresAtMs: expireIn === undefined
        ? undefined
        : this.#clock.now() + expireIn,
    };
  }
}

/**
 * The key of one entry that is to be read, encoded.
 *
 * @throws {TypeError} if it is too long.
 */
export function encodeReadable(key: KvKey): string {
  const encoded = encodeKey(key);
  // Deno reads one key as the range that ends just behind it.
  refuseToRead(after(encoded));
  return encoded;
}

/**
 * Refuses an end of a range that is too long, in Deno's words.
 *
 * @throws {TypeError} if it is.
 */
export function refuseToRead(encoded: string): void {
  if (encoded.length > KV_LIMITS.readKey) {
    throw tooLarge("Key", KV_LIMITS.readKey, " for read");
  }
}

function encodeWritable(key: KvKey): string {
  if (key.length === 0) throw new TypeError("key cannot be empty");
  const encoded = encodeKey(key);
  if (encoded.length <= KV_LIMITS.writeKey) return encoded;
  throw tooLarge("Key", KV_LIMITS.writeKey, " for write");
}

function sizeOf(value: Uint8Array | KvU64): number {
  if (value instanceof KvU64) return 8;
  if (value.byteLength <= KV_LIMITS.value) return value.byteLength;
  throw tooLarge("Value", KV_LIMITS.value);
}

function tooLarge(what: string, limit: number, use = ""): TypeError {
  return new TypeError(`${what} too large${use} (max ${limit} bytes)`);
}

/**
 * Refuses too many of something, in Deno's words.
 *
 * @throws {TypeError} if there are more than `limit`.
 */
export function refuseOver(what: string, count: number, limit: number): void {
  if (count > limit) throw new TypeError(`Too many ${what} (max ${limit})`);
}
