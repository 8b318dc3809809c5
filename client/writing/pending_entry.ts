/**
 * One write or guess, and what becomes of it on a state. This module is browser
 * compatible.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { ClientWrite } from "../../protocol/frames.ts";
import { applyPatch, type Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import type { PendingRequest } from "../request.ts";
import { lostRecipe, meansTheSame } from "./kept_patch.ts";

/** What a write or a guess makes of a state. */
export interface Step {
  /** The state with it; frozen. */
  readonly state: Json;
  /** What it changed. */
  readonly patch: Patch;
}

/** A mutator, and what it is called with: what the server is told in place of a patch. */
export interface NamedStep {
  /** Its name in the contract. */
  readonly mutator: string;
  /** What its ids begin with. */
  readonly seed: string;
  /** What it is called with. */
  readonly args?: Json;
}

/** One write or guess, from when it is made until the server's state contains it. */
export class PendingEntry {
  /** What it does; may run again, on a newer state. */
  readonly make: (state: Json) => Step;
  /** Whether it is a guess at what a call does: the server is not sent it. */
  readonly isGuess: boolean;
  /** Present where the server is to run a mutator. */
  readonly named: NamedStep | undefined;
  /** Whether its recipe is gone: it is what it was, or cannot be made. */
  readonly isFixed: boolean;
  /** What it belongs to, once that is queued. */
  request: PendingRequest | undefined;
  /** The state that it was made on last. */
  before: Json | undefined;
  /** What it changes as things are; undefined where it cannot be made. */
  patch: Patch | undefined;
  /** Whether its patch may not mean any more what it meant. */
  isStale = false;
  /** Why it cannot be made. */
  error: Error | undefined;
  /** What the server was sent, and has not refused. */
  sent: ClientWrite | undefined;
  /** Whether the server's state contains it. */
  hasLanded = false;
  /** Whether others have written since it was made. */
  isBeaten = false;

  constructor(
    make: (state: Json) => Step,
    { isGuess = false, isFixed = false, named }: {
      isGuess?: boolean;
      isFixed?: boolean;
      named?: NamedStep | undefined;
    } = {},
  ) {
    this.make = make;
    this.isGuess = isGuess;
    this.isFixed = isFixed;
    this.named = named;
  }
}

/** The entry of a write of which nothing but the patch is left. */
export function fixedEntry(patch: Patch): PendingEntry {
  const entry = new PendingEntry((state) => patched(state, patch), {
    isFixed: true,
  });
  entry.patch = patch;
  return entry;
}

function patched(state: Json, patch: Patch): Step {
  return { state: applyPatch(state, patch, { freeze: true }), patch };
}

/** The step of an entry that cannot be made anew, where it means what it meant. */
export function tryKeep(entry: PendingEntry, state: Json): Step | undefined {
  const { patch, before = state } = entry;
  const fits = patch &&
    (before === state || meansTheSame(patch, before, state));
  const step = fits ? tryApply(state, patch) : undefined;
  if (!step) entry.error = lostRecipe();
  return step;
}

/** The step of a patch on a state, where it fits. */
export function tryApply(state: Json, patch: Patch): Step | undefined {
  try {
    return patched(state, patch);
  } catch (error) {
    if (error instanceof HeadwaterError) return undefined;
    throw error;
  }
}

/** The step of an entry made anew; where it cannot be, the entry has the error. */
export function tryMake(entry: PendingEntry, state: Json): Step | undefined {
  entry.error = undefined;
  try {
    return entry.make(state);
  } catch (error) {
    // It is the user's code, and may throw anything.
    entry.error = error instanceof Error ? error : new Error(String(error));
    return undefined;
  }
}
