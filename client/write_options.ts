/**
 * How writes are made, and what they make. This module is browser compatible.
 *
 * @module
 */

/** What a write has made. */
export interface ClientWritten {
  /** Version of the store that contains it. */
  readonly version: number;
}

/** What happens when others have written meanwhile. */
export type WritePolicy = "rebase" | "expectVersion";

/** How a write is made. */
export interface WriteOptions {
  /**
   * What happens if others have written meanwhile.
   *
   * - `"rebase"`: where they wrote to the same place, the write is made again on top.
   * - `"expectVersion"`: it is refused by `conflict`, with the present `{ version }` as
   *   the error's data, and this client has that version already.
   *
   * @default {"rebase"}
   */
  policy?: WritePolicy | undefined;
}

/** How a mutator is run. */
export interface MutateOptions extends WriteOptions {
  /** Full name of the store, where the mutator is for all of a kind, such as `"Room:*"`. */
  store?: string | undefined;
}
