/**
 * Who listens to what. This module is browser compatible.
 *
 * @module
 */
import { CLIENT_CHANNELS, type ClientChannel } from "../protocol/channels.ts";
import type { ClientEvents } from "./api.ts";

/** A listener of any channel; `on()` has paired its type with the channel. */
type Listener = (data: never) => void;

/** Listeners by channel. One that throws stops neither the others nor the client. */
export class Listeners {
  readonly #byChannel = new Map<string, Set<{ readonly run: Listener }>>();
  readonly #reportError: (error: unknown) => void;

  constructor(reportError: (error: unknown) => void) {
    this.#reportError = reportError;
  }

  /** Adds one; the same function may be added twice. Returns its undo. */
  on(channel: string, run: Listener): () => void {
    const entry = { run };
    const entries = this.#byChannel.get(channel) ?? new Set();
    this.#byChannel.set(channel, entries.add(entry));
    return () => {
      if (
        entries.delete(entry) && entries.size === 0 &&
        this.#byChannel.get(channel) === entries
      ) {
        this.#byChannel.delete(channel);
      }
    };
  }

  /** Fires one of the client's own events. */
  emit<K extends ClientChannel>(channel: K, data: ClientEvents[K]): void {
    this.#fire(channel, data);
  }

  /** Fires an event that the server sent. */
  deliver(channel: string, data: unknown): void {
    // Else a server's event could pass for the client's word about its connection.
    if (!CLIENT_CHANNELS.has(channel)) this.#fire(channel, data);
  }

  /** Runs a listener and sends what it throws to "error". */
  guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#report(error);
    }
  }

  /** Forgets all. */
  clear(): void {
    this.#byChannel.clear();
  }

  #fire(channel: string, data: unknown): void {
    const entries = this.#byChannel.get(channel);
    if (entries === undefined) return;
    for (const entry of [...entries]) {
      if (!entries.has(entry)) continue; // an earlier one has taken it off
      const run = () => entry.run(data as never); // see Listener
      // What a listener of "error" throws must not come back to it.
      if (channel === "error") this.#runLast(run);
      else this.guard(run);
    }
  }

  #report(error: unknown): void {
    if (!this.#byChannel.has("error")) return this.#reportError(error);
    this.emit(
      "error",
      error instanceof Error
        ? error
        : new Error(String(error), { cause: error }),
    );
  }

  #runLast(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#reportError(error);
    }
  }
}
