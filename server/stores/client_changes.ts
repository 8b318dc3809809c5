/**
 * What the writes of clients do to a store: patches, which hold only where they
 * still mean what they meant, and mutators, which run on whatever there is.
 *
 * @module
 */
import type { AnyMutator, MutatorContext } from "../../protocol/contract.ts";
import { runRecipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { ClientWrite, PatchWrite } from "../../protocol/frames.ts";
import { firstTouched } from "../../protocol/overlap.ts";
import { applyPatch, type Patch } from "../../protocol/patch.ts";
import type { Json } from "../../protocol/value.ts";
import { runApplication } from "../application_error.ts";
import type { Origin } from "../log/mutation.ts";
import type { ChangeContext, Changer, RecentMutation } from "./change.ts";

/** How a write is to be taken. */
export interface WriteTerms {
  readonly origin: Origin;
  /** Nobody else may have written since. */
  readonly isExact: boolean;
}

/** The change that a client has sent as a patch. */
export function patchChange(write: PatchWrite, terms: WriteTerms): Changer {
  const { name, patch } = write;
  return (state, context) => {
    const later = laterThan(write, terms.origin, context);
    const fits = later &&
      (terms.isExact ? later.foreign.length === 0 : isUntouched(patch, later));
    if (!fits) throw misfit(name, context, terms);
    const next = tryApply(state, patch);
    // What nobody has come between is a fault of the client's, and final.
    if (next instanceof Error) {
      throw later.foreign.length > 0
        ? misfit(name, context, terms)
        : unfounded(name, context, next);
    }
    if (next === null || typeof next !== "object" || Array.isArray(next)) {
      throw new HeadwaterError(
        "bad_value",
        `Cannot write to store "${name}": its state must be an object`,
        { outcome: "notApplied" },
      );
    }
    return { state: next, patch, value: undefined };
  };
}

/** The change that a mutator makes. */
export function mutatorChange(
  write: ClientWrite,
  terms: WriteTerms,
  { mutator, args, context }: {
    mutator: AnyMutator;
    args: unknown;
    /** Made anew for each run, so that the ids are the same in every one. */
    context: () => MutatorContext;
  },
): Changer {
  return (state, about) => {
    const later = laterThan(write, terms.origin, about);
    const isExpected = later?.foreign.length === 0;
    if (terms.isExact && !isExpected) throw misfit(write.name, about, terms);
    const ctx = context();
    const { state: next, patch } = runApplication(() =>
      runRecipe(
        state,
        // The contract has paired the mutator with its store, and checked the arguments.
        (draft) => mutator.run(draft as never, args as never, ctx) as Json,
        { freeze: true },
      )
    );
    // On another state than the client's it may have done something else.
    return {
      state: next,
      patch,
      value: undefined,
      ...(!isExpected && { isOpaque: true }),
    };
  };
}

/** What came after the base of a write. */
interface Later {
  /** All of it, in order. */
  readonly all: readonly RecentMutation[];
  /** What others wrote of it. */
  readonly foreign: readonly RecentMutation[];
}

/**
 * What came after the base of a write; undefined where that cannot be told, or where
 * the own writes before it are not all there as the client made them.
 */
function laterThan(
  { epoch, base, after }: ClientWrite,
  origin: Origin,
  context: ChangeContext,
): Later | undefined {
  if (epoch !== context.epoch) return undefined;
  for (const call of after) {
    const before = context.find({ ...origin, call, n: 0 });
    if (!before || before.refused || before.isPast) return undefined;
  }
  const all = context.since(base)?.filter(({ patch }) => patch.length > 0);
  if (!all) return undefined;
  const own = new Set([origin.call, ...after]);
  // The same batch may write to the store several times.
  const isOwn = ({ origin: other }: RecentMutation) =>
    other?.session === origin.session && own.has(other.call);
  // Of the same batch it would be so each time: what follows is made on what there is.
  const isMisjudged = (mutation: RecentMutation) =>
    mutation.isOpaque && isOwn(mutation) &&
    mutation.origin?.call !== origin.call;
  if (all.some(isMisjudged)) return undefined;
  return { all, foreign: all.filter((mutation) => !isOwn(mutation)) };
}

/** Whether a patch means behind all that came what it meant where it was made. */
function isUntouched(patch: Patch, { all, foreign }: Later): boolean {
  const others = new Set(foreign);
  // From the end: what others wrote does not know of the own writes behind it.
  let laters: readonly Patch[] = [patch];
  for (const mutation of all.toReversed()) {
    if (!others.has(mutation)) laters = [mutation.patch, ...laters];
    else if (firstTouched(mutation.patch, laters) >= 0) return false;
  }
  return true;
}

function tryApply(state: Json, patch: Patch): Json | HeadwaterError {
  try {
    return applyPatch(state, patch, { freeze: true });
  } catch (error) {
    if (error instanceof HeadwaterError) return error;
    throw error;
  }
}

/** What the patch was made on was never there: most likely a write that was refused. */
function unfounded(
  name: string,
  { version }: ChangeContext,
  cause: HeadwaterError,
): HeadwaterError {
  const { code, path, message } = cause;
  return new HeadwaterError(
    code,
    `Cannot write to store "${name}": the patch does not fit version ${version}; what it was made on top of may have been refused (${message})`,
    { path, cause, outcome: "notApplied" },
  );
}

function misfit(
  name: string,
  { version }: ChangeContext,
  { isExact }: WriteTerms,
): HeadwaterError {
  const outcome = "notApplied";
  return isExact
    ? new HeadwaterError(
      "conflict",
      `Cannot write to store "${name}": others have written, it is at version ${version}`,
      { data: { version }, outcome },
    )
    : new HeadwaterError(
      "rebase",
      `Cannot write to store "${name}" as it is: others have written`,
      { outcome },
    );
}
