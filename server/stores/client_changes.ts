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
import type { Origin } from "../log/records.ts";
import type { ChangeContext, Changer } from "./commit_queue.ts";

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
    const since = mutationsSince(write, terms.origin, context);
    const fits = since &&
      (terms.isExact
        ? since.every(({ isOwn }) => isOwn)
        : meansTheSame(patch, since));
    if (!fits) throw misfit(name, context, terms);
    const next = applyPatch(state, patch, { freeze: true });
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
    if (terms.isExact) {
      const since = mutationsSince(write, terms.origin, about);
      if (!since?.every(({ isOwn }) => isOwn)) {
        throw misfit(write.name, about, terms);
      }
    }
    const ctx = context();
    const { state: next, patch } = runRecipe(
      state,
      // The contract has paired the mutator with its store, and checked the arguments.
      (draft) => mutator.run(draft as never, args as never, ctx) as Json,
      { freeze: true },
    );
    return { state: next, patch, value: undefined };
  };
}

/** A mutation after the base of a write. */
interface Since {
  readonly patch: Patch;
  /** Whether the write was made on top of it, or along with it. */
  readonly isOwn: boolean;
}

/**
 * What was written after the base of a write; undefined where that cannot be told, or
 * where the own writes before it are not all there.
 */
function mutationsSince(
  { epoch, base, after }: ClientWrite,
  origin: Origin,
  context: ChangeContext,
): readonly Since[] | undefined {
  if (epoch !== context.epoch) return undefined;
  for (const call of after) {
    const before = context.find({ ...origin, call, n: 0 });
    if (!before || before.refused || before.isPast) return undefined;
  }
  return context.since(base)?.filter(({ patch }) => patch.length > 0)
    .map(({ patch, origin: other }) => ({
      patch,
      isOwn: other?.session === origin.session &&
        // The same batch may write to the store several times.
        (other.call === origin.call || after.includes(other.call)),
    }));
}

/** Whether a patch means on top of all of them what it meant on top of its client's own. */
function meansTheSame(patch: Patch, since: readonly Since[]): boolean {
  // Where others wrote in between, items have moved by what came after as well.
  let laters: readonly Patch[] = [patch];
  for (const { patch: other, isOwn } of since.toReversed()) {
    if (isOwn) laters = [other, ...laters];
    else if (firstTouched(other, laters) >= 0) return false;
  }
  return true;
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
