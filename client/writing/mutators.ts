/**
 * Runs the contract's mutators on the client. This module is browser compatible.
 *
 * @module
 */
import type { AnyMutator, MutatorContext } from "../../protocol/contract.ts";
import { runRecipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { MutatorWrite } from "../../protocol/frames.ts";
import { validate } from "../../protocol/schema.ts";
import { cleanName, cleanValue, type Json } from "../../protocol/value.ts";
import { LONGEST_NAME } from "../request.ts";
import type { WritingOwner } from "../writing_port.ts";
import type { Author } from "./author.ts";
import type { RecipeGuard } from "./recipe_guard.ts";
import { type NamedStep, PendingEntry, type Step } from "./pending_entry.ts";

/** A mutator that is to be run. */
export interface MutatorCall {
  /** What the server is told. */
  readonly named: NamedStep;
  /** Full name of the store. */
  readonly store: string;
  /** The write that shows what it does here. */
  readonly entry: PendingEntry;
}

/** See the module's documentation. */
export class Mutators {
  readonly #owner: WritingOwner;
  readonly #recipes: RecipeGuard;
  readonly #author: Author;

  constructor(owner: WritingOwner, recipes: RecipeGuard, author: Author) {
    this.#owner = owner;
    this.#recipes = recipes;
    this.#author = author;
  }

  /**
   * A new call.
   *
   * @throws {HeadwaterError} `function_missing` if the contract has no such mutator,
   * `invalid` if its schema refuses the arguments.
   * @throws {TypeError} if it is not for that store, or for several and none is named.
   */
  call(name: string, args: unknown, store: string | undefined): MutatorCall {
    const { named, mutator, output } = this.#toNamed(name, args);
    const about = { ...this.#identity, now: this.#owner.clock.now() };
    return {
      named,
      store: toStoreName(name, mutator, store),
      entry: this.#toEntry(named, mutator, { ...about, args: output }),
    };
  }

  /**
   * The entry of a call that was kept; undefined where this version of the application
   * has no such mutator: the server decides.
   */
  remake(named: NamedStep, createdAtMs: number): PendingEntry | undefined {
    try {
      const { mutator, output: args } = this.#toNamed(
        named.mutator,
        named.args,
      );
      const about = { ...this.#identity, now: createdAtMs };
      return this.#toEntry(named, mutator, { ...about, args });
    } catch (error) {
      if (error instanceof HeadwaterError) return undefined;
      throw error;
    }
  }

  get #identity(): Pick<MutatorContext, "clientId" | "user"> {
    const { clientId } = this.#owner;
    return { clientId, user: this.#author.user ?? null };
  }

  #toEntry(
    named: NamedStep,
    mutator: AnyMutator,
    about: Omit<MutatorContext, "id"> & { readonly args: unknown },
  ): PendingEntry {
    const make = this.#recipes.wrap(namedStep(named, mutator, about));
    return new PendingEntry(make, { named });
  }

  #toNamed(name: string, args: unknown) {
    const { mutators } = this.#owner;
    const mutator = Object.hasOwn(mutators, name) ? mutators[name] : undefined;
    if (!mutator) {
      throw new HeadwaterError(
        "function_missing",
        `No mutator is named "${name}" in the client's contract`,
        { outcome: "notSent" },
      );
    }
    const what = `the arguments of mutator "${name}"`;
    const output = mutator.args ? validate(mutator.args, args, what) : args;
    const clean = args === undefined ? undefined : cleanValue(args, { what });
    const named = {
      mutator: name,
      seed: this.#newSeed(),
      ...(clean !== undefined && { args: clean }),
    };
    return { named, mutator, output };
  }

  /** 16 characters that nobody else will have made. */
  #newSeed(): string {
    let seed = "";
    while (seed.length < 16) {
      seed += Math.floor(this.#owner.random() * 36 ** 8).toString(36)
        .padStart(8, "0");
    }
    return seed;
  }
}

function namedStep(
  named: NamedStep,
  mutator: AnyMutator,
  { args, ...about }: Omit<MutatorContext, "id"> & { readonly args: unknown },
): (state: Json) => Step {
  return (state) => {
    let ids = 0;
    const id = () => `${named.seed}-${ids++}`;
    return runRecipe(
      state,
      // The contract has paired the mutator with its store and its arguments.
      (draft) =>
        mutator.run(draft as never, args as never, { ...about, id }) as Json,
      { freeze: true },
    );
  };
}

/** The write of a mutator to a store of which there is nothing here. */
export function unseenWrite(name: string, named: NamedStep): MutatorWrite {
  return { name, epoch: "", base: 0, after: [], ...named };
}

function toStoreName(
  mutator: string,
  { store: pattern }: AnyMutator,
  store: string | undefined,
): string {
  const prefix = pattern.endsWith(":*") ? pattern.slice(0, -1) : undefined;
  const name = store ?? (prefix === undefined ? pattern : undefined);
  if (name === undefined) {
    throw new TypeError(
      `Cannot run mutator "${mutator}": say which store of "${pattern}" it is for`,
    );
  }
  const fits = prefix === undefined
    ? name === pattern
    : name.startsWith(prefix) && name.length > prefix.length;
  if (fits) return cleanName(name, "the store name", LONGEST_NAME);
  throw new TypeError(
    `Cannot run mutator "${mutator}" on store "${name}": it is for "${pattern}"`,
  );
}
