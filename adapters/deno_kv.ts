/**
 * Opens Deno KV: a file, memory, or a remote KV by KV Connect.
 *
 * @module
 */
import { isKvUrl } from "../server/kv_location.ts";
import type { Kv, OpenedKv } from "../server/ports.ts";
import { createDenoHttpClient } from "./deno_http_client.ts";
import { type KvHost, openKvAt } from "./kv_opening.ts";

/**
 * Opens the KV at `location`, as {@linkcode openKvAt} says. On Deno Deploy, which keeps no
 * files, any path is the app's own KV.
 */
export async function openDenoKv(location: string): Promise<OpenedKv> {
  const isPath = location !== ":memory:" && !isKvUrl(location);
  return isPath && isOnDeploy()
    ? await openOnDeploy()
    : await openKvAt(location, HOST);
}

/** Programs that may not read the variable are not there: it lets them do everything. */
function isOnDeploy(): boolean {
  const variable = "DENO_DEPLOYMENT_ID";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" && Deno.env.has(variable);
}

async function openOnDeploy(): Promise<OpenedKv> {
  try {
    const kv = await Deno.openKv();
    let isClosed = false;
    return {
      kv,
      isLocal: false,
      location: "the KV of Deno Deploy",
      close() {
        // Deno throws BadResource on a second close.
        if (!isClosed) kv.close();
        isClosed = true;
        return Promise.resolve();
      },
    };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot open the KV of Deno Deploy: ${reason}; is a database of Deno KV assigned to the app?`,
      { cause },
    );
  }
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
