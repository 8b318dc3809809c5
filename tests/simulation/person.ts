import type { SimulatedClient } from "../../adapters/testing/mod.ts";
import type { Grants } from "./grants.ts";
import type { Observer } from "./observer.ts";
import type { OwnWrites } from "./own_writes.ts";

/** A client, and what it looks at. */
export interface Person {
  readonly name: string;
  readonly running: SimulatedClient;
  readonly observers: Map<string, Observer>;
  /** What it has written, and expects of its calls. */
  readonly own: OwnWrites;
  /** Who is behind it; several clients may have the same user. */
  readonly userId: string;
  /** The levels of the tokens that it has shown. */
  readonly tokens: Grants;
  /** The levels that servers have known its user to have at most. */
  readonly limits: Grants;
  /** The level of what it shows on its next connection; undefined where it is told what to show. */
  nextLevel: number | undefined;
  /** Calls and writes without an answer. */
  pending: number;
  /** How often it has lost its connection. */
  losses: number;
}
