/**
 * Everything that Deno supplies to the core.
 *
 * @module
 */
import type { Ports } from "../server/ports.ts";
import { createAmbient } from "./ambient.ts";
import { clock, random } from "./clock.ts";
import { lendKv, openDenoKv } from "./deno_kv.ts";
import { listenDeno, RequestOrigins } from "./deno_listen.ts";
import { upgradeDeno } from "./deno_socket.ts";
import { LooseSockets } from "./loose_sockets.ts";
import type { Upgrades } from "./ws_connections.ts";

/** The ports of a server on Deno. */
export function denoPorts(): Ports {
  const origins = new RequestOrigins();
  const loose = new LooseSockets();
  const upgrades: Upgrades = new WeakMap();
  return {
    openKv: openDenoKv,
    lendKv,
    clock,
    random,
    createAmbient,
    upgrade: (request, accept) =>
      upgrades.get(request)?.(accept) ?? upgradeDeno(request, accept, {
        onOpen: (socket) => {
          if (!origins.track(request, socket)) loose.add(socket);
        },
      }),
    looseSocketsEnded: () => loose.ended(),
    async listen(target, fetch) {
      if (target.transport !== "hardened") {
        return await listenDeno(target, fetch, origins);
      }
      // Loaded only here: `ws` asks for environment variables as it is loaded.
      const { listenWs } = await import("./ws_listen.ts");
      return await listenWs(target, fetch, { upgrades, checkAddress });
    },
    async attach(target, fetch) {
      const { attachWs } = await import("./ws_attach.ts");
      return attachWs(target, fetch, upgrades);
    },
  };
}

async function checkAddress(host: string, port: number): Promise<void> {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { state } = await Deno.permissions.request({
    name: "net",
    host: address,
  });
  if (state !== "granted") {
    throw new Deno.errors.NotCapable(`Requires net access to "${address}"`);
  }
}
