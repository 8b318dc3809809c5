/**
 * Where a KV may be.
 *
 * @module
 */
import { shown } from "../protocol/shown.ts";

/** Whether it is the URL of a remote KV. */
export function isKvUrl(location: string): boolean {
  return /^https?:\/\//i.test(location);
}

/**
 * Refuses what is neither a path, `":memory:"` nor the URL of a remote KV; `what`
 * completes "… must be a path".
 *
 * @throws {RangeError} if it is something else. Else `redis://host` would be made, as a
 * file in a folder `redis:`.
 */
export function checkKvLocation(location: string, what: string): void {
  const hasScheme = /^[a-z][a-z\d+.-]+:\/\//i.test(location);
  const isUsable = isKvUrl(location)
    ? URL.canParse(location)
    : location.trim() !== "" && !hasScheme && !location.includes("\0");
  if (isUsable) return;
  throw new RangeError(
    `${what} must be a path, ":memory:" or an http(s) URL, found ${
      shown(location)
    }`,
  );
}
