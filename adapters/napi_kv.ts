/**
 * A local KV on Node, by the native part of `@deno/kv`: the same SQLite files as
 * Deno's.
 *
 * Its JavaScript part stays out of the way. That makes three times as much work of
 * each read and commit, and ends a watch in a manner that leaves the process
 * hanging, as measured with `@deno/kv` 0.14 on Node 20.
 *
 * @module
 */
import type { KvEntry, KvKeyPart } from "../server/ports.ts";
import { type Carrier, DatapathKv } from "./kv_connect/datapath.ts";
import { encodeKey } from "./kv_connect/keys.ts";
import { encodeWatch, encodeWrite } from "./kv_connect/messages.ts";
import { WatchedKeys } from "./kv_connect/watched_keys.ts";

/** As many keys as Deno lets a watch have; the native part knows no limit. */
const WATCHED_KEYS = 10;
/** How often it is tried to wake a watch that is to end, while the file is locked. */
const WAKE_TRIES = 20;
const WAKE_AGAIN_MS = 50;

/** The native part: the functions of `@deno/kv` that are used here. */
export interface Napi {
  /** Closes what was opened. */
  close(id: number, debug: boolean): void;
  /** Reads. */
  snapshotRead(
    id: number,
    body: Uint8Array,
    debug: boolean,
  ): Promise<Uint8Array>;
  /** Writes. */
  atomicWrite(
    id: number,
    body: Uint8Array,
    debug: boolean,
  ): Promise<Uint8Array>;
  /** Begins a watch. */
  startWatch(id: number, body: Uint8Array, debug: boolean): Promise<number>;
  /** The next event of a watch. Nothing but an event, or the end of the process, ends the wait. */
  dequeueNextWatchMessage(
    id: number,
    watch: number,
    debug: boolean,
  ): Promise<Uint8Array | undefined>;
  /** Forgets a watch that nobody waits for. */
  endWatch(id: number, watch: number, debug: boolean): void;
}

/** See the module's documentation. */
export class NapiKv extends DatapathKv {
  readonly #handle: Handle;
  readonly #watches = new Set<NapiWatch>();

  /** Takes over what `@deno/kv` has opened under that id. */
  constructor(napi: Napi, id: number) {
    const handle = new Handle(napi, id);
    super(handle);
    this.#handle = handle;
  }

  /** @inheritdoc */
  watch(keys: readonly (readonly KvKeyPart[])[]): ReadableStream<KvEntry[]> {
    if (keys.length > WATCHED_KEYS) {
      throw new TypeError(`A watch may have ${WATCHED_KEYS} keys`);
    }
    this.#handle.checkOpen();
    const watch = new NapiWatch(this.#handle, keys);
    this.#watches.add(watch);
    void watch.ended.then(() => this.#watches.delete(watch));
    return watch.stream;
  }

  /** @inheritdoc */
  close(): void {
    void this.closed();
  }

  /** Closes it as {@linkcode NapiKv.close} does, and resolves once all is free. */
  closed(): Promise<void> {
    this.#handle.beginClose();
    return this.endWatches().then(() => this.#handle.close());
  }

  /** Ends all watches: with one of them the process would not end. */
  async endWatches(): Promise<void> {
    const watches = [...this.#watches];
    for (const watch of watches) watch.end();
    await Promise.all(watches.map(({ ended }) => ended));
  }
}

/** An open KV of the native part, which takes nothing more once it is to close. */
class Handle implements Carrier {
  readonly #napi: Napi;
  readonly #id: number;
  #isClosing = false;

  constructor(napi: Napi, id: number) {
    this.#napi = napi;
    this.#id = id;
  }

  checkOpen(): void {
    if (this.#isClosing) throw new TypeError("The KV is closed");
  }

  async read(body: Uint8Array): Promise<Uint8Array> {
    this.checkOpen();
    return plain(await this.#napi.snapshotRead(this.#id, body, false));
  }

  async write(body: Uint8Array): Promise<Uint8Array> {
    this.checkOpen();
    return plain(await this.#napi.atomicWrite(this.#id, body, false));
  }

  startWatch(keys: readonly Uint8Array[]): Promise<number> {
    return this.#napi.startWatch(this.#id, encodeWatch(keys), false);
  }

  async nextEvent(watch: number): Promise<Uint8Array | undefined> {
    const event = await this.#napi.dequeueNextWatchMessage(
      this.#id,
      watch,
      false,
    );
    return event && plain(event);
  }

  endWatch(watch: number): void {
    this.#napi.endWatch(this.#id, watch, false);
  }

  /** Lets every watch of this key have an event, also while it closes. */
  async wake(key: Uint8Array): Promise<void> {
    const body = encodeWrite([], [{ key, kind: "delete" }]);
    await this.#napi.atomicWrite(this.#id, body, false);
  }

  beginClose(): void {
    this.checkOpen();
    this.#isClosing = true;
  }

  close(): void {
    this.#napi.close(this.#id, false);
  }
}

/** A watch, and the key by which it is woken to end. */
class NapiWatch {
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #handle: Handle;
  readonly #keys: WatchedKeys;
  // Never set: it only has to be named by a write.
  readonly #wakeKey = encodeKey(["headwater", "wake", crypto.randomUUID()]);

  constructor(handle: Handle, keys: readonly (readonly KvKeyPart[])[]) {
    this.#handle = handle;
    this.#keys = new WatchedKeys(keys);
    this.ended = Promise.race([this.#run(keys), this.#cannotBeWoken()]);
  }

  get stream(): ReadableStream<KvEntry[]> {
    return this.#keys.stream;
  }

  end(): void {
    this.#keys.end();
  }

  async #run(keys: readonly (readonly KvKeyPart[])[]): Promise<void> {
    const { signal } = this.#keys;
    try {
      const encoded = [...keys.map(encodeKey), this.#wakeKey];
      const id = await this.#handle.startWatch(encoded);
      while (!signal.aborted) {
        const event = await this.#handle.nextEvent(id);
        if (event === undefined) break;
        if (!signal.aborted) this.#keys.take(event);
      }
      this.#handle.endWatch(id);
      this.#keys.end();
    } catch (error) {
      if (!signal.aborted) this.#keys.fail(error);
    }
  }

  /** Wakes it when it is to end; resolves only where that fails, so that nobody waits for ever. */
  #cannotBeWoken(): Promise<void> {
    const { signal } = this.#keys;
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        void this.#wake().catch(() => resolve());
      });
    });
  }

  async #wake(): Promise<void> {
    for (let tries = 1;; tries++) {
      try {
        return await this.#handle.wake(this.#wakeKey);
      } catch (error) {
        // Another process may have locked the file.
        if (tries === WAKE_TRIES) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, WAKE_AGAIN_MS));
    }
  }
}

/** A Buffer as bytes: its own `slice` would copy nothing. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
