import type { SimulatedClient } from "../../adapters/testing/mod.ts";
import type { Observer } from "./observer.ts";
import type { OwnWrites } from "./own_writes.ts";

/** A client, and what it looks at. */
export interface Person {
  readonly name: string;
  readonly running: SimulatedClient;
  readonly observers: Map<string, Observer>;
  /** What it has written, and expects of its calls. */
  readonly own: OwnWrites;
  /** Calls and writes without an answer. */
  pending: number;
  /** How often it has lost its connection. */
  losses: number;
}
