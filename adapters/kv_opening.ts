/**
 * Opens a KV by its location, whatever the runtime: a file, memory, or a remote
 * KV by KV Connect.
 *
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { checkKvLocation, isKvUrl } from "../server/kv_location.ts";
import type { Kv, OpenedKv } from "../server/ports.ts";
import type { HttpClient } from "./kv_connect/endpoint.ts";
import { RemoteKv } from "./kv_connect/kv.ts";

/** What the runtime does of it. */
export interface KvHost {
  /** Opens a file by its path, or `":memory:"`. */
  openLocal(location: string): Promise<Kv>;
  /** Closes what {@linkcode KvHost.openLocal} has opened. */
  closeLocal(kv: Kv): Promise<void>;
  /** Makes the connections to a remote KV. */
  readonly createHttpClient: () => HttpClient;
  /** The value of a variable of the environment. */
  variable(name: string): string | undefined;
  /** Makes a folder, and those above it, where they are missing. */
  makeFolder(path: string): Promise<void>;
  /** The one true name of a file or folder; undefined if there is none. */
  realPath(path: string): Promise<string | undefined>;
}

/** One open file, and how many still use it. */
interface SharedFile {
  readonly opening: Promise<Kv>;
  users: number;
}

// A second handle on the same SQLite file makes a third of all commits fail
// with "database is locked", so all servers of a process share one.
const files = new Map<string, SharedFile>();

/**
 * Opens the KV at `location`.
 *
 * - A path: a SQLite file, made with its folder if it is not there. Opened
 *   again in the same process, it is the same handle, closed by its last user.
 * - `":memory:"`: empty, private to this call, gone when closed.
 * - An `http:` or `https:` URL: a remote KV by KV Connect; its token is taken
 *   from the environment variable `DENO_KV_ACCESS_TOKEN`. One that cannot be
 *   reached is tried for 5 seconds.
 *
 * @throws {RangeError} if it is none of these.
 * @throws {Error} if it cannot be opened; the message says what was tried.
 */
export async function openKvAt(
  location: string,
  host: KvHost,
): Promise<OpenedKv> {
  if (location === ":memory:") {
    const kv = await openLocal(location, host);
    const release = () => host.closeLocal(kv);
    return toOpened(kv, { location, isLocal: true, release });
  }
  checkKvLocation(location, "Cannot open KV: its location");
  if (isKvUrl(location)) {
    const kv = await openRemote(location, host);
    const release = () => Promise.resolve(kv.close());
    return toOpened(kv, { location, isLocal: false, release });
  }
  const path = await prepareFile(location, host);
  const file = files.get(path) ??
    { opening: openLocal(path, host), users: 0 };
  files.set(path, file);
  file.users += 1;
  try {
    const kv = await file.opening;
    const release = async () => {
      file.users -= 1;
      if (file.users > 0) return;
      files.delete(path);
      await host.closeLocal(kv);
    };
    return toOpened(kv, { location: path, isLocal: true, release });
  } catch (error) {
    // Else one failure, say of a full disk, would be remembered for ever.
    if (files.get(path) === file) files.delete(path);
    throw error;
  }
}

function toOpened(
  kv: Kv,
  options: {
    location: string;
    isLocal: boolean;
    release: () => Promise<void>;
  },
): OpenedKv {
  const { location, isLocal, release } = options;
  let closing: Promise<void> | undefined;
  // Deno throws BadResource on a second close, and a second count-down would
  // take the handle away from another server.
  return { kv, isLocal, location, close: () => closing ??= release() };
}

async function openLocal(location: string, host: KvHost): Promise<Kv> {
  try {
    return await host.openLocal(location);
  } catch (cause) {
    throw new Error(`Cannot open KV "${location}": ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function openRemote(url: string, host: KvHost): Promise<Kv> {
  const { createHttpClient: createClient } = host;
  const startedMs = performance.now();
  try {
    const token = host.variable("DENO_KV_ACCESS_TOKEN");
    if (!token) throw new Error("DENO_KV_ACCESS_TOKEN is not set");
    return await RemoteKv.open(url, { token, createClient });
  } catch (cause) {
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    const tried = seconds > 0 ? `, tried for ${seconds} s` : "";
    throw new Error(`Cannot open KV "${url}"${tried}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Makes the folder, and gives the one name under which the file is shared. */
async function prepareFile(location: string, host: KvHost): Promise<string> {
  const path = resolve(location);
  const folder = dirname(path);
  try {
    await host.makeFolder(folder);
    // Creating the file here instead would be wrong: closing a second
    // descriptor drops the locks that SQLite holds on it in this process.
    return await host.realPath(path) ??
      join(await host.realPath(folder) ?? folder, basename(path));
  } catch (cause) {
    throw new Error(
      `Cannot open KV "${path}": its folder cannot be made: ${
        messageOf(cause)
      }`,
      { cause },
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
