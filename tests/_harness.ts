/**
 * Tools for tests: places, a proxy that fails rudely, a client that can be
 * scripted frame by frame, fresh processes. Whatever is started here ends with
 * `await using`.
 *
 * @module
 */
import { join } from "node:path";

export { FreshProcess, freshProcess } from "./_fresh_process.ts";
export {
  type DownFrameOf,
  RawClient,
  type RawClientOptions,
  type RawMessage,
} from "./_raw_client.ts";
export { startProxy, TcpProxy } from "./_tcp_proxy.ts";
export { until, type UntilOptions, within } from "./_waiting.ts";

/** A folder that is removed at the end. */
export async function tempDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "headwater_" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A path for a KV file, in a folder that is removed at the end. */
export async function tempKvPath(): Promise<
  { path: string } & AsyncDisposable
> {
  const folder = await tempDir();
  return { ...folder, path: join(folder.path, "state.db") };
}
