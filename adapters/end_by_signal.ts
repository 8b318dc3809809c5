/**
 * The end of a process that a signal asks to end.
 *
 * @module
 */
import process from "node:process";
import { onShutdownSignal } from "./signals.ts";

/** How long an end may take: Deno Deploy kills 5 seconds after it has asked. */
const END_MS = 4_500;

/**
 * At the first SIGINT or SIGTERM, calls `close` and exits when it is through, or
 * after 4.5 seconds: a KV that does not answer, or a peer that takes nothing, would
 * else keep the process. Returns its undo.
 */
export function endBySignal(close: () => Promise<void>): () => void {
  return onShutdownSignal(() => {
    setTimeout(() => process.exit(), END_MS);
    void close().finally(() => process.exit());
  });
}
