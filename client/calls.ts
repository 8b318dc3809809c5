/**
 * Calls of functions on the server. This module is browser compatible.
 *
 * @module
 */
import { encodeUp } from "../protocol/client_codec.ts";
import { cleanName, type Json } from "../protocol/json.ts";
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
    const pending = outbox.add(callRequest(normal, clean), options.signal);
    this.#guess(pending, options);
    return pending;
  }

  /** Shows what a call is expected to do to the stores that are here. */
  #guess(pending: PendingRequest, { store, optimistic }: CallOptions): void {
    if (!optimistic) return;
    const byStore = typeof optimistic === "function"
      ? { [store ?? ""]: optimistic }
      : optimistic;
    this.#owner.writing.when((writing) => {
      const guesses = new Map<Subscription, Guess>();
      for (const [name, guess] of Object.entries(byStore)) {
        const subscription = this.#owner.find(name.normalize());
        if (subscription) guesses.set(subscription, guess);
      }
      writing.guess(pending, guesses);
    });
  }
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
