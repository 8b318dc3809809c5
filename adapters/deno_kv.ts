/**
 * Opens Deno KV: a file, memory, or a remote KV by KV Connect.
 *
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { checkKvLocation, isKvUrl } from "../server/kv_location.ts";
import type { Kv, OpenedKv } from "../server/ports.ts";
import { RemoteKv } from "./kv_connect/kv.ts";

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
 *   again in the same process, it is the same handle, closed by its last user. On
 *   Deno Deploy, which keeps no files, any path is the app's own KV.
 * - `":memory:"`: empty, private to this call, gone when closed.
 * - An `http:` or `https:` URL: a remote KV by KV Connect; its token is taken
 *   from the environment variable `DENO_KV_ACCESS_TOKEN`. One that cannot be
 *   reached is tried for 5 seconds.
 *
 * @throws {RangeError} if it is none of these.
 * @throws {Error} if it cannot be opened; the message says what was tried.
 */
export async function openDenoKv(location: string): Promise<OpenedKv> {
  if (location === ":memory:") {
    return toOpened(await openHandle(location), { location, isLocal: true });
  }
  checkKvLocation(location, "Cannot open KV: its location");
  if (isKvUrl(location)) {
    return toOpened(await openRemote(location), { location, isLocal: false });
  }
  if (isOnDeploy()) {
    const name = "the KV of Deno Deploy";
    return toOpened(await openOnDeploy(name), {
      location: name,
      isLocal: false,
    });
  }
  const path = await prepareFile(location);
  const file = files.get(path) ??
    { opening: openHandle(path), users: 0 };
  files.set(path, file);
  file.users += 1;
  try {
    const kv = await file.opening;
    const release = () => {
      file.users -= 1;
      if (file.users > 0) return;
      files.delete(path);
      kv.close();
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
  options: { location: string; isLocal: boolean; release?: () => void },
): OpenedKv {
  const { location, isLocal, release = () => kv.close() } = options;
  let isClosed = false;
  return {
    kv,
    isLocal,
    location,
    // Deno throws BadResource on a second close, and a second count-down would
    // take the handle away from another server.
    close() {
      if (!isClosed) {
        isClosed = true;
        release();
      }
      return Promise.resolve();
    },
  };
}

async function openHandle(location: string): Promise<Kv> {
  // It is not there without the flag: "Deno.openKv is not a function" would help nobody.
  if (typeof Deno.openKv !== "function") {
    throw new Error(
      `Cannot open KV "${location}": Deno KV is off; run with --unstable-kv, or put "unstable": ["kv"] into deno.json`,
    );
  }
  try {
    return await Deno.openKv(location);
  } catch (cause) {
    throw new Error(`Cannot open KV "${location}": ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Programs that may not read the variable are not there: it lets them do everything. */
function isOnDeploy(): boolean {
  const variable = "DENO_DEPLOYMENT_ID";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" && Deno.env.has(variable);
}

async function openOnDeploy(name: string): Promise<Kv> {
  try {
    return await Deno.openKv();
  } catch (cause) {
    throw new Error(
      `Cannot open ${name}: ${
        messageOf(cause)
      }; is a database of Deno KV assigned to the app?`,
      { cause },
    );
  }
}

async function openRemote(url: string): Promise<Kv> {
  const startedMs = performance.now();
  try {
    const token = Deno.env.get("DENO_KV_ACCESS_TOKEN");
    if (!token) throw new Error("DENO_KV_ACCESS_TOKEN is not set");
    return await RemoteKv.open(url, { token });
  } catch (cause) {
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    const tried = seconds > 0 ? `, tried for ${seconds} s` : "";
    throw new Error(`Cannot open KV "${url}"${tried}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Makes the folder, and gives the one name under which the file is shared. */
async function prepareFile(location: string): Promise<string> {
  const path = resolve(location);
  const folder = dirname(path);
  try {
    await Deno.mkdir(folder, { recursive: true });
    return await realPathIfAny(path) ??
      join(await Deno.realPath(folder), basename(path));
  } catch (cause) {
    throw new Error(
      `Cannot open KV "${path}": its folder cannot be made: ${
        messageOf(cause)
      }`,
      { cause },
    );
  }
}

async function realPathIfAny(path: string): Promise<string | undefined> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    // Creating the file here instead would be wrong: closing a second
    // descriptor drops the locks that SQLite holds on it in this process.
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
