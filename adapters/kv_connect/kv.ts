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
import type { KvEntry, KvKeyPart } from "../../server/ports.ts";
import { DatapathKv } from "./datapath.ts";
import { Endpoint, type HttpClient } from "./endpoint.ts";
import { Watch } from "./watch.ts";

/** The KV says every 5 seconds that it is there; three of them missed are the end of a watch. */
const SILENCE_MS = 15_000;

/** Options of {@linkcode RemoteKv.open}. */
export interface RemoteKvOptions {
  /** The token of the database. */
  readonly token: string;
  /** Makes what its requests go by. */
  readonly createClient: () => HttpClient;
  /** A watch whose connection is silent for so long is begun anew. */
  readonly silenceMs?: number;
}

/** See the module's documentation. */
export class RemoteKv extends DatapathKv {
  readonly #endpoint: Endpoint;
  readonly #watches = new Set<Watch>();
  readonly #silenceMs: number;
  #isClosed = false;

  private constructor(endpoint: Endpoint, silenceMs: number) {
    super(endpoint);
    this.#endpoint = endpoint;
    this.#silenceMs = silenceMs;
  }

  /**
   * Opens the KV at `url`. One that cannot be reached, say because it is started
   * together with its servers, is tried for some seconds.
   */
  static async open(
    url: string,
    { token, createClient, silenceMs = SILENCE_MS }: RemoteKvOptions,
  ): Promise<RemoteKv> {
    const endpoint = new Endpoint(url, { token, createClient });
    try {
      await endpoint.open();
      return new RemoteKv(endpoint, silenceMs);
    } catch (error) {
      endpoint.close();
      throw error;
    }
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
}
