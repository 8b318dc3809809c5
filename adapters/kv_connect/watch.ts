/**
 * A watch of a remote KV: begun again whenever its connection ends or falls
 * silent.
 *
 * @module
 */
import type { KvEntry, KvKeyPart } from "../../server/ports.ts";
import { type Endpoint, PassingError, shortly } from "./endpoint.ts";
import { encodeKey } from "./keys.ts";
import { encodeWatch } from "./messages.ts";
import { WatchedKeys } from "./watched_keys.ts";

/** Bytes of one event: ten values and their keys, with margin. */
const EVENT_BYTES = 4 * 1024 * 1024;

/** See the module's documentation. */
export class Watch {
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #endpoint: Endpoint;
  readonly #silenceMs: number;
  readonly #body: Uint8Array<ArrayBuffer>;
  readonly #keys: WatchedKeys;

  /** Watches from here on; a connection that is silent for so long is given up. */
  constructor(
    endpoint: Endpoint,
    keys: readonly (readonly KvKeyPart[])[],
    { silenceMs }: { silenceMs: number },
  ) {
    this.#endpoint = endpoint;
    this.#silenceMs = silenceMs;
    this.#body = encodeWatch(keys.map(encodeKey));
    this.#keys = new WatchedKeys(keys);
    this.ended = this.#run();
  }

  /** The state of the keys, at first and after changes. */
  get stream(): ReadableStream<KvEntry[]> {
    return this.#keys.stream;
  }

  /** Ends it. */
  end(): void {
    this.#keys.end();
  }

  async #run(): Promise<void> {
    const { signal } = this.#keys;
    while (!signal.aborted) {
      try {
        await this.#follow();
      } catch (error) {
        if (!signal.aborted && !isPassing(error)) this.#keys.fail(error);
      }
      if (!signal.aborted) await shortly(signal);
    }
  }

  /** Follows one connection to its end. */
  async #follow(): Promise<void> {
    const connection = new AbortController();
    const signal = AbortSignal.any([this.#keys.signal, connection.signal]);
    let silence = this.#expectSound(connection);
    try {
      const stream = await this.#endpoint.watch(this.#body, signal);
      const events = new EventReader();
      for await (const chunk of stream) {
        clearTimeout(silence);
        silence = this.#expectSound(connection);
        for (const event of events.read(chunk)) this.#keys.take(event);
      }
    } finally {
      clearTimeout(silence);
      connection.abort();
    }
  }

  #expectSound(connection: AbortController): ReturnType<typeof setTimeout> {
    return setTimeout(() => connection.abort(), this.#silenceMs);
  }
}

/** Cuts what comes into events: a length in four bytes, then so many bytes; 0 is a sign of life. */
class EventReader {
  #rest = new Uint8Array();

  *read(chunk: Uint8Array): Iterable<Uint8Array> {
    const bytes = new Uint8Array(this.#rest.length + chunk.length);
    bytes.set(this.#rest);
    bytes.set(chunk, this.#rest.length);
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = new DataView(bytes.buffer).getUint32(at, true);
      if (length > EVENT_BYTES) {
        throw new TypeError(`An event of the KV has ${length} bytes`);
      }
      if (bytes.length - at - 4 < length) break;
      at += 4 + length;
      if (length > 0) yield bytes.subarray(at - length, at);
    }
    this.#rest = bytes.slice(at);
  }
}

/** What the KV refuses stays refused, but for a token that was good; all else may be the network. */
function isPassing(error: unknown): boolean {
  return error instanceof PassingError ||
    !(error instanceof Error && /^status 4\d\d/.test(error.message));
}
