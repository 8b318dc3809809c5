/**
 * The part of the client that writes, loaded apart: drafts, what is pending, undo,
 * mutators, guesses, and what is kept over a reload. This module is browser compatible.
 *
 * @module
 */
import type { Writing, WritingOwner } from "../writing_port.ts";
import { Writes } from "./writes.ts";

/** Begins, where nothing was written yet. */
export function startWriting(owner: WritingOwner): Writing {
  return new Writes(owner);
}
