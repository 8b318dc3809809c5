/**
 * The definitions of a server; complete before anything is loaded.
 *
 * @module
 */
import type { StoreDefinition } from "./definition.ts";

/** See the module's documentation. */
export class Definitions {
  readonly #static = new Map<string, StoreDefinition>();
  readonly #dynamic: StoreDefinition[] = [];

  /** Adds one. */
  add(definition: StoreDefinition): void {
    const isTaken = definition.isDynamic
      ? this.#dynamic.some(({ prefix }) => prefix === definition.prefix)
      : this.#static.has(definition.prefix);
    if (isTaken) {
      throw new TypeError(
        `Cannot create store "${definition.prefix}${
          definition.isDynamic ? "*" : ""
        }": it is defined already`,
      );
    }
    if (definition.isDynamic) this.#dynamic.push(definition);
    else this.#static.set(definition.prefix, definition);
  }

  /** Whether anything depends on who subscribes, in any of them. */
  get countSubscribers(): boolean {
    for (const { countsSubscribers } of this.#static.values()) {
      if (countsSubscribers) return true;
    }
    return this.#dynamic.some(({ countsSubscribers }) => countsSubscribers);
  }

  /** Whether it is one of these. */
  has(definition: StoreDefinition): boolean {
    return definition.isDynamic
      ? this.#dynamic.includes(definition)
      : this.#static.get(definition.prefix) === definition;
  }

  /** Whether anything of them is not the same for all users. */
  get areForSome(): boolean {
    for (const { isForSome } of this.#static.values()) {
      if (isForSome) return true;
    }
    return this.#dynamic.some(({ isForSome }) => isForSome);
  }

  /** What a full name belongs to; the longest prefix wins. */
  find(name: string): StoreDefinition | undefined {
    const exact = this.#static.get(name);
    if (exact) return exact;
    let best: StoreDefinition | undefined;
    for (const definition of this.#dynamic) {
      if (definition.keyOf(name) === undefined) continue;
      if (!best || definition.prefix.length > best.prefix.length) {
        best = definition;
      }
    }
    return best;
  }
}
