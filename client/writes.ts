/**
 * What a client writes: shown at once, sent in order, made again on what others
 * wrote. This module is browser compatible.
 *
 * @module
 */
import type { AnyMutator, MutatorContext } from "../protocol/contract.ts";
import { diffStates } from "../protocol/diff.ts";
import { type Recipe, runRecipe } from "../protocol/draft.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { MutatorWrite } from "../protocol/frames.ts";
import { applyPatch } from "../protocol/patch.ts";
import { validate } from "../protocol/schema.ts";
import {
  cleanName,
  cleanValue,
  freezeDeep,
  type Json,
} from "../protocol/value.ts";
import type { KeptRequest, KeptState } from "./kept_records.ts";
import type { Outbox } from "./outbox.ts";
import type { PendingRequest } from "./request.ts";
import {
  fixedEntry,
  type NamedStep,
  PendingEntry,
  type Step,
} from "./pending.ts";
import type { Subscription } from "./subscription.ts";
import {
  type ClientWritten,
  type WritePolicy,
  WriteRequest,
} from "./write_request.ts";

/** Longer than any server's limit for names; such a frame could end the connection. */
export const LONGEST_NAME = 4096;

/** What {@linkcode Writes} asks of its owner. */
export interface WritesOwner {
  /** Where requests wait. */
  readonly outbox: Outbox;
  /** The contract's mutators. */
  readonly mutators: Readonly<Record<string, AnyMutator>>;
  /** Who writes, as far as it is known. */
  identity(): Pick<MutatorContext, "clientId" | "user">;
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 up to but not 1. */
  random(): number;
  /** The subscription to a store that has a state, if there is one. */
  find(name: string): Subscription | undefined;
  /** The subscription to a store that was written to before a reload. */
  revive(name: string): Subscription;
  /** That one shows what was written. */
  revived(subscription: Subscription): void;
  /** These stores may show something else. */
  changed(stores: Iterable<Subscription>): void;
  /** Tells of a write that was refused. */
  fail(error: Error): void;
}

/** See the module's documentation. */
export class Writes {
  readonly #owner: WritesOwner;
  #batch: WriteRequest | undefined;

  constructor(owner: WritesOwner) {
    this.#owner = owner;
  }

  /** Writes to one store. */
  write(
    subscription: Subscription,
    make: (state: Json) => Step,
    policy: WritePolicy = "rebase",
  ): Promise<ClientWritten> {
    return this.#writeNew(subscription, new PendingEntry(make), policy);
  }

  /** Takes the last own change of a store back; undefined where there is none. */
  undo(subscription: Subscription): Promise<ClientWritten> | undefined {
    return subscription.undo.undo((entry) =>
      this.#writeEntry(subscription, entry, "rebase")
    );
  }

  /** Makes the change again that was taken back last; undefined where there is none. */
  redo(subscription: Subscription): Promise<ClientWritten> | undefined {
    return subscription.undo.redo((entry) =>
      this.#writeEntry(subscription, entry, "rebase")
    );
  }

  /** Runs a mutator here, and has the server run it. */
  mutate(
    name: string,
    args: unknown,
    { store, policy = "rebase" }: {
      store?: string | undefined;
      policy?: WritePolicy | undefined;
    },
  ): Promise<ClientWritten> {
    const { named, mutator, output } = this.#toNamed(name, args);
    const fullName = toStoreName(name, mutator, store);
    const subscription = this.#owner.find(fullName);
    if (subscription) {
      const about = { ...this.#owner.identity(), now: this.#owner.now() };
      const entry = namedEntry(named, mutator, { ...about, args: output });
      return this.#writeNew(subscription, entry, policy);
    }
    const write = unseenWrite(fullName, named);
    return this.#request(policy, (request) => request.addUnseen(write));
  }

  /** Makes a request again that an earlier client has left; {@linkcode resume} shows it. */
  remake(
    { policy, writes, createdAtMs, isBeaten }: KeptRequest,
    states: ReadonlyMap<string, KeptState>,
  ): WriteRequest {
    const request = new WriteRequest(policy);
    for (const write of writes) {
      const entry = "patch" in write
        ? fixedEntry(write.patch)
        : this.#remakeNamed(write.named, createdAtMs);
      if (entry && states.has(write.store)) {
        entry.isBeaten = isBeaten;
        request.addKept(this.#owner.revive(write.store), entry);
      } else if ("named" in write) {
        request.addUnseen(unseenWrite(write.store, write.named));
      }
    }
    return request;
  }

  /** Shows what was {@linkcode remake}d and queued, on top of the states that it was made on. */
  resume(
    requests: readonly WriteRequest[],
    queued: readonly PendingRequest[],
    states: ReadonlyMap<string, KeptState>,
  ): void {
    const entries = new Map<Subscription, PendingEntry[]>();
    for (const [at, request] of requests.entries()) {
      request.queued(queued[at]!); // one for each
      for (const [entry, store] of request.entries) {
        entries.set(store, [...entries.get(store) ?? [], entry]);
      }
      this.#follow(request, queued[at]!);
    }
    for (const [store, all] of entries) {
      const { state, savedAtMs: syncedAt } = states.get(store.name)!; // remake() has looked
      store.restore({ state, syncedAt, entries: all });
      this.#owner.revived(store);
    }
  }

  /** Has everything that `run` writes take effect together. */
  batch(run: () => void, policy: WritePolicy = "rebase"): Promise<void> {
    if (this.#batch) throw new TypeError("Cannot batch within a batch");
    const request = this.#batch = new WriteRequest(policy);
    let written: Promise<void>;
    try {
      const returned: unknown = run();
      refusePromise(returned);
      written = this.#queue(request);
    } catch (error) {
      request.undo(error);
      throw error;
    } finally {
      this.#batch = undefined;
      this.#owner.changed(request.stores);
    }
    return written;
  }

  /** Shows what a call is expected to do, until it has or has failed. */
  guess(
    pending: PendingRequest,
    guesses: ReadonlyMap<Subscription, (state: Json) => unknown>,
  ): void {
    for (const [subscription, guess] of guesses) {
      const entry = new PendingEntry((state) => guessStep(state, guess), {
        isGuess: true,
      });
      entry.request = pending;
      subscription.addEntry(entry);
    }
    const end = () => {
      for (const subscription of guesses.keys()) subscription.drop(pending);
      this.#owner.changed(guesses.keys());
    };
    pending.answer.promise.then(end, end);
    this.#owner.changed(guesses.keys());
  }

  #writeNew(
    subscription: Subscription,
    entry: PendingEntry,
    policy: WritePolicy,
  ): Promise<ClientWritten> {
    const written = this.#writeEntry(subscription, entry, policy);
    subscription.undo.wrote(entry, this.#batch);
    return written;
  }

  #writeEntry(
    subscription: Subscription,
    entry: PendingEntry,
    policy: WritePolicy,
  ): Promise<ClientWritten> {
    return this.#request(
      policy,
      (request) => request.add(subscription, entry),
    );
  }

  #request(
    policy: WritePolicy,
    add: (request: WriteRequest) => Promise<ClientWritten>,
  ): Promise<ClientWritten> {
    if (this.#batch) return add(this.#batch);
    const request = new WriteRequest(policy);
    const written = add(request);
    // It tells its result itself.
    this.#queue(request).catch(() => {});
    this.#owner.changed(request.stores);
    return written;
  }

  #queue(request: WriteRequest): Promise<void> {
    if (request.isEmpty) return Promise.resolve();
    let pending: PendingRequest;
    try {
      pending = this.#owner.outbox.add(request);
    } catch (error) {
      request.undo(error);
      throw error;
    }
    request.queued(pending);
    return this.#follow(request, pending);
  }

  #follow(request: WriteRequest, pending: PendingRequest): Promise<void> {
    const done = pending.answer.promise.then(
      (value) => request.succeed(value),
      (cause) => {
        const error = request.fail(cause);
        const isEnd = error instanceof HeadwaterError &&
          error.code === "disconnected";
        if (!isEnd) this.#owner.fail(error);
        throw error;
      },
    ).finally(() => this.#owner.changed(request.stores));
    // Told by "error", too: it need not be awaited.
    done.catch(() => {});
    return done;
  }

  /** Undefined where this version of the application has no such mutator: the server decides. */
  #remakeNamed(
    named: NamedStep,
    createdAtMs: number,
  ): PendingEntry | undefined {
    try {
      const { mutator, output: args } = this.#toNamed(
        named.mutator,
        named.args,
      );
      const about = { ...this.#owner.identity(), now: createdAtMs };
      return namedEntry(named, mutator, { ...about, args });
    } catch (error) {
      if (error instanceof HeadwaterError) return undefined;
      throw error;
    }
  }

  #toNamed(name: string, args: unknown) {
    const { mutators } = this.#owner;
    const mutator = Object.hasOwn(mutators, name) ? mutators[name] : undefined;
    if (!mutator) {
      throw new HeadwaterError(
        "function_missing",
        `No mutator is named "${name}" in the client's contract`,
        { outcome: "notSent" },
      );
    }
    const what = `the arguments of mutator "${name}"`;
    const output = mutator.args ? validate(mutator.args, args, what) : args;
    const clean = args === undefined ? undefined : cleanValue(args, { what });
    const named = {
      mutator: name,
      seed: this.#newSeed(),
      ...(clean !== undefined && { args: clean }),
    };
    return { named, mutator, output };
  }

  /** 16 characters that nobody else will have made. */
  #newSeed(): string {
    let seed = "";
    while (seed.length < 16) {
      seed += Math.floor(this.#owner.random() * 36 ** 8).toString(36)
        .padStart(8, "0");
    }
    return seed;
  }
}

function namedEntry(
  named: NamedStep,
  mutator: AnyMutator,
  { args, ...about }: Omit<MutatorContext, "id"> & { readonly args: unknown },
): PendingEntry {
  const make = (state: Json): Step => {
    let ids = 0;
    const id = () => `${named.seed}-${ids++}`;
    return runRecipe(
      state,
      // The contract has paired the mutator with its store and its arguments.
      (draft) =>
        mutator.run(draft as never, args as never, { ...about, id }) as Json,
      { freeze: true },
    );
  };
  return new PendingEntry(make, { named });
}

function unseenWrite(name: string, named: NamedStep): MutatorWrite {
  return { name, epoch: "", base: 0, after: [], ...named };
}

/** The step of a recipe. */
export function recipeStep<T>(
  recipe: Recipe<T, unknown>,
): (state: Json) => Step {
  // The state has the shape that the caller has named.
  return (state) =>
    runRecipe(state as T, recipe as Recipe<T, Json>, { freeze: true });
}

/** The step to a given state. */
export function setStep(value: unknown, what: string): (state: Json) => Step {
  const state = freezeDeep(cleanValue(value, { what }));
  if (state === null || typeof state !== "object" || Array.isArray(state)) {
    throw new TypeError(`Cannot use ${what}: it must be an object`);
  }
  return () => ({ state, patch: [{ op: "replace", path: [], value: state }] });
}

/** The step that gives properties other values; one that is undefined is removed. */
export function mergeStep(partial: object): (state: Json) => Step {
  const updates = { ...partial };
  return recipeStep<Record<string, unknown>>((draft) => {
    for (const [name, value] of Object.entries(updates)) {
      if (value === undefined) delete draft[name];
      else draft[name] = value;
    }
  });
}

function guessStep(state: Json, guess: (state: Json) => unknown): Step {
  const patch = diffStates(state, guess(state), "the optimistic state");
  return { state: applyPatch(state, patch, { freeze: true }), patch };
}

function toStoreName(
  mutator: string,
  { store: pattern }: AnyMutator,
  store: string | undefined,
): string {
  const prefix = pattern.endsWith(":*") ? pattern.slice(0, -1) : undefined;
  const name = store ?? (prefix === undefined ? pattern : undefined);
  if (name === undefined) {
    throw new TypeError(
      `Cannot run mutator "${mutator}": say which store of "${pattern}" it is for`,
    );
  }
  const fits = prefix === undefined
    ? name === pattern
    : name.startsWith(prefix) && name.length > prefix.length;
  if (fits) return cleanName(name, "the store name", LONGEST_NAME);
  throw new TypeError(
    `Cannot run mutator "${mutator}" on store "${name}": it is for "${pattern}"`,
  );
}

function refusePromise(returned: unknown): void {
  if (returned instanceof Promise) {
    returned.catch(() => {});
    throw new TypeError("A batch is synchronous: this one returned a promise");
  }
}
