/**
 * Tells that a client's status may be another one. This module is browser compatible.
 *
 * @module
 */
import type { Client } from "../client/mod.ts";

/**
 * Calls `changed` when `client.status` may have changed; returns its undo. A listener
 * of "error" would tell the end of a client sooner, but what other listeners throw
 * would then reach nobody: the client reports it only where nobody listens to that.
 */
export function watchStatus(client: Client, changed: () => void): () => void {
  let isOn = true;
  const look = () => {
    if (isOn) changed();
  };
  // The one way to hear of an end that comes before any welcome.
  const hearOfEnd = () => void client.ready().then(look, look);
  const offs = [
    client.on("connected", look),
    client.on("reconnecting", look),
    client.on("disconnected", () => {
      look();
      hearOfEnd();
    }),
  ];
  hearOfEnd();
  return () => {
    isOn = false;
    for (const off of offs) off();
  };
}
