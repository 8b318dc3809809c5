/**
 * Tells that a client's status is another one. This module is browser compatible.
 *
 * @module
 */
import type { Client } from "../client/mod.ts";

/** Calls `changed` when `client.status` has changed; returns its undo. */
export function watchStatus(client: Client, changed: () => void): () => void {
  return client.on("status", () => changed());
}
