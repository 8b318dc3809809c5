/**
 * Signals that ask a process to end.
 *
 * @module
 */

import process from "node:process";

/** A signal that asks a process to end. */
export type ShutdownSignal = "SIGINT" | "SIGTERM" | "SIGBREAK";

/** What a shell expects of a process that a signal ended: 128 and its number. */
const EXIT_CODES: Readonly<Record<ShutdownSignal, number>> = {
  SIGINT: 130,
  SIGTERM: 143,
  SIGBREAK: 149,
};

/**
 * Calls `run` at the first SIGINT or SIGTERM (SIGBREAK on Windows, which has no
 * SIGTERM). A second signal ends the process at once, so that a shutdown that
 * hangs can still be stopped from the keyboard. Returns its undo.
 */
export function onShutdownSignal(
  run: (signal: ShutdownSignal) => void,
): () => void {
  const signals: ShutdownSignal[] = process.platform === "win32"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM"];
  let isShuttingDown = false;
  const undo = signals.map((signal) => {
    const listener = () => {
      if (isShuttingDown) process.exit(EXIT_CODES[signal]);
      isShuttingDown = true;
      run(signal);
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => undo.forEach((remove) => remove());
}
