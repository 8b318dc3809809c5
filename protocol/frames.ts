/**
 * The frames that a client and a server exchange, as both ends hold them in
 * memory. `codec.ts` turns them into bytes and back; `PROTOCOL.md` gives the
 * bytes. This module is browser compatible.
 *
 * @module
 */
import type { ErrorBody } from "./errors.ts";
import type { Patch } from "./patch.ts";
import type { Json } from "./value.ts";

/**
 * Version of the wire protocol.
 *
 * - 1: first version. `parts` was added without a new number: it is sent only
 *   to who asks for it in the hello.
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

/** First frame of a connection; sent again to begin a fresh session. */
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
  | PingFrame;

/**
 * Not sent: it stands in for a request that reads well but whose name or
 * arguments are refused. It is answered, by `res` (of an rpc) or by `err`, and
 * the connection goes on.
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

/** The store was deleted; its subscription is over. */
export interface DeletedFrame {
  readonly type: "del";
  readonly name: string;
}

/** An event: at most once, not stored. */
export interface EventFrame {
  readonly type: "evt";
  readonly channel: string;
  readonly data?: Json;
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
  | PartsFrame;

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
  /** The origin or the user is refused. Final. */
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
