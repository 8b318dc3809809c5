/**
 * The frames that a client and a server exchange, as both ends hold them in
 * memory. `codec.ts` turns them into bytes and back; `PROTOCOL.md` gives the
 * bytes. This module is browser compatible.
 *
 * @module
 */
import type { ErrorBody } from "./errors.ts";
import type { Patch } from "./patch.ts";
import type { Json } from "./json.ts";

/**
 * Version of the wire protocol.
 *
 * - 1: first version. `parts` and `own` were added without a new number: they
 *   are sent only to who asks for them in the hello. So were `mut` and `cancel`,
 *   and `k` of the hello: a server that does not know them closes the connection
 *   of who sends them, or takes the client for one without credentials.
 *
 * A change to any frame's bytes needs a new number; a test pins a hash of
 * sample bytes to it.
 */
export const PROTOCOL_VERSION = 1;

/** The one WebSocket subprotocol that is offered and accepted. */
export const SUBPROTOCOL = "headwater.v1";

/**
 * Position of a store that can be proven: `writer` is the id that the commit
 * which made `version` carries, so two histories never share a token.
 */
export interface ResumeToken {
  /** One life of the store, from create to delete. */
  readonly epoch: string;
  /** Number of mutations since the epoch began. */
  readonly version: number;
  /** Who committed that version; unique to one load of the store by one server. */
  readonly writer: string;
}

/** First frame of a connection; sent again to begin a fresh session, or with other credentials. */
export interface HelloFrame {
  readonly type: "hello";
  /** Protocol version that the client speaks. */
  readonly protocol: number;
  /** Session token of an earlier welcome, if answers to it are still awaited. */
  readonly session?: string;
  /** Session token of an earlier welcome, of which only the client id is to be kept. */
  readonly identity?: string;
  /** True where long messages are to come in parts. */
  readonly parts?: boolean;
  /** True where `own` frames are wanted. */
  readonly own?: boolean;
  /** What shows the server who is behind the client; absent in a later hello: as before. */
  readonly token?: string;
}

/** Asks for a store, and for every change of it from then on. */
export interface SubscribeFrame {
  readonly type: "sub";
  readonly name: string;
  /** What the client has already, if anything. */
  readonly token?: ResumeToken;
}

/** Ends a subscription. */
export interface UnsubscribeFrame {
  readonly type: "unsub";
  readonly name: string;
}

/** Calls a function. */
export interface CallFrame {
  readonly type: "rpc";
  /** Number of the call within its session, from 1. */
  readonly id: number;
  readonly name: string;
  readonly args?: Json;
  /** Lowest call number whose answer the client still awaits (this one included). */
  readonly oldest: number;
  /** Milliseconds between the session's welcome and the call, by the client's clock. */
  readonly elapsedMs: number;
  /** True where the call may have reached a server before. */
  readonly resent?: boolean;
}

/** The caller does not wait for the answer any more. */
export interface CancelFrame {
  readonly type: "cancel";
  /** Number of the call. */
  readonly id: number;
}

/** What every write of a client says. */
interface ClientWriteBase {
  /** Full name of the store. */
  readonly name: string;
  /** Life of the store that the client had; empty where it had nothing of it. */
  readonly epoch: string;
  /** Server's version on which the write was made. */
  readonly base: number;
  /** Numbers of own writes to the store on top of which it was made, that are not in `base`. */
  readonly after: readonly number[];
}

/** A change of one store that a client has made, as the steps that it took. */
export interface PatchWrite extends ClientWriteBase {
  readonly patch: Patch;
}

/** A change of one store by a mutator that both ends know. */
export interface MutatorWrite extends ClientWriteBase {
  readonly mutator: string;
  /** What the mutator's ids begin with, on both ends. */
  readonly seed: string;
  readonly args?: Json;
}

/** A change of one store, by a client. */
export type ClientWrite = PatchWrite | MutatorWrite;

/** Writes that take effect together or not at all; numbered and answered like a call. */
export interface MutateFrame {
  readonly type: "mut";
  /** Number within the session, out of the same count as those of calls. */
  readonly id: number;
  /** As in {@linkcode CallFrame}. */
  readonly oldest: number;
  /** As in {@linkcode CallFrame}. */
  readonly elapsedMs: number;
  /** As in {@linkcode CallFrame}. */
  readonly resent?: boolean;
  /** True where nobody else may have written since: else it is a conflict. */
  readonly exact?: boolean;
  /** From 1 to {@linkcode WRITES_PER_BATCH}. */
  readonly writes: readonly ClientWrite[];
}

/** Writes that one `mut` frame may hold. */
export const WRITES_PER_BATCH = 100;

/** Asks the peer for a pong. */
export interface PingFrame {
  readonly type: "ping";
}

/** Any frame that goes to the server. */
export type UpFrame =
  | HelloFrame
  | SubscribeFrame
  | UnsubscribeFrame
  | CallFrame
  | CancelFrame
  | MutateFrame
  | PingFrame;

/**
 * Not sent: it stands in for a request that reads well but whose name or
 * arguments are refused. It is answered, by `res` (of an rpc or mut) or by
 * `err`, and the connection goes on.
 */
export type RefusedFrame =
  | {
    readonly type: "refused";
    readonly of: "rpc";
    /** Number of the call. */
    readonly id: number;
    readonly error: ErrorBody;
  }
  | {
    readonly type: "refused";
    readonly of: "sub" | "unsub";
    /** The name as it was sent. */
    readonly name: string;
    readonly error: ErrorBody;
  };

/** Answer to hello. */
export interface WelcomeFrame {
  readonly type: "welcome";
  readonly protocol: number;
  readonly clientId: string;
  /** Signed proof of this session; secret. */
  readonly session: string;
  /** False if the hello's session was refused: what was sent in it has an unknown outcome. */
  readonly resumed: boolean;
  /** How long the session may be used, from its issue. */
  readonly sessionMs: number;
  /** How often the client must ping when it has nothing else to say; 0: never. */
  readonly heartbeatMs: number;
  /** Largest message that the server takes. */
  readonly messageBytes: number;
  /** Id of this run of the server. */
  readonly serverId: string;
  /** Who is behind the client, where the server has found out. */
  readonly user?: Json;
}

/** A whole state. */
export interface SnapshotFrame {
  readonly type: "snap";
  /** Number that stands for the store on this connection from here on. */
  readonly store: number;
  readonly name: string;
  readonly epoch: string;
  readonly version: number;
  readonly writer: string;
  readonly state: Json;
}

/** Answer to a subscription whose token was proven: exactly what was missed. */
export interface ResumeFrame {
  readonly type: "resume";
  readonly store: number;
  readonly name: string;
  readonly epoch: string;
  /** Version of the token. */
  readonly from: number;
  readonly version: number;
  readonly writer: string;
  readonly patch: Patch;
}

/** Mutations `from + 1` to `version` of a store, in one patch. */
export interface PatchFrame {
  readonly type: "patch";
  readonly store: number;
  readonly from: number;
  readonly version: number;
  /** Present where it differs from the writer of `from`. */
  readonly writer?: string;
  readonly patch: Patch;
}

/** Answer to a call: a value, or an error. */
export interface ResultFrame {
  readonly type: "res";
  readonly id: number;
  readonly value?: Json;
  readonly error?: ErrorBody;
}

/**
 * Comes right before a snap, resume or patch, and says which of the client's own
 * writes and calls that one shows. Sent only to who has asked for it in the hello.
 */
export interface OwnFrame {
  readonly type: "own";
  /** Name of the store. */
  readonly name: string;
  /** Numbers of the calls and writes. */
  readonly calls: readonly number[];
}

/** The store was deleted; its subscription is over. */
export interface DeletedFrame {
  readonly type: "del";
  readonly name: string;
}

/** Place of an event among those that one server has sent since it was started. */
export interface EventOrder {
  /** Id of that run of the server. */
  readonly sender: string;
  /** From 1, growing; those that went to others are left out. */
  readonly number: number;
}

/** An event: at most once, not stored. */
export interface EventFrame {
  readonly type: "evt";
  readonly channel: string;
  readonly data?: Json;
  /**
   * Whoever had this number of that sender, or a greater one, passes the event over:
   * with another server it may come a second time.
   */
  readonly order?: EventOrder;
}

/** Something that the client asked for cannot be done; the connection goes on. */
export interface ErrorFrame {
  readonly type: "err";
  readonly error: ErrorBody;
  /** The store that it concerns: its subscription has failed. */
  readonly name?: string;
}

/** Answer to a ping. */
export interface PongFrame {
  readonly type: "pong";
}

/**
 * Alone in its message: the next messages are no frames but the parts of one
 * message. Sent only to who has asked for it in the hello.
 */
export interface PartsFrame {
  readonly type: "parts";
  /** Length of the whole message; its parts follow until they have that many. */
  readonly bytes: number;
}

/** Any frame that goes to a client. */
export type DownFrame =
  | WelcomeFrame
  | SnapshotFrame
  | ResumeFrame
  | PatchFrame
  | ResultFrame
  | DeletedFrame
  | EventFrame
  | ErrorFrame
  | PongFrame
  | PartsFrame
  | OwnFrame;

/**
 * Close codes of the protocol (RFC 6455, section 7.4: 4000 to 4999 are for
 * applications). What a client does on each stands in `PROTOCOL.md`.
 */
export const CLOSE = {
  /** The server is going away; come back after a random part of the back-off. */
  goingAway: 1001,
  /** A frame could not be decoded, or came out of order. Final. */
  badFrame: 4000,
  /** The server does not speak the client's protocol version. Final. */
  badVersion: 4001,
  /** No hello within the deadline. */
  helloTimeout: 4002,
  /** The user is refused; a page of another origin gets no connection at all. Final. */
  refused: 4003,
  /** A message is over the size limit. Final. */
  tooBig: 4004,
  /** The client sends faster than the server may take. */
  flooding: 4005,
  /** The client does not read fast enough; it is evicted and may come back. */
  tooSlow: 4008,
  /** Nothing was heard for too long. */
  silent: 4009,
  /** The server cannot reach its KV. */
  unavailable: 4012,
  /** The server has no room for another connection. */
  full: 4013,
} as const;

/** One of the codes in {@linkcode CLOSE}. */
export type CloseCode = typeof CLOSE[keyof typeof CLOSE];
