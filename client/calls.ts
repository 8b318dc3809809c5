/**
 * Calls of functions on the server. This module is browser compatible.
 *
 * @module
 */
import { encodeUp } from "../protocol/client_codec.ts";
import { cleanName, type Json } from "../protocol/json.ts";
import { checkFunction } from "../protocol/shown.ts";
import type { CallOptions, Guess } from "./api.ts";
import { checkOptions } from "./known_options.ts";
import type { LateWriting } from "./late_writing.ts";
import type { Outbox } from "./outbox.ts";
import { LONGEST_NAME, type PendingRequest, type Request } from "./request.ts";
import type { Subscription } from "./subscription.ts";

/** What {@linkcode Calls} works with. */
export interface CallsOwner {
  /** Where they wait. */
  readonly outbox: Outbox;
  /** What guesses are shown with. */
  readonly writing: LateWriting;
  /** The subscription to a store that has a state, if there is one. */
  find(name: string): Subscription | undefined;
}

const KNOWN: Readonly<Record<keyof Required<CallOptions>, true>> = {
  signal: true,
  store: true,
  optimistic: true,
};

/** See the module's documentation. */
export class Calls {
  readonly #owner: CallsOwner;

  constructor(owner: CallsOwner) {
    this.#owner = owner;
  }

  /** Makes one; throws what cannot be made. */
  add(name: string, args: unknown, options: CallOptions): PendingRequest {
    checkOptions(`call "${name}"`, options, KNOWN);
    const { outbox, writing } = this.#owner;
    const clean = args === undefined
      ? undefined
      : writing.clean(args, "the arguments");
    const normal = cleanName(name, "the function name", LONGEST_NAME);
    const request = callRequest(normal, clean);
    const guesses = toGuesses(request.action, options);
    // Before anything is sent: what a guess throws refuses the call.
    const shown = writing.part?.guess(this.#here(guesses));
    let pending: PendingRequest;
    try {
      pending = outbox.add(request, options.signal);
    } catch (error) {
      shown?.takeBack();
      throw error;
    }
    if (shown) shown.follow(pending);
    else if (Object.keys(guesses).length > 0) {
      writing.when((part) => {
        if (!outbox.has(pending)) return; // answered by now
        part.guess(this.#here(guesses)).follow(pending);
      });
    }
    return pending;
  }

  /** Those for stores that are here. */
  #here(guesses: Readonly<Record<string, Guess>>): Map<Subscription, Guess> {
    const here = new Map<Subscription, Guess>();
    for (const [name, guess] of Object.entries(guesses)) {
      const subscription = this.#owner.find(name.normalize());
      if (subscription) here.set(subscription, guess);
    }
    return here;
  }
}

/** What is expected of each store, by its name. */
function toGuesses(
  action: string,
  { store, optimistic }: CallOptions,
): Readonly<Record<string, Guess>> {
  if (optimistic === undefined) return {};
  if (typeof optimistic === "function") {
    if (typeof store === "string") return { [store]: optimistic };
    throw new TypeError(
      `Cannot ${action}: say by \`store\` which store the optimistic function is for`,
    );
  }
  for (const [name, guess] of Object.entries(optimistic)) {
    checkFunction(guess, `Cannot ${action}: what is expected of "${name}"`);
  }
  return optimistic;
}

function callRequest(name: string, args: Json | undefined): Request {
  return {
    name,
    action: `call "${name}"`,
    timesOut: true,
    encode: (sending) =>
      encodeUp({
        type: "rpc",
        name,
        ...(args !== undefined && { args }),
        ...sending,
      }),
  };
}
