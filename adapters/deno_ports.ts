/**
 * Everything that Deno supplies to the core.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate } from "node:timers";
import type { Ambient, Clock, Ports, Random } from "../server/ports.ts";
import { openDenoKv } from "./deno_kv.ts";
import { listenDeno, RequestOrigins } from "./deno_listen.ts";
import { upgradeDeno } from "./deno_socket.ts";

/** The ports of a server on Deno. */
export function denoPorts(): Ports {
  const origins = new RequestOrigins();
  return {
    openKv: openDenoKv,
    clock,
    random,
    createAmbient,
    upgrade: (request, accept) =>
      upgradeDeno(request, accept, {
        onOpen: (socket) => origins.track(request, socket),
      }),
    listen: (target, fetch) => listenDeno(target, fetch, origins),
  };
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

function createAmbient(): Ambient {
  const storage = new AsyncLocalStorage<object>();
  return {
    run: (value, run) => storage.run(value, run),
    get: () => storage.getStore(),
  };
}
