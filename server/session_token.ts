/**
 * The signed text by which a client proves that a session is its own.
 *
 * @module
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { toText } from "./log/ids.ts";

/** Parts of a token that belongs to a principal, and which of them says so. */
const OWNED_PARTS = 5;
const OWNER_PART = 3;

/** What a token says. */
export interface SessionFields {
  readonly id: string;
  readonly clientId: string;
  readonly issuedAtMs: number;
}

/** With what tokens are signed. */
export interface TokenKey {
  readonly secret: Uint8Array;
  /** Stands for whom the session belongs to; "" for nobody that is known. */
  readonly owner: string;
}

/** What stands for a principal in a token, and tells nothing of it. */
export function ownerOf(principal: string, secret: Uint8Array): string {
  return deriveToken(secret, `principal.${principal}`);
}

/** The token of a session. */
export function signToken(
  { clientId, id, issuedAtMs }: SessionFields,
  { secret, owner }: TokenKey,
): string {
  const parts = [clientId, id, issuedAtMs.toString(36)];
  if (owner !== "") parts.push(owner);
  const text = parts.join(".");
  return `${text}.${toText(mac(secret, `session.${text}`))}`;
}

/** What a token says, if it was signed so. */
export function verifyToken(
  token: string,
  key: TokenKey,
): SessionFields | undefined {
  const [clientId = "", id = "", issued = ""] = token.split(".");
  const issuedAtMs = Number.parseInt(issued, 36);
  if (!Number.isSafeInteger(issuedAtMs)) return undefined;
  const fields = { id, clientId, issuedAtMs };
  // The signed text is made anew, so there is one token for each session.
  return isEqual(signToken(fields, key), token) ? fields : undefined;
}

/** What stands for the owner in a token, whether that is signed or not. */
export function ownerIn(token: string): string {
  const parts = token.split(".");
  return (parts.length === OWNED_PARTS ? parts[OWNER_PART] : undefined) ?? "";
}

/** An id that nobody can guess who has not the secret. */
export function deriveToken(secret: Uint8Array, of: string): string {
  return toText(mac(secret, of).subarray(0, 12));
}

/** HMAC-SHA-256 (RFC 2104). */
function mac(secret: Uint8Array, text: string): Uint8Array {
  return hmac(sha256, secret, new TextEncoder().encode(text));
}

/** Compares in a time that does not tell how much is right. */
function isEqual(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) {
    difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  }
  return difference === 0;
}
