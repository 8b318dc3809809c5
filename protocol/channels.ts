/**
 * Channels that are not a server's to use. This module is browser compatible.
 *
 * @module
 */

/** What a client tells about itself; an event of the server of such a name is not delivered. */
export type ClientChannel =
  | "status"
  | "connected"
  | "disconnected"
  | "reconnecting"
  | "error"
  | "storeDeleted";

/** The same, to look up. */
export const CLIENT_CHANNELS: ReadonlySet<string> = new Set<ClientChannel>([
  "status",
  "connected",
  "disconnected",
  "reconnecting",
  "error",
  "storeDeleted",
]);
