/**
 * What the threads of the load can be told to do.
 *
 * @module
 */
import type { ResumeToken } from "../../protocol/frames.ts";
import type { Json } from "../../protocol/value.ts";

/** What a client of the load does with what it receives. */
export type Reading =
  /** Counts messages and bytes. */
  | "count"
  /** Counts versions and answers as well. */
  | "walk"
  /** Decodes everything and keeps the state, as a real client does. */
  | "replica";

/** Connects clients to a server. */
export interface ConnectOptions {
  readonly port: number;
  /** Number of each client. */
  readonly clients: readonly number[];
  /** Store to subscribe to; `*` stands for the client's number. */
  readonly store: string;
  readonly reading: Reading;
  readonly token?: ResumeToken;
  /** How many connect at once. @default 20 */
  readonly lanes?: number;
}

/** What one client received until it had the state; without the handshake. */
export interface Joined {
  readonly bytes: number;
  readonly ms: number;
}

/** Totals of all clients that are connected. */
export interface Totals {
  readonly messages: number;
  readonly bytes: number;
  /** Versions that patches led through. */
  readonly versions: number;
  readonly answers: number;
  /** Answers that were errors. */
  readonly errors: number;
  /** Clients that were disconnected. */
  readonly lost: number;
}

/** Keeps so many calls of each client in flight. */
export interface CallOptions {
  readonly name: string;
  readonly depth: number;
  readonly ms: number;
}

/** What a thread knows of a replica. */
export interface ReplicaReport {
  readonly token: ResumeToken;
  readonly state: Json;
  /** When each patch came, and the version that it led to. */
  readonly arrivals: readonly {
    readonly version: number;
    readonly ms: number;
  }[];
}

/** The commands of a thread, with what they take and give. */
export interface LoadCommands {
  connect: { args: ConnectOptions; result: Joined[] };
  totals: { args: object; result: Totals };
  /** Latencies in milliseconds. */
  call: {
    args: CallOptions;
    result: { latencies: Float64Array; unanswered: number };
  };
  pause: { args: { readonly client: number }; result: void };
  resume: { args: { readonly client: number }; result: void };
  replica: { args: { readonly client: number }; result: ReplicaReport };
  close: { args: object; result: void };
}

/** A command on its way to a thread. */
export interface LoadRequest {
  readonly id: number;
  readonly name: keyof LoadCommands;
  readonly args: unknown;
}

/** The answer to it. */
export interface LoadResponse {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** The first message to a thread. */
export interface LoadStart {
  /** Where each thread counts the messages that it received. */
  readonly counters: SharedArrayBuffer;
  readonly thread: number;
}
