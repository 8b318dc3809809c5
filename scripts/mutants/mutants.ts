/**
 * Small mistakes that could be made in the product, each of which would break a
 * promise: `deno task mutants` plants them one by one and lets the simulator look.
 *
 * @module
 */
import { ACCESS_MUTANTS } from "./access_mutants.ts";
import { COMMIT_MUTANTS } from "./commit_mutants.ts";
import { DELIVERY_MUTANTS } from "./delivery_mutants.ts";
import { LOG_MUTANTS } from "./log_mutants.ts";
import { WRITE_MUTANTS } from "./write_mutants.ts";

/** In `file`, `find`, which stands there once, becomes `replace`. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** One mistake; several edits where one alone is made good by another rule. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
}

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  ...COMMIT_MUTANTS,
  ...LOG_MUTANTS,
  ...DELIVERY_MUTANTS,
  ...WRITE_MUTANTS,
  ...ACCESS_MUTANTS,
];
