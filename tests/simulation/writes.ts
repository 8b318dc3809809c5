/**
 * Every write that was asked for, and what whoever asked was told of it.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Receipt } from "./application.ts";
import { Breach } from "./breach.ts";
import type { Effect } from "./store_truth.ts";
import type { Truth } from "./truth.ts";

/** What became of a write, as far as its maker knows. */
type Outcome =
  /** Nothing was heard yet, or it cannot be told. */
  | "unknown"
  /** It has not taken effect, and never will. */
  | "notApplied"
  /** It has taken effect, and then the function failed. */
  | "applied";

/** One write to one store. */
interface Write {
  readonly store: string;
  readonly tag: string;
  outcome: Outcome;
}

/** See the module's documentation. */
export class Writes {
  readonly #writes = new Map<string, Write>();
  /** Writes that were acknowledged. */
  acknowledged = 0;
  /** Of them, those that clients have made themselves. */
  ownAcknowledged = 0;

  /** Notes that a write was asked for. */
  ask(tag: string, stores: readonly string[]): void {
    for (const store of stores) {
      this.#writes.set(`${store} ${tag}`, { store, tag, outcome: "unknown" });
    }
  }

  /** It was acknowledged: it is in the KV by now, as its receipt says. */
  acknowledge(truth: Truth, receipts: readonly Receipt[]): void {
    for (const { store, tag, version, n } of receipts) {
      this.acknowledged++;
      const effects = truth.of(store).effects.get(tag) ?? [];
      const effect = effects.find((effect) =>
        effect.version === version && effect.n === n
      );
      if (!effect) {
        throw new Breach(
          `"${tag}" was acknowledged in ${store} at ${version} as number ${n}, but it ${
            effects.length === 0
              ? "is not in the KV"
              : `was ${effects.map((one) => `${one.n} at ${one.version}`)}`
          }`,
        );
      }
      const key = `${store} ${tag}`;
      this.#writes.set(key, { store, tag, outcome: "applied" });
    }
  }

  /**
   * A client's own write was acknowledged: it is in the KV by now, at that version,
   * or at one of the last `slack` before it, where others of its batch are behind it.
   * Version 0 stands for a life of the store that has ended.
   */
  acknowledgeOwn(
    truth: Truth,
    { store, tag, version, slack }: {
      store: string;
      tag: string;
      version: number;
      slack: number;
    },
  ): Effect {
    this.acknowledged++;
    this.ownAcknowledged++;
    const effects = truth.of(store).effects.get(tag) ?? [];
    const effect = effects.find((effect) =>
      version === 0 ||
      effect.version <= version && effect.version >= version - slack
    );
    if (!effect) {
      throw new Breach(
        `"${tag}" of a client was acknowledged in ${store} at ${version}, but it ${
          effects.length === 0
            ? "is not in the KV"
            : `was written at ${effects.map((one) => one.version)}`
        }`,
      );
    }
    this.#writes.set(`${store} ${tag}`, { store, tag, outcome: "applied" });
    return effect;
  }

  /** Its maker was told that it failed. */
  failed(tag: string, stores: readonly string[], error: unknown): void {
    const outcome = outcomeOf(error);
    for (const store of stores) {
      const write = this.#writes.get(`${store} ${tag}`);
      if (write) write.outcome = outcome;
    }
  }

  /** Compares what was told with what is true, at the end. */
  check(truth: Truth, { isRestored }: { isRestored: boolean }): void {
    for (const { store, tag, outcome } of this.#writes.values()) {
      if (isKept(truth, store, `${tag}.other`)) {
        throw new Breach(`The call of "${tag}" was told another error`);
      }
      // Where the KV was set back, the record of the first run may be gone.
      const hasBoth = !isRestored && isKept(truth, store, tag) &&
        isKept(truth, store, `${tag}.odd`);
      if (hasBoth) {
        throw new Breach(`The call of "${tag}" took both of its branches`);
      }
      const effects = truth.of(store).effects.get(tag) ?? [];
      if (outcome === "applied" && effects.length === 0) {
        throw new Breach(`"${tag}" was acknowledged in ${store} and is lost`);
      }
      // What a backup has taken back was not applied any more when it was refused.
      if (outcome === "notApplied" && isKept(truth, store, tag)) {
        throw new Breach(`"${tag}" was refused in ${store} and took effect`);
      }
    }
  }
}

function isKept(truth: Truth, store: string, tag: string): boolean {
  const effects = truth.of(store).effects.get(tag) ?? [];
  return effects.some((effect) => effect.isKept);
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof HeadwaterError)) throw error;
  if (
    error.code === "function_failed" && error.message === "Failed on purpose"
  ) {
    return "applied";
  }
  if (error.code === "bad_value") return "notApplied";
  return error.outcome === "notApplied" || error.outcome === "notSent"
    ? "notApplied"
    : "unknown";
}
