/**
 * What a client needs of a place that outlives its page. This module is browser
 * compatible.
 *
 * @module
 */

/**
 * Where a client keeps what a reload must not lose: the option `storage`. It holds
 * texts by key, for one server and one user: who else may read it sees all of it.
 *
 * - Every promise rejects where the storage fails, or has gone. The client then says
 *   so by `error`, once, and goes on without.
 * - Calls take effect in the order in which they are made.
 * - Several clients may have it open at once, as tabs do: all of them load, and only
 *   who has the lock saves.
 */
export interface ClientStorage {
  /** How much the client may keep: texts and keys, two bytes for each UTF-16 unit. */
  readonly maxBytes: number;
  /** All records, as one moment had them. */
  load(): Promise<ReadonlyMap<string, string>>;
  /**
   * Puts records in the place of those with the same keys, and deletes those that are
   * undefined: all of them, or none, also where the page ends meanwhile. Resolves when
   * a reload can not lose it any more.
   */
  save(changes: ReadonlyMap<string, string | undefined>): Promise<void>;
  /**
   * Waits for the lock of that name and resolves with its release. One client at a
   * time has it; those that wait get it in their turn, when it is released or its
   * page has gone. `signal` ends the waiting, which then rejects.
   */
  lock(name: string, signal: AbortSignal): Promise<() => void>;
  /**
   * Deletes everything, as when the user logs out. For when no client works on it:
   * call `client.destroy()` first.
   */
  clear(): Promise<void>;
}
