/**
 * An event on its way to other servers: who it is for, and its bytes in a slot.
 *
 * @module
 */
import { encodeJson } from "../../protocol/codec.ts";
import type { Json } from "../../protocol/value.ts";
import {
  decodeRecord,
  encodeRecord,
  fields,
  list,
  text,
  uint,
} from "./record.ts";

/** Whom an event is for: who fits all that is given. */
export interface EventAudience {
  readonly clientId?: string;
  readonly userId?: string;
  /** Full name of a store: those that are subscribed to it. */
  readonly store?: string;
  /** Clients that do not get it. */
  readonly except?: readonly string[];
}

/** One event, as it was sent. */
export interface SentEvent {
  readonly namespace: string;
  readonly channel: string;
  readonly data?: Json;
  /** Its number among those of its sender. */
  readonly number: number;
  readonly audience: EventAudience;
}

/** Encodes an event. */
export function encodeEvent(event: SentEvent): Uint8Array<ArrayBuffer> {
  const { namespace, channel, data, number, audience } = event;
  return encodeJson({
    s: namespace,
    c: channel,
    i: number,
    a: toAudienceRecord(audience),
    ...(data !== undefined && { x: data }),
  });
}

/** Decodes an event. */
export function decodeEvent(bytes: Uint8Array): SentEvent {
  const { s, c, i, a, x } = decodeRecord(bytes, "event");
  return {
    namespace: text(s),
    channel: text(c),
    number: uint(i),
    audience: toAudience(fields(a, "event")),
    ...(x !== undefined && { data: x }),
  };
}

/** The record of an event feed's newest slot; marked, since a gap in it means no store was missed. */
export function encodeFeedHead(slot: number): Uint8Array<ArrayBuffer> {
  return encodeRecord({ s: slot, e: true });
}

/** What the record of a feed's newest slot says. */
export function decodeFeedHead(
  value: unknown,
): { slot: number; hasEvents: boolean } {
  const { s, e } = decodeRecord(value, "feed");
  return { slot: Number(s), hasEvents: e === true };
}

function toAudienceRecord(audience: EventAudience): { [key: string]: Json } {
  const { clientId, userId, store, except } = audience;
  return {
    ...(clientId !== undefined && { c: clientId }),
    ...(userId !== undefined && { u: userId }),
    ...(store !== undefined && { n: store }),
    ...(except !== undefined && { x: except }),
  };
}

function toAudience(
  { c, u, n, x }: { readonly [key: string]: Json },
): EventAudience {
  return {
    ...(c !== undefined && { clientId: text(c) }),
    ...(u !== undefined && { userId: text(u) }),
    ...(n !== undefined && { store: text(n) }),
    ...(x !== undefined && { except: list(x).map(text) }),
  };
}
