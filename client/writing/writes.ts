/**
 * What a client writes: shown at once, sent in order, made again on what others
 * wrote. This module is browser compatible.
 *
 * @module
 */
import type { Recipe } from "../../protocol/draft.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { cleanValue, type Json } from "../../protocol/value.ts";
import type { PendingRequest } from "../request.ts";
import type { Subscription } from "../subscription.ts";
import type {
  ClientWritten,
  MutateOptions,
  WritePolicy,
} from "../write_options.ts";
import type {
  KeptState,
  StoreWriteOptions,
  Writing,
  WritingOwner,
} from "../writing_port.ts";
import { Keeper } from "./keeper.ts";
import type { KeptRequest } from "./kept_records.ts";
import { Mutators, unseenWrite } from "./mutators.ts";
import { fixedEntry, PendingEntry } from "./pending_entry.ts";
import { guessStep, recipeStep, setStep } from "./steps.ts";
import { StoreWrites } from "./store_writes.ts";
import { WriteRequest } from "./write_request.ts";

/** See the module's documentation. */
export class Writes implements Writing {
  readonly keeper: Keeper | undefined;
  readonly #owner: WritingOwner;
  readonly #mutators: Mutators;
  readonly #stores = new WeakMap<Subscription, StoreWrites>();
  #batch: WriteRequest | undefined;

  constructor(owner: WritingOwner) {
    this.#owner = owner;
    this.#mutators = new Mutators(owner);
    const { storage } = owner;
    this.keeper = storage && new Keeper(storage, { writes: this, owner });
  }

  update(
    store: Subscription,
    recipe: Recipe<never, unknown>,
    { policy }: StoreWriteOptions,
  ): Promise<ClientWritten> {
    const entry = new PendingEntry(recipeStep(recipe));
    return this.#writeNew(this.#of(store), entry, policy);
  }

  set(
    store: Subscription,
    state: Json,
    { policy }: StoreWriteOptions,
  ): Promise<ClientWritten> {
    const entry = new PendingEntry(setStep(state));
    return this.#writeNew(this.#of(store), entry, policy);
  }

  undo(store: Subscription): Promise<ClientWritten | undefined> {
    const writes = this.#of(store);
    return writes.undo.undo((entry) =>
      this.#writeEntry(writes, entry, undefined)
    ) ?? Promise.resolve(undefined);
  }

  redo(store: Subscription): Promise<ClientWritten | undefined> {
    const writes = this.#of(store);
    return writes.undo.redo((entry) =>
      this.#writeEntry(writes, entry, undefined)
    ) ?? Promise.resolve(undefined);
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
    { store, policy }: MutateOptions,
  ): Promise<ClientWritten> {
    const call = this.#mutators.call(name, args, store);
    const subscription = this.#owner.find(call.store);
    if (subscription) {
      return this.#writeNew(this.#of(subscription), call.entry, policy);
    }
    const write = unseenWrite(call.store, call.named);
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
      this.#owner.revived(store.subscription);
    }
  }

  batch(run: () => void, policy?: WritePolicy): Promise<void> {
    const request = this.#batch = new WriteRequest(policy);
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
    pending: PendingRequest,
    guesses: ReadonlyMap<Subscription, (state: never) => unknown>,
  ): void {
    for (const [subscription, guess] of guesses) {
      const entry = new PendingEntry((state) => guessStep(state, guess), {
        isGuess: true,
      });
      entry.request = pending;
      this.#of(subscription).add(entry);
    }
    const end = () => {
      for (const store of guesses.keys()) this.#of(store).drop(pending);
      this.#owner.changed(guesses.keys());
    };
    pending.answer.promise.then(end, end);
    this.#owner.changed(guesses.keys());
  }

  #of(subscription: Subscription): StoreWrites {
    const known = this.#stores.get(subscription);
    if (known) return known;
    const store = subscription.overlay = new StoreWrites(subscription);
    this.#stores.set(subscription, store);
    return store;
  }

  #writeNew(
    store: StoreWrites,
    entry: PendingEntry,
    policy: WritePolicy | undefined,
  ): Promise<ClientWritten> {
    const written = this.#writeEntry(store, entry, policy);
    store.undo.wrote(entry, this.#batch);
    return written;
  }

  #writeEntry(
    store: StoreWrites,
    entry: PendingEntry,
    policy: WritePolicy | undefined,
  ): Promise<ClientWritten> {
    return this.#request(policy, (request) => request.add(store, entry));
  }

  #request(
    policy: WritePolicy | undefined,
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
}
