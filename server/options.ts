/**
 * What an application may set.
 *
 * @module
 */
import type { App } from "../protocol/contract.ts";
import type { Authenticate } from "./authentication.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Page } from "./http/routes.ts";
import type { Kv } from "./ports.ts";

/** Options of `createServer()`. */
export interface ServerOptions<A extends App = App> {
  /**
   * The contract of the application, made by `defineApp`: it gives types to the
   * server's methods, and schemas to what comes in, is stored, and goes out. Stores and
   * functions of it that the server has not when it begins to listen, or with its first
   * request, are a warning in the log.
   */
  readonly app?: A | undefined;
  /**
   * Where the state is: a file's path, `":memory:"`, a KV Connect URL, or a KV
   * that was opened already (and stays open when the server closes). On Deno Deploy,
   * which keeps no files, any path is the app's own KV.
   *
   * @default ".headwater/state.db"
   */
  readonly kv?: string | Kv;
  /** Whether servers over the same KV keep each other in step. @default true */
  readonly sync?: boolean;
  /** Limits that are not to have their default. */
  readonly limits?: Partial<Limits>;
  /**
   * Origins from which browsers may connect. No cookie ever authenticates, so all
   * may by default.
   *
   * @default "*"
   */
  readonly cors?: string | readonly string[];
  /** Whether the last entry of `X-Forwarded-For` is the peer's address. @default false */
  readonly trustProxy?: boolean;
  /**
   * Whether clients are told nothing of errors that are not meant for them: of what
   * functions, mutators, recipes, interceptors and hooks throw, the message of all but
   * {@linkcode HeadwaterError} is replaced.
   *
   * - The log has all of it, under the `id` that the client is told, and so do the
   *   listeners of `error`; with and without this.
   * - In any case a client is told neither what a rule of who may `read` or `write` has
   *   thrown, nor of a stored state that `migrate` or the schema cannot take, nor what
   *   the mutators, `intercept` or schema of a store with a `view` have thrown.
   *
   * @default false
   */
  readonly maskErrors?: boolean;
  /**
   * Says who is behind a client: asked at each connection, when the client has another
   * `token`, and after {@linkcode Server.revoke}. What it returns is the user: an object, a
   * text or a number, as JSON of at most 16 KiB. It is told to that client, and given to
   * functions, mutators and the rules of stores. Without `authenticate` everybody is let
   * in as null.
   *
   * - Where it returns null, or anything else that is false in a condition, or throws, the
   *   connection is closed with 4003, which is final for the client. `true` is no user, and
   *   refuses as well: the `error` event tells of it. The message of a {@linkcode HeadwaterError} is the reason;
   *   what else is thrown goes into the log. One with the code `unavailable` lets the
   *   client come back later.
   * - Sessions belong to the user's `id` (or the user itself, where that is a text or a
   *   number; else to all that is known of the user): nobody goes on with another's.
   * - A server that could not ask the KV for `limits.accessMs` whose access was revoked
   *   closes its connections with 4012, and lets nobody in before it can again.
   *
   * @example A token that is the name
   * ```ts
   * import { createClient } from "@headwater/sync/client";
   * import { createServer } from "@headwater/sync/server";
   * import assert from "node:assert/strict";
   *
   * const names = new Map([["s3cret", { id: "ada", admin: true }]]);
   * await using server = createServer({
   *   kv: ":memory:",
   *   authenticate: (_request, { token = "" }) => names.get(token) ?? null,
   * });
   * server.handle("whoami", (_: unknown, { user }) => user);
   * await server.listen({ port: 0 });
   * using client = createClient(`ws://localhost:${server.port}`, { token: "s3cret" });
   * assert.deepEqual(await client.call("whoami"), { id: "ada", admin: true });
   * ```
   */
  readonly authenticate?: Authenticate;
  /** Pages that are served beside the socket, by path. */
  readonly pages?: Readonly<Record<string, Page>>;
}

/** Options of `Server.listen()`. */
export interface ListenOptions {
  /** Port; 0 lets the system choose. @default 4400 */
  readonly port?: number;
  /** Host name or address. @default "localhost" */
  readonly host?: string;
  /** The one path that takes sockets. @default any */
  readonly path?: string;
  /**
   * How often a client must be heard, in milliseconds; 0: never. One for all sockets of
   * the server: of several that are named, the last.
   *
   * @default 30000
   */
  readonly heartbeatMs?: number;
  /** Certificate chain, PEM. */
  readonly cert?: string;
  /** Private key, PEM. */
  readonly key?: string;
  /**
   * What speaks HTTP and WebSocket.
   *
   * - `"native"`: the runtime itself; for clients that you know, or behind a proxy
   *   that bounds what it lets through. On Deno a message is measured only once it
   *   is whole, so that fragments without end grow the memory; half a request stays
   *   for ever; and a peer that stalls, or answers no close, keeps its connection,
   *   what waits for it, and the process at its end.
   * - `"hardened"`: the package `ws` on `node:http`, for the open internet. A
   *   message over `limits.messageBytes` ends with 1009 before it is in memory, a
   *   request must be there within `limits.helloMs`, a body has at most
   *   `limits.stateBytes`, and a peer is cut off 2 seconds after its close. Costs a
   *   tenth more CPU for each message (`deno task bench transports`), and sending
   *   holds up the event loop five times as long.
   *
   * It is for what this server listens on; `Server.fetch` is always native, and
   * `Server.attach` always hardened. On Node both are the hardened one.
   *
   * @default "native"
   */
  readonly transport?: "native" | "hardened";
}

/** Options of `Server.attach()`. */
export interface AttachOptions {
  /**
   * The one path that takes sockets. Without it all of them are taken: give one where
   * others listen to "upgrade" of that server, too.
   *
   * @default any
   */
  readonly path?: string;
  /**
   * How often a client must be heard, in milliseconds; 0: never. One for all sockets of
   * the server: of several that are named, the last.
   *
   * @default 30000
   */
  readonly heartbeatMs?: number;
}

/** What a host tells about a request. */
export interface RequestInfo {
  /** The peer. */
  readonly remoteAddr?: object;
}
