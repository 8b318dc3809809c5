/**
 * After a commit whose outcome is not known the store may be behind what the KV
 * holds, or fall behind later, when the commit lands after all. Nobody else tells
 * it: its own feed is not read. So it commits once more, without a change: before
 * that it reads the head, and after it the lost commit can never land.
 *
 * @module
 */
import type { Clock, Timer } from "../ports.ts";

/** Time between the tries to settle it. */
const SETTLE_MS = 500;

/** See the module's documentation. */
export class Doubt {
  readonly #clock: Clock;
  readonly #look: () => Promise<void>;
  readonly #commit: () => void;
  #timer: Timer | undefined;
  #isDue = false;
  #isClosed = false;

  /** No doubt yet; `look` reads the head, `commit` asks for the commit that settles it. */
  constructor(
    clock: Clock,
    { look, commit }: { look: () => Promise<void>; commit: () => void },
  ) {
    this.#clock = clock;
    this.#look = look;
    this.#commit = commit;
  }

  /** Whether the commit that settles it is to be made now. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** Whether a commit's outcome is not known yet: a store that was loaded anew would not learn of it. */
  get isPending(): boolean {
    return this.#timer !== undefined || this.#isDue;
  }

  /** A commit's outcome is not known, or that of settling it. */
  begin(): void {
    if (this.#isClosed) return;
    this.end();
    const timer = this.#timer = this.#clock.setTimer(SETTLE_MS, () => {
      // Looked at first, outside of the lane: while the KV is gone, a commit would only keep
      // those waiting who are to be told so.
      this.#look().then(() => {
        if (this.#timer !== timer) return;
        this.#isDue = true;
        this.#commit();
      }, () => {
        if (this.#timer === timer) this.begin();
      });
    });
  }

  /** Nothing is to be settled any more: a KV that stays gone must not keep a close waiting. */
  close(): void {
    this.end();
    this.#isClosed = true;
  }

  /** A later commit took effect, or there is nothing to settle any more. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#isDue = false;
  }
}
