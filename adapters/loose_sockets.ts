/**
 * Sockets that no listener of ours owns: their requests came by `Server.fetch`.
 *
 * @module
 */
import type { TrackedSocket } from "./deno_socket.ts";

/** How long sockets may take to end once they were told to. */
const GRACE_MS = 2_000;

/** See the module's documentation. */
export class LooseSockets {
  readonly #ends = new Set<Promise<void>>();

  /** Counts an open socket until it has ended. */
  add({ gone }: TrackedSocket): void {
    this.#ends.add(gone);
    void gone.then(() => this.#ends.delete(gone));
  }

  /**
   * Resolves when those that are open now have ended: a process that exits before
   * takes its close codes with it. Gives up after 2 seconds: the socket of a peer
   * that stalls ends when TCP does.
   */
  async ended(): Promise<void> {
    const { promise: tooLate, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GRACE_MS);
    await Promise.race([Promise.all(this.#ends), tooLate]);
    clearTimeout(timer);
  }
}
