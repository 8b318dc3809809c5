/**
 * Which subscriptions of a connection have to be sent in one message, because a
 * transaction changed their stores and not all of them could be sent at once.
 *
 * @module
 */

/** See the module's documentation. */
export class Bonds<T> {
  readonly #groups = new Map<T, Set<T>>();

  /** Whether others wait for this one. */
  has(one: T): boolean {
    return this.#groups.has(one);
  }

  /** Binds some to each other, and to all that these are bound to. */
  bind(members: Iterable<T>): void {
    const group = new Set<T>();
    for (const member of members) {
      for (const other of this.groupOf(member)) group.add(other);
    }
    for (const member of group) this.#groups.set(member, group);
  }

  /** All that have to go with this one, itself among them. */
  groupOf(one: T): ReadonlySet<T> {
    return this.#groups.get(one) ?? new Set([one]);
  }

  /** Unbinds all that go with this one; returns them. */
  release(one: T): ReadonlySet<T> {
    const group = this.groupOf(one);
    for (const member of group) this.#groups.delete(member);
    return group;
  }

  /** The others need not wait for this one any more; returns them. */
  leave(one: T): ReadonlySet<T> {
    const group = this.#groups.get(one);
    if (!group) return new Set();
    group.delete(one);
    this.#groups.delete(one);
    return group;
  }
}
