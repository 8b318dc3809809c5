/**
 * Opens Deno KV: a file, memory, or a remote KV by KV Connect.
 *
 * @module
 */
import type { Kv, OpenedKv } from "../server/ports.ts";
import { createDenoHttpClient } from "./deno_http_client.ts";
import { type KvHost, openKvAt } from "./kv_opening.ts";

/** Opens the KV at `location`, as {@linkcode openKvAt} says. */
export async function openDenoKv(location: string): Promise<OpenedKv> {
  return await openKvAt(location, HOST);
}

/** Lends a server a KV that the application has opened, and that stays its owner's. */
export function lendKv(kv: Kv): OpenedKv {
  return {
    kv,
    // Not known; what is good for one that is far away does a near one little harm.
    isLocal: false,
    location: "a KV that was opened by the application",
    close: () => Promise.resolve(),
  };
}

const HOST: KvHost = {
  openLocal,
  closeLocal: (kv) => Promise.resolve(kv.close()),
  createHttpClient: createDenoHttpClient,
  variable: (name) => Deno.env.get(name),
  makeFolder: (path) => Deno.mkdir(path, { recursive: true }),
  realPath,
};

async function openLocal(location: string): Promise<Kv> {
  // It is not there without the flag: "Deno.openKv is not a function" would help nobody.
  if (typeof Deno.openKv !== "function") {
    throw new Error(
      'Deno KV is off; run with --unstable-kv, or put "unstable": ["kv"] into deno.json',
    );
  }
  return await Deno.openKv(location);
}

async function realPath(path: string): Promise<string | undefined> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
