/**
 * A store, as its lane sees it.
 *
 * @module
 */
import type { HeadwaterError } from "../../protocol/errors.ts";
import type { StoreCommit } from "./commit.ts";

/** See the module's documentation. */
export interface Participant {
  /** Whether anything waits to be committed. */
  hasWork(): boolean;
  /** Makes sure that the head is known, by reading it and what others committed if need be. */
  refresh(): Promise<void>;
  /** Runs what waits on a working copy; undefined if nothing is left to write. */
  prepare(
    maxBytes: number,
  ): StoreCommit | undefined | Promise<StoreCommit | undefined>;
  /** The commit took effect; `stamp` is the head's, where it is known. */
  committed(commit: StoreCommit, stamp: string | undefined): void;
  /** Someone else moved the head, or it is not known who did. */
  conflicted(): void;
  /** Nothing can be committed now; everything that waits is to be rejected. */
  failed(commit: StoreCommit | undefined, error: HeadwaterError): void;
}
