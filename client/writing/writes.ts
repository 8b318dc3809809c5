/**
 * What a client writes: shown at once, sent in order, made again on what others
 * wrote. This module is browser compatible.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanValue, type Json } from "../../protocol/value.ts";
import { shown } from "../../protocol/shown.ts";
import { Deferred } from "../deferred.ts";
import { checkOptions } from "../known_options.ts";
import type { PendingRequest } from "../request.ts";
import type { Subscription } from "../subscription.ts";
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "../write_options.ts";
import type {
  KeptState,
  ShownGuess,
  Writing,
  WritingOwner,
} from "../writing_port.ts";
import { Author, foreignWrite } from "./author.ts";
import { Keeper } from "./keeper.ts";
import type { KeptRequest } from "./kept_records.ts";
import { Mutators, unseenWrite } from "./mutators.ts";
import { fixedEntry, PendingEntry } from "./pending_entry.ts";
import { RecipeGuard } from "./recipe_guard.ts";
import { guessStep, recipeStep, setStep } from "./steps.ts";
import { StoreWrites } from "./store_writes.ts";
import { WriteRequest } from "./write_request.ts";

const WRITE_OPTIONS: Readonly<Record<keyof Required<WriteOptions>, true>> = {
  policy: true,
};
const MUTATE_OPTIONS: Readonly<Record<keyof Required<MutateOptions>, true>> = {
  store: true,
  ...WRITE_OPTIONS,
};

/** See the module's documentation. */
export class Writes implements Writing {
  readonly keeper: Keeper | undefined;
  readonly #owner: WritingOwner;
  readonly #mutators: Mutators;
  readonly #stores = new WeakMap<Subscription, StoreWrites>();
  readonly #recipes = new RecipeGuard();
  readonly #author: Author;
  /** What an earlier client has left. */
  readonly #kept = new WeakSet<WriteRequest>();
  /** Those of another user: one error tells of all of them. */
  readonly #told = new WeakSet<WriteRequest>();
  #batch: WriteRequest | undefined;

  constructor(owner: WritingOwner) {
    this.#owner = owner;
    const author = this.#author = new Author(owner.user);
    this.#mutators = new Mutators(owner, this.#recipes, author);
    const { storage } = owner;
    this.keeper = storage &&
      new Keeper(storage, { writes: this, owner, author });
  }

  welcomed(user: Json): void {
    const isOther = this.#author.isOther(user);
    this.#author.become(user);
    this.keeper?.welcomed(isOther);
    if (!isOther) return;
    const { outbox } = this.#owner;
    for (const call of outbox.queue.calls) {
      const { request, wasSent } = call;
      if (!(request instanceof WriteRequest)) continue;
      if (this.#kept.has(request)) this.#told.add(request);
      const outcome = wasSent ? "unknown" : "notSent";
      outbox.reject(call, foreignWrite(` to store "${request.name}"`, outcome));
    }
  }

  foreign(user: Json | undefined): Error | undefined {
    return this.#author.isOther(user) ? foreignWrite("", "notSent") : undefined;
  }

  update(
    store: Subscription,
    recipe: Recipe<never, unknown>,
    options: WriteOptions,
  ): Promise<ClientWritten> {
    const entry = new PendingEntry(this.#recipes.wrap(recipeStep(recipe)));
    return this.#writeNew(this.#of(store), entry, options);
  }

  set(
    store: Subscription,
    state: Json,
    options: WriteOptions,
  ): Promise<ClientWritten> {
    const entry = new PendingEntry(setStep(state));
    return this.#writeNew(this.#of(store), entry, options);
  }

  undo(store: Subscription): Promise<ClientWritten | undefined> {
    const writes = this.#of(store);
    return writes.undo.undo((entry) => this.#writeEntry(writes, entry, {})) ??
      Promise.resolve(undefined);
  }

  redo(store: Subscription): Promise<ClientWritten | undefined> {
    const writes = this.#of(store);
    return writes.undo.redo((entry) => this.#writeEntry(writes, entry, {})) ??
      Promise.resolve(undefined);
  }

  refusalOf(value: unknown, what: string): Error | undefined {
    try {
      cleanValue(value, { what });
      return undefined;
    } catch (error) {
      return error as Error; // it throws nothing else
    }
  }

  mutate(
    name: string,
    args: unknown,
    options: MutateOptions,
  ): Promise<ClientWritten> {
    checkWriteOptions(`run mutator "${name}"`, options, MUTATE_OPTIONS);
    const { store, ...how } = options;
    const call = this.#mutators.call(name, args, store);
    const subscription = this.#owner.find(call.store);
    if (subscription) {
      return this.#writeNew(this.#of(subscription), call.entry, how);
    }
    const write = unseenWrite(call.store, call.named);
    return this.#request(how, (request) => request.addUnseen(write));
  }

  /** Makes a request again that an earlier client has left; {@linkcode resume} shows it. */
  remake(
    { policy, writes, createdAtMs, isBeaten }: KeptRequest,
    states: ReadonlyMap<string, KeptState>,
  ): WriteRequest {
    const request = new WriteRequest(policy);
    this.#kept.add(request);
    for (const write of writes) {
      const entry = "patch" in write
        ? fixedEntry(write.patch)
        : this.#mutators.remake(write.named, createdAtMs);
      if (entry && states.has(write.store)) {
        entry.isBeaten = isBeaten;
        const store = this.#of(this.#owner.revive(write.store));
        request.addKept(store, entry);
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
    const entries = new Map<StoreWrites, PendingEntry[]>();
    for (const [at, request] of requests.entries()) {
      request.queued(queued[at]!); // one for each
      for (const [entry, store] of request.entries) {
        const all = entries.get(store) ?? [];
        all.push(entry);
        entries.set(store, all);
      }
      this.#follow(request, queued[at]!);
    }
    for (const [store, all] of entries) {
      const { state, savedAtMs: syncedAt } = states.get(store.name)!; // remake() has looked
      store.restore({ state, syncedAt, entries: all });
      this.#tellOfHidden(store, all);
      this.#owner.revived(store.subscription);
    }
  }

  batch(run: () => void, options: WriteOptions): Promise<void> {
    this.#recipes.refuseWithin();
    checkWriteOptions("batch writes", options);
    const request = this.#batch = new WriteRequest(options.policy);
    let written: Promise<void>;
    try {
      run();
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

  guess(
    guesses: ReadonlyMap<Subscription, (state: never) => unknown>,
  ): ShownGuess {
    this.#recipes.refuseWithin();
    // In the place of the call, which is not to be made where a guess throws.
    const placeholder: PendingRequest = {
      number: undefined,
      answer: new Deferred(),
    };
    const entries: PendingEntry[] = [];
    const drop = (request: PendingRequest) => {
      for (const store of guesses.keys()) this.#of(store).drop(request);
      this.#owner.changed(guesses.keys());
    };
    try {
      for (const [subscription, guess] of guesses) {
        const step = (state: Json) => guessStep(state, guess);
        const entry = new PendingEntry(this.#recipes.wrap(step), {
          isGuess: true,
        });
        entry.request = placeholder;
        entries.push(entry);
        this.#of(subscription).add(entry);
      }
    } catch (error) {
      drop(placeholder);
      throw error;
    }
    this.#owner.changed(guesses.keys());
    return {
      follow: (pending) => {
        for (const entry of entries) entry.request = pending;
        const end = () => drop(pending);
        pending.answer.promise.then(end, end);
      },
      takeBack: () => drop(placeholder),
    };
  }

  /** What a mutator throws now would else be told when it is sent, or never. */
  #tellOfHidden(store: StoreWrites, entries: readonly PendingEntry[]): void {
    store.pending?.settle();
    for (const { named, error } of entries) {
      if (!named || !error) continue;
      const what = `mutator "${named.mutator}" on store "${store.name}"`;
      this.#owner.fail(
        new HeadwaterError(
          "refused",
          `Cannot show what was kept over a reload: ${what} throws: ${error.message}`,
          { cause: error },
        ),
      );
    }
  }

  #of(subscription: Subscription): StoreWrites {
    const known = this.#stores.get(subscription);
    if (known) return known;
    const { undoSteps } = this.#owner;
    const store = new StoreWrites(subscription, undoSteps);
    subscription.overlay = store;
    this.#stores.set(subscription, store);
    return store;
  }

  #writeNew(
    store: StoreWrites,
    entry: PendingEntry,
    options: WriteOptions,
  ): Promise<ClientWritten> {
    const written = this.#writeEntry(store, entry, options);
    store.undo.wrote(entry, this.#batch);
    return written;
  }

  #writeEntry(
    store: StoreWrites,
    entry: PendingEntry,
    options: WriteOptions,
  ): Promise<ClientWritten> {
    checkWriteOptions(`write to store "${store.name}"`, options);
    return this.#request(options, (request) => request.add(store, entry));
  }

  #request(
    options: WriteOptions,
    add: (request: WriteRequest) => Promise<ClientWritten>,
  ): Promise<ClientWritten> {
    this.#recipes.refuseWithin();
    const { policy } = options;
    if (this.#batch) {
      if (policy === undefined || policy === this.#batch.policy) {
        return add(this.#batch);
      }
      throw new TypeError(
        `Cannot write with policy "${policy}" in a batch that has "${this.#batch.policy}": give it to batch()`,
      );
    }
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
        const isTold = error instanceof HeadwaterError &&
          (error.code === "disconnected" || this.#told.has(request));
        if (!isTold) this.#owner.fail(error);
        throw error;
      },
    ).finally(() => this.#owner.changed(request.stores));
    // Told by "error", too: it need not be awaited.
    done.catch(() => {});
    return done;
  }
}

function checkWriteOptions(
  action: string,
  options: WriteOptions,
  known: Readonly<Record<string, true>> = WRITE_OPTIONS,
): void {
  checkOptions(action, options, known);
  const { policy } = options;
  const isKnown = policy === undefined || policy === "rebase" ||
    policy === "expectVersion";
  if (isKnown) return;
  throw new TypeError(
    `Cannot ${action}: its policy is "rebase" or "expectVersion", not ${
      shown(policy)
    }`,
  );
}
