/**
 * The KV holds another past than was shown, or so a client claims: the store goes
 * on in a new epoch. Until that is committed, subscribers stay where they are.
 *
 * @module
 */
import type { Clock } from "../ports.ts";

/**
 * Clients that claim to be ahead can make a store begin a new epoch so often, and
 * not more: the claim can be false.
 */
const CLAIM_GAP_MS = 10_000;

/** Whether a store has to begin a new epoch. */
export class Fork {
  readonly #clock: Clock;
  readonly #commit: () => void;
  #pending: PromiseWithResolvers<void> | undefined;
  #claimedAtMs = -Infinity;

  /** No fork yet; `commit` asks for the commit that begins the new epoch. */
  constructor(clock: Clock, commit: () => void) {
    this.#clock = clock;
    this.#commit = commit;
  }

  /** Whether the next commit has to begin a new epoch. */
  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** Resolves when the fork that is pending is settled. */
  get settled(): Promise<void> | undefined {
    return this.#pending?.promise;
  }

  /** Asks for a new epoch. */
  begin(): void {
    this.#pending ??= Promise.withResolvers();
    this.#commit();
  }

  /** Asks for one because of what a client claims; false where that was done a moment ago. */
  beginClaimed(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#claimedAtMs < CLAIM_GAP_MS) return false;
    this.#claimedAtMs = now;
    this.begin();
    return true;
  }

  /** Subscribers were told where the store goes on, or that it has ended. */
  settle(): void {
    this.#pending?.resolve();
    this.#pending = undefined;
  }
}
