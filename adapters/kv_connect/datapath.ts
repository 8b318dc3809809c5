/**
 * A KV that is asked by the messages of KV Connect, whatever carries them: the
 * network, or the native part of `@deno/kv`.
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
} from "../../server/ports.ts";
import { encodeKey } from "./keys.ts";
import {
  type Check,
  decodeRead,
  decodeWrite,
  encodeRead,
  encodeWrite,
  type Mutation,
  type RawEntry,
  type ReadRange,
} from "./messages.ts";

const BATCH = 100;
const BATCH_MAX = 1_000;

/** What carries a question there, and its answer back. */
export interface Carrier {
  /** Carries what was made by `encodeRead`. */
  read(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  /** Carries what was made by `encodeWrite`, once. */
  write(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

/** See the module's documentation. */
export abstract class DatapathKv implements Kv {
  readonly #carrier: Carrier;

  /** Asks nothing yet. */
  constructor(carrier: Carrier) {
    this.#carrier = carrier;
  }

  /** @inheritdoc */
  async get(key: KvKey): Promise<KvEntry> {
    const [entry] = await this.getMany([key]);
    return entry!; // one for each key
  }

  /** @inheritdoc */
  async getMany(
    keys: readonly (readonly KvKeyPart[])[],
  ): Promise<KvEntry[]> {
    const ranges = keys.map((key) => {
      const start = encodeKey(key);
      return { start, end: after(start), limit: 1, reverse: false };
    });
    const found = await this.#read(ranges);
    return keys.map((key, index) =>
      found[index]?.[0]?.entry ?? { key, value: null, versionstamp: null }
    );
  }

  /** @inheritdoc */
  async *list(
    selector: KvSelector,
    options: { limit?: number; reverse?: boolean; batchSize?: number } = {},
  ): AsyncIterableIterator<KvEntry> {
    const { limit = Infinity, reverse = false, batchSize = BATCH } = options;
    let { start, end } = boundsOf(selector);
    if (compare(start, end) > 0) {
      throw new TypeError("The start of a range is after its end");
    }
    for (let left = limit; left > 0;) {
      const wanted = Math.min(batchSize, BATCH_MAX, left);
      const [entries = []] = await this.#read([
        { start, end, limit: wanted, reverse },
      ]);
      for (const { entry } of entries) yield entry;
      left -= entries.length;
      const last = entries.at(-1);
      if (!last || entries.length < wanted) return;
      if (reverse) end = last.rawKey;
      else start = after(last.rawKey);
    }
  }

  /** @inheritdoc */
  atomic(): KvAtomic {
    return new Atomic(this.#carrier);
  }

  /** @inheritdoc */
  abstract watch(
    keys: readonly (readonly KvKeyPart[])[],
  ): ReadableStream<KvEntry[]>;

  /** @inheritdoc */
  abstract close(): void;

  async #read(ranges: readonly ReadRange[]): Promise<RawEntry[][]> {
    const answer = await this.#carrier.read(encodeRead(ranges));
    return decodeRead(answer, ranges.length);
  }
}

class Atomic implements KvAtomic {
  readonly #carrier: Carrier;
  readonly #checks: Check[] = [];
  readonly #mutations: Mutation[] = [];

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
  }

  check(...checks: { key: KvKey; versionstamp: string | null }[]): this {
    for (const { key, versionstamp } of checks) {
      this.#checks.push({ key: encodeKey(key), versionstamp });
    }
    return this;
  }

  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this {
    if (!(value instanceof Uint8Array)) {
      throw new TypeError("The KV takes bytes only");
    }
    const { expireIn } = options ?? {};
    const mutation = { key: encodeKey(key), kind: "set", value } as const;
    const expireAtMs = Math.ceil(Date.now() + (expireIn ?? 0));
    this.#mutations.push(
      expireIn === undefined ? mutation : { ...mutation, expireAtMs },
    );
    return this;
  }

  delete(key: KvKey): this {
    this.#mutations.push({ key: encodeKey(key), kind: "delete" });
    return this;
  }

  sum(key: KvKey, n: bigint): this {
    this.#mutations.push({ key: encodeKey(key), kind: "sum", value: n });
    return this;
  }

  async commit(): Promise<{ ok: true; versionstamp: string } | { ok: false }> {
    const body = encodeWrite(this.#checks, this.#mutations);
    return decodeWrite(await this.#carrier.write(body));
  }
}

function boundsOf(
  selector: KvSelector,
): { start: Uint8Array; end: Uint8Array } {
  const prefix = "prefix" in selector ? encodeKey(selector.prefix) : undefined;
  const { start, end } = selector;
  return {
    // Every part of a key begins with a byte between these.
    start: start ? encodeKey(start) : append(prefix!, 0x00), // one of them is given
    end: end ? encodeKey(end) : append(prefix!, 0xff),
  };
}

/** The first key after this one. */
function after(key: Uint8Array): Uint8Array {
  return append(key, 0x00);
}

function append(bytes: Uint8Array, byte: number): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  longer[bytes.length] = byte;
  return longer;
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!; // in range
  }
  return a.length - b.length;
}
