/**
 * Everything that Node supplies to the core.
 *
 * @module
 */
import type { Ports } from "../server/ports.ts";
import { createAmbient } from "./ambient.ts";
import { clock, random } from "./clock.ts";
import { loadPackage } from "./missing_package.ts";
import { lendNodeKv, openNodeKv } from "./node_kv.ts";
import { checkUpgrade, refuse } from "./upgrade_request.ts";
import type { Upgrades } from "./ws_connections.ts";

/** The ports of a server on Node, from 20 on. */
export function nodePorts(): Ports {
  const upgrades: Upgrades = new WeakMap();
  return {
    openKv: openNodeKv,
    lendKv: lendNodeKv,
    clock,
    random,
    createAmbient,
    upgrade: (request, accept) =>
      upgrades.get(request)?.(accept) ?? refuseAnyway(request),
    async listen(target, fetch) {
      const { listenWs } = await loadPackage(
        "ws",
        () => import("./ws_listen.ts"),
      ).catch((cause) => {
        throw new Error(`Cannot listen: ${cause.message}`, { cause });
      });
      return await listenWs(target, fetch, { upgrades });
    },
    async attach(target, fetch) {
      const { attachWs } = await loadPackage(
        "ws",
        () => import("./ws_attach.ts"),
      ).catch((cause) => {
        throw new Error(`Cannot attach: ${cause.message}`, { cause });
      });
      return attachWs(target, fetch, upgrades);
    },
  };
}

/** Node gives no socket to who has but a Request. */
function refuseAnyway(request: Request): Response {
  const checked = checkUpgrade(request);
  return checked instanceof Response
    ? checked
    : refuse(501, "On Node, sockets come by listen() or attach()");
}
