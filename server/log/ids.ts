/**
 * Random identifiers.
 *
 * @module
 */
import type { Random } from "../ports.ts";

/** Bytes as base64url without padding (RFC 4648, section 5). */
export function toText(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** An identifier of 72 random bits in 12 characters: epochs, writers, blobs, feeds. */
export function newId(random: Random): string {
  return toText(random.bytes(9));
}
