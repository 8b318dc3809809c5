/**
 * The keys of a watch as their stream tells them: the newest state, of whatever
 * carries the events of KV Connect.
 *
 * @module
 */
import type { KvEntry, KvKey, KvKeyPart } from "../../server/ports.ts";
import { decodeWatch } from "./messages.ts";

/** See the module's documentation. */
export class WatchedKeys {
  /** The state of the keys, at first and after changes. */
  readonly stream: ReadableStream<KvEntry[]>;
  readonly #life = new AbortController();
  #entries: KvEntry[];
  #hasNews = false;
  #wake: () => void = () => {};
  #failure: unknown;

  /** Nothing is known of the keys yet. */
  constructor(keys: readonly (readonly KvKeyPart[])[]) {
    this.#entries = keys.map((key: KvKey) => ({
      key,
      value: null,
      versionstamp: null,
    }));
    this.stream = new ReadableStream<KvEntry[]>({
      pull: (controller) => this.#pull(controller),
      cancel: () => this.end(),
    }, { highWaterMark: 0 });
  }

  /** Aborted once it has ended, was cancelled, or has failed. */
  get signal(): AbortSignal {
    return this.#life.signal;
  }

  /** Takes an event as it was received; what it says of further keys is passed over. */
  take(event: Uint8Array): void {
    const changes = decodeWatch(event);
    this.#entries = this.#entries.map((entry, index) => {
      const change = changes[index];
      if (change === undefined) return entry;
      return { value: null, versionstamp: null, ...change, key: entry.key };
    });
    this.#hasNews = true;
    this.#wake();
  }

  /** Ends it with an error. */
  fail(error: unknown): void {
    this.#failure = error;
    this.end();
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
    while (!this.#hasNews && !this.signal.aborted) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#failure !== undefined) return controller.error(this.#failure);
    if (this.signal.aborted) return close(controller);
    this.#hasNews = false;
    controller.enqueue([...this.#entries]);
  }
}

function close(controller: ReadableStreamDefaultController<KvEntry[]>): void {
  try {
    controller.close();
  } catch {
    // It was cancelled.
  }
}
