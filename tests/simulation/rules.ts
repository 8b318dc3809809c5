/**
 * Who may read and write which store, where a history asks for that.
 *
 * @module
 */
import type { AccessContext, Credentials } from "../../adapters/testing/mod.ts";
import type { Json } from "../../protocol/value.ts";

/** Somebody's level: what they may do. */
export interface User {
  readonly id: string;
  readonly level: number;
}

/** May do everything. */
export const TOP_LEVEL = 2;
/** There are some that nobody below has, and some that everybody has. */
export const LEVELS: readonly number[] = [0, 1, TOP_LEVEL];

/** The level that each store takes. */
const NEEDED: Readonly<
  Record<string, { readonly read: number; readonly write: number }>
> = {
  Ledger: { read: 0, write: 1 },
  Tally: { read: 1, write: 1 },
  "Room:a": { read: 1, write: 1 },
  "Room:b": { read: 0, write: 0 },
  "Brief:a": { read: TOP_LEVEL, write: TOP_LEVEL },
};

/** What may be done with a store. */
export type Right = "read" | "write";

/** The level that it takes. */
export function levelFor(right: Right, store: string): number {
  return NEEDED[store]![right]; // each of STORES has one
}

/** The rule of all stores. */
export function ruleOf(right: Right): (context: AccessContext) => boolean {
  return ({ user, name }) => levelOf(user) >= levelFor(right, name);
}

/** That of whoever is behind a client, or a call; the server itself may do anything. */
export function levelOf(user: Json): number {
  return (user as User | null)?.level ?? TOP_LEVEL; // nothing else is given
}

/** What a client shows. */
export function tokenOf({ id, level }: User): string {
  return `${id} ${level}`;
}

/** Who shows that. */
export function userOf({ token = "" }: Credentials): User {
  const [id = "", level = ""] = token.split(" ");
  return { id, level: Number(level) };
}
