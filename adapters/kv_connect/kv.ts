/**
 * A remote KV by KV Connect: `denokv`, or Deno Deploy from outside.
 *
 * `Deno.openKv()` does not do for it, as measured on Deno 2.9 with denokv 0.14.
 * It sends a write again where the answer was lost, and then reports a failed
 * check; it goes on asking for ever while nobody answers, after `close()` too,
 * and keeps memory and process; a commit of over 1 KiB takes 44 ms, and any
 * commit while a watch is open. Here a write is sent once, all ends in seconds,
 * and a commit takes half a millisecond.
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
import { Endpoint } from "./endpoint.ts";
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
import { Watch } from "./watch.ts";

const BATCH = 100;
const BATCH_MAX = 1_000;
/** The KV says every 5 seconds that it is there; three of them missed are the end of a watch. */
const SILENCE_MS = 15_000;

/** See the module's documentation. */
export class RemoteKv implements Kv {
  readonly #endpoint: Endpoint;
  readonly #watches = new Set<Watch>();
  #isClosed = false;

  readonly #silenceMs: number;

  private constructor(endpoint: Endpoint, silenceMs: number) {
    this.#endpoint = endpoint;
    this.#silenceMs = silenceMs;
  }

  /**
   * Opens the KV at `url`. One that cannot be reached, say because it is started
   * together with its servers, is tried for some seconds. A watch whose
   * connection is silent for `silenceMs` is begun anew.
   */
  static async open(
    url: string,
    { token, silenceMs = SILENCE_MS }: { token: string; silenceMs?: number },
  ): Promise<RemoteKv> {
    const endpoint = new Endpoint(url, token);
    try {
      await endpoint.open();
      return new RemoteKv(endpoint, silenceMs);
    } catch (error) {
      endpoint.close();
      throw error;
    }
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
    return new RemoteAtomic(this.#endpoint);
  }

  /** @inheritdoc */
  watch(keys: readonly (readonly KvKeyPart[])[]): ReadableStream<KvEntry[]> {
    if (this.#isClosed) throw new TypeError("The KV is closed");
    const watch = new Watch(this.#endpoint, keys, {
      silenceMs: this.#silenceMs,
    });
    this.#watches.add(watch);
    void watch.ended.then(() => this.#watches.delete(watch));
    return watch.stream;
  }

  /** @inheritdoc */
  close(): void {
    if (this.#isClosed) throw new TypeError("The KV is closed already");
    this.#isClosed = true;
    for (const watch of this.#watches) watch.end();
    this.#endpoint.close();
  }

  async #read(ranges: readonly ReadRange[]): Promise<RawEntry[][]> {
    const answer = await this.#endpoint.read(encodeRead(ranges));
    return decodeRead(answer, ranges.length);
  }
}

class RemoteAtomic implements KvAtomic {
  readonly #endpoint: Endpoint;
  readonly #checks: Check[] = [];
  readonly #mutations: Mutation[] = [];

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  check(...checks: { key: KvKey; versionstamp: string | null }[]): this {
    for (const { key, versionstamp } of checks) {
      this.#checks.push({ key: encodeKey(key), versionstamp });
    }
    return this;
  }

  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this {
    if (!(value instanceof Uint8Array)) {
      throw new TypeError("A remote KV takes bytes only");
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
    return decodeWrite(await this.#endpoint.write(body));
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
