/**
 * Keeps what a browser's reload must not lose in IndexedDB: writes that are not
 * answered yet, and the last states. For the client's option `storage`.
 *
 * Where there is no IndexedDB or no Web Locks (a page that is not secure, some
 * private windows, other runtimes), the client says so by `error` and goes on
 * without.
 *
 * @example A client that outlives its page
 * ```ts
 * import { createClient } from "@headwater/sync/client";
 * import { indexedDbStorage } from "@headwater/sync/indexeddb";
 * import { createServer } from "@headwater/sync/server";
 * import assert from "node:assert/strict";
 *
 * const server = createServer({ kv: ":memory:" });
 * const note = server.createStore("Note", { text: "" }, { write: true });
 * await server.listen({ port: 0 });
 *
 * const storage = indexedDbStorage({ name: "notes of user 42" });
 * const client = createClient(`ws://localhost:${server.port}`, { storage });
 * client.on("error", (error) => {
 *   // Outside of a browser: Cannot keep writes and states over a reload: the storage fails
 *   assert.match(error.message, /storage/);
 * });
 * const handle = client.subscribe<{ text: string }>("Note");
 * await handle.ready();
 * await handle.merge({ text: "Kept until it is answered" });
 * assert.equal((await note.get()).text, "Kept until it is answered");
 *
 * client.destroy();
 * await server.close();
 * // When the user logs out: await storage.clear();
 * ```
 *
 * @module
 */
import {
  type DBSchema,
  type IDBPDatabase,
  type IDBPObjectStore,
  openDB,
} from "idb";
import type { ClientStorage } from "../client/storage.ts";

export type { ClientStorage };

/** Options of {@linkcode indexedDbStorage}. */
export interface IndexedDbOptions {
  /**
   * Name of the database. One for each server and user: what is in it is shown before
   * the server is asked who is there.
   *
   * @default {"headwater"}
   */
  name?: string | undefined;
  /**
   * How much may be kept, in bytes; two for each UTF-16 unit of text.
   *
   * @default {16777216}
   */
  maxBytes?: number | undefined;
}

/** Number of the database's layout; the records have a format of their own. */
const LAYOUT = 1;

/** The one table: texts by key. */
interface Layout extends DBSchema {
  records: { key: string; value: string };
}

/**
 * A storage in this browser, for the option `storage` of `createClient()`. Nothing is
 * opened before it is used.
 *
 * @throws {RangeError} If `maxBytes` is not a positive integer.
 */
export function indexedDbStorage(
  options: IndexedDbOptions = {},
): ClientStorage {
  for (const option of Object.keys(options)) {
    if (option === "name" || option === "maxBytes") continue;
    throw new TypeError(
      `Cannot keep anything: there is no option "${option}"; there are name, maxBytes`,
    );
  }
  const { name = "headwater", maxBytes = 16 * 2 ** 20 } = options;
  if (typeof name !== "string") {
    throw new TypeError(
      `Cannot keep anything: name must be a string, not ${typeof name}`,
    );
  }
  if (!Number.isSafeInteger(maxBytes) || maxBytes <= 0) {
    throw new RangeError(
      `Cannot keep anything: maxBytes must be a positive integer, not ${maxBytes}`,
    );
  }
  return new IndexedDbStorage(name, maxBytes);
}

class IndexedDbStorage implements ClientStorage {
  readonly maxBytes: number;
  readonly #name: string;
  #opened: Promise<IDBPDatabase<Layout>> | undefined;

  constructor(name: string, maxBytes: number) {
    this.#name = name;
    this.maxBytes = maxBytes;
  }

  async load(): Promise<ReadonlyMap<string, string>> {
    const { store } = (await this.#open()).transaction("records");
    const [keys, texts] = await Promise.all([
      store.getAllKeys(),
      store.getAll(),
    ]);
    return new Map(keys.map((key, at) => [key, texts[at]!])); // one for each
  }

  async save(changes: ReadonlyMap<string, string | undefined>): Promise<void> {
    const copy = [...changes];
    await this.#write((store) =>
      copy.map(([key, text]) =>
        text === undefined ? store.delete(key) : store.put(text, key)
      )
    );
  }

  async clear(): Promise<void> {
    await this.#write((store) => [store.clear()]);
  }

  lock(name: string, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const { locks } = navigator;
      if (!locks) throw new TypeError("There are no Web Locks here");
      const held = () =>
        new Promise<void>((release) => resolve(() => release()));
      locks.request(`${this.#name}:${name}`, { signal }, held).catch(reject);
    });
  }

  async #write(
    run: (store: WritableStore) => Promise<unknown>[],
  ): Promise<void> {
    const database = await this.#open();
    const { store, done } = database.transaction("records", "readwrite", {
      // Else a power cut could take the number of a write back that was sent with it.
      durability: "strict",
    });
    await Promise.all([...run(store), done]);
  }

  #open(): Promise<IDBPDatabase<Layout>> {
    if (this.#opened) return this.#opened;
    const opened = this.#opened = this.#openAnew();
    // The next action tries again.
    opened.catch(() => this.#forget(opened));
    return opened;
  }

  async #openAnew(): Promise<IDBPDatabase<Layout>> {
    const opened = await openDB<Layout>(this.#name, LAYOUT, {
      upgrade: (database) => void database.createObjectStore("records"),
      // Another tab deletes the database, or has a newer layout: it must not wait for this one.
      blocking: () => {
        opened.close();
        this.#opened = undefined;
      },
      terminated: () => this.#opened = undefined,
    });
    return opened;
  }

  #forget(opened: Promise<IDBPDatabase<Layout>>): void {
    if (this.#opened === opened) this.#opened = undefined;
  }
}

type WritableStore = Pick<
  IDBPObjectStore<Layout, ["records"], "records", "readwrite">,
  "put" | "delete" | "clear"
>;
