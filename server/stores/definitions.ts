/**
 * The definitions of a server; complete before anything is loaded.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import { isKey, type StoreDefinition } from "./definition.ts";

/** See the module's documentation. */
export class Definitions {
  readonly #static = new Map<string, StoreDefinition>();
  readonly #dynamic: StoreDefinition[] = [];
  readonly #contract: readonly string[];

  /** None yet; `contract` has the names of those that there should be. */
  constructor(contract: readonly string[] = []) {
    this.#contract = contract;
  }

  /** Names of the contract that were not defined. */
  get missing(): readonly string[] {
    return this.#contract.filter((name) =>
      name.endsWith(":*")
        ? !this.#dynamic.some(({ pattern }) => pattern === name)
        : !this.#static.has(name)
    );
  }

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

  /** What whoever asks for a store is told where nothing is found for its name. */
  missingError(name: string): HeadwaterError {
    const pattern = this.missing.find((missing) =>
      missing === name ||
      missing.endsWith(":*") && name.startsWith(missing.slice(0, -1)) &&
        isKey(name.slice(missing.length - 1))
    );
    const message = pattern === undefined
      ? `No store is defined for the name "${name}"`
      : `No store is defined for the name "${name}": the contract has "${pattern}", but the server did not create it by createStore()`;
    const outcome = "notApplied";
    return new HeadwaterError("store_missing", message, { outcome });
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
