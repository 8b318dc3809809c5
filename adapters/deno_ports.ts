/**
 * Everything that Deno supplies to the core.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Ports, Random } from "../server/ports.ts";
import { createAmbient } from "./ambient.ts";
import { openDenoKv } from "./deno_kv.ts";
import { listenDeno, RequestOrigins } from "./deno_listen.ts";
import { upgradeDeno } from "./deno_socket.ts";
import { LooseSockets } from "./loose_sockets.ts";
import type { Upgrades } from "./ws_listen.ts";

/** The ports of a server on Deno. */
export function denoPorts(): Ports {
  const origins = new RequestOrigins();
  const loose = new LooseSockets();
  const upgrades: Upgrades = new WeakMap();
  return {
    openKv: openDenoKv,
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

/** Longer delays run at once: a timer counts in 32 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, run) {
    let id: ReturnType<typeof setTimeout>;
    const arm = (leftMs: number) => {
      const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
      id = setTimeout(
        leftMs > stepMs ? () => arm(leftMs - stepMs) : run,
        stepMs,
      );
    };
    arm(ms);
    return { cancel: () => clearTimeout(id) };
  },
  // A timer of 0 ms comes a millisecond late; a microtask comes before the
  // messages that are already there.
  defer: (run) => void setImmediate(run),
};

const random: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  float: () => Math.random(),
};
