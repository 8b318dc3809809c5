/**
 * The options of a client. This module is browser compatible.
 *
 * @module
 */
import type { App } from "../protocol/contract.ts";
import type { TokenSource } from "./credentials.ts";
import type { ClientClock, WebSocketClass } from "./environment.ts";
import type { ClientStorage } from "./storage.ts";

/** How much a client takes upon itself. */
export interface ClientLimits {
  /**
   * Calls and writes that may wait for their answer at once. What is over that is
   * refused by a `LimitError`.
   *
   * @default {10000}
   */
  pendingRequests?: number | undefined;
  /**
   * Own changes of each store that can be taken back; the oldest are forgotten.
   *
   * @default {100}
   */
  undoSteps?: number | undefined;
}

/** Options of `createClient()`. */
export interface ClientOptions<A extends App = App> {
  /**
   * The contract of the application, made by `defineApp`. A client that needs its
   * types alone names them instead: `createClient<typeof app>(url)`.
   */
  app?: A | undefined;
  /**
   * What shows the server who is behind the client: its `authenticate` gets it. A
   * function is asked at each connection, and once more at once where the server refuses
   * what it gave; where it fails, or gives no text, the connection is tried again.
   */
  token?: TokenSource | undefined;
  /**
   * Whether to connect again after a loss.
   *
   * @default {true}
   */
  reconnect?: boolean | undefined;
  /**
   * Milliseconds before the first attempt to connect again; doubled with each further one.
   *
   * @default {1000}
   */
  reconnectDelayMs?: number | undefined;
  /**
   * The longest that the delay grows.
   *
   * @default {10000}
   */
  reconnectMaxMs?: number | undefined;
  /**
   * Milliseconds that a call may take, from `call()` to its answer; `Infinity` for any time.
   *
   * @default {10000}
   */
  rpcTimeoutMs?: number | undefined;
  /** How much it takes upon itself. */
  limits?: ClientLimits | undefined;
  /**
   * Where writes that are not answered yet, and the last states, outlive the page: the
   * next client with the same storage shows them at once, offline too, and sends what
   * was not sent. Two clients at once, as of two tabs: one of them keeps, the other takes
   * over when that has gone, and keeps nothing until then.
   *
   * - What was sent and not answered is sent again under its number: it applies once.
   * - A mutator is run again, by its name. A recipe cannot be kept: its write is sent as
   *   the patch that it has made, and refused with `conflict` if others have changed the
   *   same meanwhile.
   * - Failures of such writes fire `error`. Calls are not kept.
   * - What is over `storage.maxBytes` is not kept, and a storage that fails is given up;
   *   either is told by `error`, once.
   *
   * Use one for each server and user: `handle.getState()` shows what was kept before the
   * server is asked. Where the server says then that another user is there, what was kept
   * is dropped, and one `error` tells of it.
   *
   * @example A storage that is as good as one of a browser
   * ```ts
   * import { type ClientStorage, createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * // What `indexedDbStorage()` of `@headwater/sync/indexeddb` does in a browser.
   * function memoryStorage(records: Map<string, string>): ClientStorage {
   *   return {
   *     maxBytes: 2 ** 20,
   *     load: () => Promise.resolve(new Map(records)),
   *     save: (changes) => {
   *       for (const [key, text] of changes) {
   *         if (text === undefined) records.delete(key);
   *         else records.set(key, text);
   *       }
   *       return Promise.resolve();
   *     },
   *     lock: () => Promise.resolve(() => {}), // one client at a time
   *     clear: () => Promise.resolve(records.clear()),
   *   };
   * }
   *
   * const records = new Map<string, string>();
   * const server = createServer({ kv: ":memory:" });
   * const note = server.createStore("Note", { text: "" }, { write: true });
   * await server.listen({ port: 0 });
   * const url = `ws://localhost:${server.port}`;
   * const first = createClient(url, { storage: memoryStorage(records) });
   * await first.subscribe("Note").ready();
   * first.destroy();
   *
   * // The next one, which has not reached any server yet.
   * const second = createClient(undefined, { storage: memoryStorage(records) });
   * const kept = second.subscribe<{ text: string }>("Note");
   * await kept.ready();
   * const written = kept.merge({ text: "Made offline" });
   * second.connect(url);
   * await written;
   * assert.deepEqual(await note.get(), { text: "Made offline" });
   *
   * second.destroy();
   * await server.close();
   * ```
   */
  storage?: ClientStorage | undefined;
  /** The class of the socket, where the runtime has none: that of the package `ws` on Node 20. */
  WebSocket?: WebSocketClass | undefined;
  /** Time; the runtime's by default. */
  clock?: ClientClock | undefined;
  /** Jitter, from 0 up to but not 1; `Math.random` by default. */
  random?: (() => number) | undefined;
  /**
   * Calls `wake` when it is worth trying at once, and returns its undo. By
   * default that is when a browser is online again or its page visible again.
   */
  onWake?: ((wake: () => void) => () => void) | undefined;
  /** Takes what a listener throws where nobody listens to "error"; the runtime's `reportError`. */
  reportError?: ((error: unknown) => void) | undefined;
}
