/**
 * What a host must supply: sockets, a KV, a clock, randomness and a place to
 * keep the current call. The core never reaches for a runtime itself.
 *
 * @module
 */

import type { Limits } from "../protocol/limits.ts";
import type { Json } from "../protocol/value.ts";

/** One WebSocket, as the core sees it. */
export interface Socket {
  /**
   * Hands over one binary message, which must not be changed afterwards. Never
   * throws; `"gone"` means it will not arrive (`closed` may be still to come, or
   * never come), `"sent"` only that it may.
   */
  send(bytes: Uint8Array<ArrayBuffer>): "sent" | "gone";
  /**
   * Bytes handed over that the system has not taken yet (its own buffers hold
   * some 100 KB to 4 MB more); 0 once the end is decided, though a stalled peer
   * keeps the memory until TCP ends.
   */
  readonly bufferedBytes: number;
  /**
   * Ends the connection; what was sent before still goes out, then the code.
   * Never throws; a second call does nothing. No event comes after it. A reason
   * over 123 bytes is cut.
   */
  close(code: number, reason: string): void;
}

/** Where the host delivers what a socket receives. What throws in here ends the process. */
export interface SocketEvents {
  /** One whole message; text is refused by the core. */
  message(data: Uint8Array | string): void;
  /** The socket is gone, other than by our own close. May come twice, late, or never. */
  closed(): void;
}

/** What is known of a connection. */
export interface ConnectionInfo {
  /** Address of the peer, if known. */
  readonly address?: string | undefined;
  /** The user behind it; null where there is none. */
  readonly user: Json;
}

/** Part of a KV key; `symbol` only because Deno's type of a key that was read has it. */
export type KvKeyPart =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | symbol;
/**
 * A KV key; parts sort by type (bytes, strings, bigints, numbers, booleans),
 * then by value. A lone surrogate is stored as `"\ufffd"`: two strings that
 * differ only in that are one key.
 */
export type KvKey = readonly KvKeyPart[];

/** One key's value; both are null where the key is absent. */
export interface KvEntry {
  /** The key that was asked for. */
  readonly key: KvKey;
  /** Its value, or null. */
  readonly value: unknown;
  /** Changes with each write of the key; null where it is absent. */
  readonly versionstamp: string | null;
}

/** Which keys {@linkcode Kv.list} returns. */
export type KvSelector =
  | { readonly prefix: KvKey; readonly start?: KvKey; readonly end?: KvKey }
  | { readonly start: KvKey; readonly end: KvKey };

/**
 * Several checks and writes that take effect together or not at all: at most
 * 1,000 writes, 100 checks (10 where `denokv` is the server), 819,200 bytes of
 * keys and values, 2,048 bytes a key (2 of them overhead), 65,536 a value. What
 * is over a limit throws and writes nothing. Bytes are read when `commit` is
 * called, not before. Of several writes to one key the last one counts.
 */
export interface KvAtomic {
  /** Requires the key to have that versionstamp (null: to be absent). */
  check(...checks: { key: KvKey; versionstamp: string | null }[]): this;
  /** Writes a value; `expireIn` lets the KV remove it after that many milliseconds. */
  set(key: KvKey, value: unknown, options?: { expireIn?: number }): this;
  /** Removes a key. */
  delete(key: KvKey): this;
  /**
   * Adds to a `KvU64`, modulo 2 to the 64, without reading it; absent counts as
   * 0. Never on a key that may hold anything else: that throws, and on a local
   * file the writes named before it in the same atomic have happened.
   */
  sum(key: KvKey, n: bigint): this;
  /**
   * `ok: false`: a check failed and nothing was written. A throw proves nothing;
   * nor does `ok: false` where the KV is not local: Deno's own client sends an
   * atomic again where the answer was lost, and meets its own writes.
   */
  commit(): Promise<{ ok: true; versionstamp: string } | { ok: false }>;
}

/**
 * The part of Deno KV that Headwater uses. `Deno.Kv` and `@deno/kv` fit it as
 * they are. All reads are strongly consistent.
 */
export interface Kv {
  /** Reads one key. */
  get(key: KvKey): Promise<KvEntry>;
  /** Reads up to 10 keys at one moment, in the order asked for. */
  getMany(keys: readonly (readonly KvKeyPart[])[]): Promise<KvEntry[]>;
  /**
   * Reads a range in key order, without the prefix's own key. `start` is in it,
   * `end` is not; `start` after `end` throws. A range over `batchSize` entries
   * (default 100, at most 1,000) is read in several steps, so that it may mix
   * moments.
   */
  list(
    selector: KvSelector,
    options?: { limit?: number; reverse?: boolean; batchSize?: number },
  ): AsyncIterableIterator<KvEntry>;
  /** Begins an atomic operation. */
  atomic(): KvAtomic;
  /**
   * Tells the state of up to 10 keys, at first and when they have changed; skips
   * intermediate values, and on a local file sees this process only. Ends when
   * it is cancelled or the KV is closed.
   */
  watch(
    keys: readonly (readonly KvKeyPart[])[],
    options?: { raw?: boolean },
  ): ReadableStream<KvEntry[]>;
  /** Frees the handle, at once: a commit on its way rejects. A second call throws. */
  close(): void;
}

/** A KV that was opened, and what is known about it. */
export interface OpenedKv {
  /** The KV itself; others may share it, so that only {@linkcode OpenedKv.close} may close it. */
  readonly kv: Kv;
  /** A local KV has one writer and no latency: one lane, a quick poll. */
  readonly isLocal: boolean;
  /** Where the data is, for people. */
  readonly location: string;
  /** Gives the handle back; it is closed with its last user. A second call does nothing. */
  close(): Promise<void>;
}

/** A timer that can be called off. */
export interface Timer {
  /** Calls it off; harmless if it has run. */
  cancel(): void;
}

/** Time. */
export interface Clock {
  /** Milliseconds since 1970; may jump. */
  now(): number;
  /** Milliseconds that only go forward. */
  monotonic(): number;
  /** Calls `run` once after `ms`. */
  setTimer(ms: number, run: () => void): Timer;
  /** Calls `run` soon, after all microtasks that are due. */
  defer(run: () => void): void;
}

/** Randomness. */
export interface Random {
  /** Unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A number from 0 up to but not 1, for jitter. */
  float(): number;
}

/** Carries a value through the awaits of an async function (AsyncLocalStorage). */
export interface Ambient {
  /** Calls `run`, in which {@linkcode Ambient.get} returns `value`, across awaits. */
  run<T>(value: object, run: () => T): T;
  /** The value of the innermost {@linkcode Ambient.run}. */
  get(): object | undefined;
}

/** Everything that a host supplies. */
export interface Ports {
  /** Opens a KV by path, `":memory:"` or KV Connect URL. */
  openKv(location: string): Promise<OpenedKv>;
  /** Makes a KV that the application has opened, and will close, fit for a server. */
  lendKv(kv: Kv): OpenedKv;
  /** Time. */
  readonly clock: Clock;
  /** Randomness. */
  readonly random: Random;
  /** Makes an {@linkcode Ambient}. */
  createAmbient(): Ambient;
  /**
   * Answers an upgrade request, or refuses one that is none (426, 400). `accept`
   * is called with the socket when it is open, which may be never.
   */
  upgrade(request: Request, accept: (socket: Socket) => SocketEvents): Response;
  /**
   * Resolves when the sockets have ended that were upgraded for requests which came by
   * no listener of {@linkcode Ports.listen}, or after 2 seconds.
   */
  looseSocketsEnded?(): Promise<void>;
  /** Listens for HTTP. */
  listen(options: ListenTarget, fetch: HostFetch): Promise<Listener>;
  /** Takes the upgrade requests of an HTTP server that is somebody else's. */
  attach(target: AttachTarget, fetch: HostFetch): Promise<Attachment>;
}

/** Handles one request; `address` is the peer's, where the host knows it. */
export type HostFetch = (
  request: Request,
  address: string | undefined,
) => Response | Promise<Response>;

/** Where to listen. */
export interface ListenTarget {
  /** Port; 0 lets the system choose. */
  port: number;
  /** Host name or address; `"localhost"` is 127.0.0.1 and, where there is one, ::1. */
  host: string;
  /** Certificate chain, PEM. */
  cert?: string | undefined;
  /** Private key, PEM. */
  key?: string | undefined;
  /** What speaks HTTP and WebSocket; `"native"` by default. */
  transport?: Transport | undefined;
  /** What a transport can hold its peers to by itself. */
  limits?: Pick<Limits, "messageBytes" | "stateBytes" | "helloMs"> | undefined;
}

/** Whose upgrade requests to take. */
export interface AttachTarget {
  /** The HTTP server. */
  readonly server: HttpServer;
  /** The one path that is taken; any by default. */
  readonly path?: string | undefined;
  /** What its peers are held to. */
  readonly limits: Pick<Limits, "messageBytes">;
}

/**
 * A server of `node:http` or `node:https`, as Express, Fastify and Hono on Node have
 * one: as much of it as is used.
 */
export interface HttpServer {
  /** Adds a listener. */
  on(event: string, listener: HttpListener): unknown;
  /** Takes a listener off. */
  off(event: string, listener: HttpListener): unknown;
  /** Those who listen. */
  listeners(event: string): readonly object[];
}

/** A listener of an {@linkcode HttpServer}. */
// As Node declares it: what a listener gets depends on the event.
// deno-lint-ignore no-explicit-any
export type HttpListener = (...args: any[]) => void;

/** The sockets on an HTTP server that is somebody else's. */
export interface Attachment {
  /** Takes no more, closes (1001) those that are open, and resolves as {@linkcode Listener.close}. */
  close(): Promise<void>;
}

/** What speaks HTTP and WebSocket: the runtime, or `ws` on `node:http`. */
export type Transport = "native" | "hardened";

/** A listening HTTP server. */
export interface Listener {
  /** The port that it listens on. */
  readonly port: number;
  /**
   * Stops taking requests, closes (1001) the sockets that are still open, and
   * resolves when all have ended; after 2 seconds it gives up on those that
   * stall. Deno's own sockets then keep the process alive until TCP ends; the
   * hardened transport cuts them.
   */
  close(): Promise<void>;
}
