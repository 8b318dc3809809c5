/**
 * Who writes to a store, and what the rules of a store are asked with.
 *
 * @module
 */
import type { Json } from "../../protocol/value.ts";

/** Who makes a write: a client, or the server itself. */
export interface Writer {
  /** The client; absent where the server writes by itself. */
  readonly clientId?: string;
  /** The user behind the client; null where nobody is known. */
  readonly user: Json;
}

/** The server itself. */
export const SERVER_WRITER: Writer = { user: null };

/** Who asks for what: what the rules of a store decide by. */
export interface AccessContext {
  /** The user behind the client, as `authenticate` has given it; null where there is none. */
  readonly user: Json;
  /** The client. */
  readonly clientId: string;
  /** The namespace of the store. */
  readonly namespace: string;
  /** Full name of the store. */
  readonly name: string;
  /** Key of the store; null for a static one. */
  readonly key: string | null;
}
