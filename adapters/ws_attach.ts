/**
 * Puts the sockets of `ws` beside an HTTP API, on a server of `node:http` that is
 * somebody else's.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Attachment, AttachTarget, HostFetch } from "../server/ports.ts";
import { type Upgrades, WsConnections } from "./ws_connections.ts";
import type { HandedOver } from "./ws_socket.ts";

/** Marks our listeners among those of a server. */
const TAKES = Symbol.for("headwater.attached.takes");

/** A listener of "upgrade" that says which requests are its own. */
interface UpgradeListener {
  (incoming: IncomingMessage, tcp: Duplex, head: Buffer): void;
  readonly [TAKES]: (incoming: IncomingMessage) => boolean;
}

/**
 * Takes the upgrade requests to a path (any, where there is none) of `target.server`.
 * Those to another path are for whoever else listens to them; where nobody does, they
 * are answered 404.
 */
export function attachWs(
  { server, path, limits }: AttachTarget,
  fetch: HostFetch,
  upgrades: Upgrades,
): Attachment {
  const { messageBytes } = limits;
  const connections = new WsConnections({
    fetch,
    upgrades,
    messageBytes,
    awaitsRequests: false,
  });
  const takes = (incoming: IncomingMessage) =>
    path === undefined || pathOf(incoming) === path;
  const onUpgrade: UpgradeListener = Object.assign(
    (...[incoming, tcp, head]: Parameters<UpgradeListener>) => {
      if (!takes(incoming) && !isUnclaimed(incoming)) return;
      void connections.upgrade({ incoming, tcp, head }, schemeOf(tcp));
    },
    { [TAKES]: takes },
  );
  /** Whether nobody takes it, and it is ours to say so: the first of those that are attached. */
  const isUnclaimed = (incoming: IncomingMessage) => {
    const listeners = server.listeners("upgrade");
    return listeners[0] === onUpgrade &&
      listeners.every((listener) =>
        TAKES in listener && !(listener as UpgradeListener)[TAKES](incoming)
      );
  };
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) =>
    connections.count(incoming, outgoing);
  server.on("upgrade", onUpgrade);
  server.on("request", onRequest);
  return {
    async close() {
      server.off("upgrade", onUpgrade);
      server.off("request", onRequest);
      await connections.close();
    },
  };
}

function pathOf({ url = "/" }: IncomingMessage): string | undefined {
  return URL.canParse(url, "http://localhost")
    ? new URL(url, "http://localhost").pathname
    : undefined;
}

function schemeOf(tcp: HandedOver["tcp"]): "http" | "https" {
  return "encrypted" in tcp ? "https" : "http";
}
