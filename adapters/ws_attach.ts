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
/** The path that they take sockets to. */
const PATH = Symbol.for("headwater.attached.path");

/** A listener of "upgrade" that says which requests are its own. */
interface UpgradeListener {
  (incoming: IncomingMessage, tcp: Duplex, head: Buffer): void;
  readonly [TAKES]: (incoming: IncomingMessage) => boolean;
  readonly [PATH]: string | undefined;
}

/**
 * Takes the upgrade requests to a path (any, where there is none) of `target.server`.
 * Those to another path are for whoever else listens to them; where nobody does, they
 * are answered 404.
 *
 * @throws {TypeError} if sockets to that path are taken already by another attachment.
 */
export function attachWs(
  { server, path, limits }: AttachTarget,
  fetch: HostFetch,
  upgrades: Upgrades,
): Attachment {
  refuseTaken(server, path);
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
      connections.upgrade({ incoming, tcp, head }, schemeOf(tcp))
        // Another listener of the application's has taken the same socket, and has it.
        .catch(() => {});
    },
    { [TAKES]: takes, [PATH]: path },
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

/** Two that took one socket would both answer it, which `ws` refuses by an exception. */
function refuseTaken(server: AttachTarget["server"], path: string | undefined) {
  const isTaken = server.listeners("upgrade").some((listener) => {
    if (!(PATH in listener)) return false;
    const taken = (listener as UpgradeListener)[PATH];
    return taken === undefined || path === undefined || taken === path;
  });
  if (!isTaken) return;
  throw new TypeError(
    `Cannot attach: sockets to ${
      path === undefined ? "some paths" : `"${path}"`
    } of that HTTP server are taken by another attach(); give each a path of its own`,
  );
}

function pathOf({ url = "/" }: IncomingMessage): string | undefined {
  return URL.canParse(url, "http://localhost")
    ? new URL(url, "http://localhost").pathname
    : undefined;
}

function schemeOf(tcp: HandedOver["tcp"]): "http" | "https" {
  return "encrypted" in tcp ? "https" : "http";
}
