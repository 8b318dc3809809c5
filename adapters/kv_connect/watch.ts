/**
 * A watch of a remote KV: begun again whenever its connection ends or falls
 * silent.
 *
 * @module
 */
import type { KvEntry, KvKey, KvKeyPart } from "../../server/ports.ts";
import { type Endpoint, PassingError, shortly } from "./endpoint.ts";
import { encodeKey } from "./keys.ts";
import { decodeWatch, encodeWatch } from "./messages.ts";

/** Bytes of one event: ten values and their keys, with margin. */
const EVENT_BYTES = 4 * 1024 * 1024;

/** See the module's documentation. */
export class Watch {
  /** The state of the keys, at first and after changes. */
  readonly stream: ReadableStream<KvEntry[]>;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #endpoint: Endpoint;
  readonly #silenceMs: number;
  readonly #body: Uint8Array<ArrayBuffer>;
  #entries: KvEntry[];
  #hasNews = false;
  #wake: () => void = () => {};
  readonly #life = new AbortController();
  #failure: unknown;

  /** Watches from here on; a connection that is silent for so long is given up. */
  constructor(
    endpoint: Endpoint,
    keys: readonly (readonly KvKeyPart[])[],
    { silenceMs }: { silenceMs: number },
  ) {
    this.#endpoint = endpoint;
    this.#silenceMs = silenceMs;
    this.#body = encodeWatch(keys.map(encodeKey));
    this.#entries = keys.map((key: KvKey) => ({
      key,
      value: null,
      versionstamp: null,
    }));
    this.stream = new ReadableStream<KvEntry[]>({
      pull: (controller) => this.#pull(controller),
      cancel: () => this.end(),
    }, { highWaterMark: 0 });
    this.ended = this.#run();
  }

  /** Ends it. */
  end(): void {
    this.#life.abort();
    this.#wake();
  }

  /** Gives the newest state only: who is slow skips what was between. */
  async #pull(
    controller: ReadableStreamDefaultController<KvEntry[]>,
  ): Promise<void> {
    while (!this.#hasNews && !this.#life.signal.aborted) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#failure !== undefined) return controller.error(this.#failure);
    if (this.#life.signal.aborted) return close(controller);
    this.#hasNews = false;
    controller.enqueue([...this.#entries]);
  }

  async #run(): Promise<void> {
    while (!this.#life.signal.aborted) {
      try {
        await this.#follow();
      } catch (error) {
        if (!this.#life.signal.aborted && !isPassing(error)) {
          this.#failure = error;
        }
        if (this.#failure !== undefined) return this.end();
      }
      if (!this.#life.signal.aborted) await shortly(this.#life.signal);
    }
  }

  /** Follows one connection to its end. */
  async #follow(): Promise<void> {
    const connection = new AbortController();
    const signal = AbortSignal.any([this.#life.signal, connection.signal]);
    let silence = this.#expectSound(connection);
    try {
      const stream = await this.#endpoint.watch(this.#body, signal);
      const events = new EventReader();
      for await (const chunk of stream) {
        clearTimeout(silence);
        silence = this.#expectSound(connection);
        for (const event of events.read(chunk)) this.#take(event);
      }
    } finally {
      clearTimeout(silence);
      connection.abort();
    }
  }

  #expectSound(connection: AbortController): ReturnType<typeof setTimeout> {
    return setTimeout(() => connection.abort(), this.#silenceMs);
  }

  #take(event: Uint8Array): void {
    const changes = decodeWatch(event);
    this.#entries = this.#entries.map((entry, index) => {
      const change = changes[index];
      if (change === undefined) return entry;
      return { value: null, versionstamp: null, ...change, key: entry.key };
    });
    this.#hasNews = true;
    this.#wake();
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

function close(controller: ReadableStreamDefaultController<KvEntry[]>): void {
  try {
    controller.close();
  } catch {
    // It was cancelled.
  }
}
