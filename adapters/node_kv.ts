/**
 * Opens a KV on Node: a file or memory by `@deno/kv`, a remote one by KV Connect.
 *
 * @module
 */
import { mkdir, realpath } from "node:fs/promises";
import process from "node:process";
import type { Kv, OpenedKv } from "../server/ports.ts";
import type { HttpClient } from "./kv_connect/endpoint.ts";
import { type KvHost, openKvAt } from "./kv_opening.ts";
import { loadPackage } from "./missing_package.ts";
import { type Napi, NapiKv } from "./napi_kv.ts";

/** Opens the KV at `location`, as {@linkcode openKvAt} says. */
export async function openNodeKv(location: string): Promise<OpenedKv> {
  return await openKvAt(location, HOST);
}

/**
 * Makes a KV that the application has opened fit for a server, which does not close
 * it: one of `@deno/kv` is used by its native part, whose watches can be ended.
 */
export function lendNodeKv(kv: Kv): OpenedKv {
  const native = nativeOf(kv);
  return {
    kv: native ?? kv,
    isLocal: native !== undefined,
    location: "a KV that was opened by the application",
    close: async () => await native?.endWatches(),
  };
}

const HOST: KvHost = {
  openLocal,
  // All that openLocal() gives is one of these.
  closeLocal: (kv) => (kv as NapiKv).closed(),
  createHttpClient,
  variable: (name) => process.env[name],
  makeFolder: async (path) => void await mkdir(path, { recursive: true }),
  realPath,
};

async function openLocal(location: string): Promise<NapiKv> {
  const { openKv } = await loadPackage("@deno/kv", () => import("@deno/kv"));
  const native = nativeOf(await openKv(location));
  if (native) return native;
  throw new Error("@deno/kv has no native part here; it takes version 0.14");
}

/** The native part of a KV that `@deno/kv` has opened, if it is one. */
function nativeOf(kv: object): NapiKv | undefined {
  if (!("napi" in kv && "dbId" in kv && typeof kv.dbId === "number")) return;
  return new NapiKv(kv.napi as Napi, kv.dbId); // nothing else has both
}

/** Node's own never sends a POST again, and lets go of idle connections by itself. */
function createHttpClient(): HttpClient {
  return {
    fetch: (url, init) => fetch(url, init),
    close() {},
  };
}

async function realPath(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error &&
      error.code === "ENOENT";
    if (isAbsent) return undefined;
    throw error;
  }
}
