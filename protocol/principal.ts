/**
 * Whether two users are one, by the same rule on both ends. This module is browser
 * compatible.
 *
 * @module
 */
import type { Json } from "./json.ts";

/**
 * What identifies a user: its `id`, or the user itself where that is a text or a
 * number; undefined where there is nothing of the kind.
 */
export function userIdOf(user: Json): string | undefined {
  const id = user !== null && typeof user === "object" && "id" in user
    ? user.id
    : user;
  return typeof id === "string" || typeof id === "number"
    ? String(id)
    : undefined;
}

/** What sessions and queued writes belong to: the user's id, or all that is known of the user. */
export function principalOf(user: Json): string | undefined {
  if (user === null) return undefined;
  const id = userIdOf(user);
  return id === undefined ? `user.${canonical(user)}` : `id.${id}`;
}

/** The same text for equal values: a database does not always give members in the same order. */
function canonical(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const members = Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`);
  return `{${members.join()}}`;
}
