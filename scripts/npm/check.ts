/**
 * One thing that must be true of the npm package.
 *
 * @module
 */
import type { Lab } from "./lab.ts";

/** See the module's documentation. */
export interface Check {
  /** Names it on the command line. */
  readonly name: string;
  /** What is true if it passes. */
  readonly claim: string;
  /** Tries it; returns what is worth a look, and throws where it is not true. */
  run(lab: Lab): Promise<string>;
}
