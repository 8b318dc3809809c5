/**
 * Writes of a client that take effect together, from when they are made until
 * they are answered. This module is browser compatible.
 *
 * @module
 */
import { encodeMap } from "../../protocol/client_codec.ts";
import { LimitError } from "../../protocol/errors.ts";
import {
  type ClientWrite,
  type MutateFrame,
  type MutatorWrite,
  WRITES_PER_BATCH,
} from "../../protocol/frames.ts";
import type { Json } from "../../protocol/value.ts";
import { toMutateMap } from "../../protocol/write_maps.ts";
import { Deferred } from "../deferred.ts";
import type { KeptWrite } from "./kept_records.ts";
import type { PendingRequest, Request, Sending } from "../request.ts";
import type { Subscription } from "../subscription.ts";
import type { ClientWritten, WritePolicy } from "../write_options.ts";
import type { PendingEntry } from "./pending_entry.ts";
import type { StoreWrites } from "./store_writes.ts";

/** See the module's documentation. */
export class WriteRequest implements Request {
  readonly timesOut = false;
  readonly isLasting = true;
  /** What happens if others have written meanwhile. */
  readonly policy: WritePolicy;
  readonly #stores = new Set<StoreWrites>();
  /** Writes to stores of which there is nothing here. */
  readonly #unseen: MutatorWrite[] = [];
  readonly #results: {
    readonly name: string;
    readonly written: Deferred<ClientWritten>;
  }[] = [];
  /** With the store of each. */
  readonly #entries = new Map<PendingEntry, StoreWrites>();
  #pending: PendingRequest | undefined;
  #failure: Error | undefined;
  #isRefused = false;
  /** Its writes as they were encoded last. */
  #encoded: { readonly entry: PendingEntry; readonly write: ClientWrite }[] =
    [];

  constructor(policy: WritePolicy = "rebase") {
    this.policy = policy;
  }

  /** The first store that it writes to. */
  get name(): string {
    return this.#results[0]?.name ?? "";
  }

  get action(): string {
    return `write to store "${this.name}"`;
  }

  /** The stores that show it. */
  get stores(): Subscription[] {
    return [...this.#stores].map(({ subscription }) => subscription);
  }

  /** Its writes to stores that are here, with those. */
  get entries(): ReadonlyMap<PendingEntry, StoreWrites> {
    return this.#entries;
  }

  /** Whether it does nothing. */
  get isEmpty(): boolean {
    return this.#results.length === 0;
  }

  /** Adds a write to a store that is here; what it throws passes through, and it is not added. */
  add(store: StoreWrites, entry: PendingEntry): Promise<ClientWritten> {
    this.#checkSize(store.name);
    store.add(entry);
    return this.#take(store, entry);
  }

  /** Adds a write that an earlier client has made; the store shows it already. */
  addKept(store: StoreWrites, entry: PendingEntry): void {
    this.#take(store, entry);
  }

  /** Adds a write by a mutator to a store of which there is nothing here. */
  addUnseen(write: MutatorWrite): Promise<ClientWritten> {
    this.#checkSize(write.name);
    this.#unseen.push(write);
    return this.#expect(write.name);
  }

  /** It is queued. */
  queued(pending: PendingRequest): void {
    this.#pending = pending;
    for (const entry of this.#entries.keys()) entry.request = pending;
  }

  /** Its writes have taken effect; `value` is what the server has answered. */
  succeed(value: Json | undefined): void {
    const versions = new Map(value as [string, number][] ?? []); // PROTOCOL.md, section 8
    for (const store of this.#stores) {
      if (this.#pending) store.confirm(this.#pending);
    }
    for (const { name, written } of this.#results) {
      written.resolve({ version: versions.get(name) ?? 0 });
    }
  }

  /** They have not, as far as is known; returns why. */
  fail(cause: unknown): Error {
    this.#drop();
    for (const [entry, store] of this.#entries) store.undo.forget(entry);
    const error = this.#failure ??
      (cause instanceof Error ? cause : new Error(String(cause)));
    for (const { written } of this.#results) written.rejectQuietly(error);
    return error;
  }

  /** Takes everything back before it was queued. */
  undo(cause: unknown): void {
    const request: PendingRequest = {
      number: undefined,
      answer: new Deferred(),
    };
    this.queued(request);
    this.fail(cause);
  }

  encode(sending: Sending): Uint8Array<ArrayBuffer> {
    const request = this.#pending!; // nothing is sent before it is queued
    const made = new Map(
      [...this.#stores].flatMap((store) =>
        store.pending?.toWrites(request, store.name, store.base) ?? []
      ).map(({ entry, write }) => [entry, write]),
    );
    this.#encoded = [...this.#entries.keys()].flatMap((entry) => {
      // The state here contains it already, but its answer was lost: asked for as it was.
      const write = made.get(entry) ?? entry.sent;
      return write ? [{ entry, write }] : [];
    });
    // On what others wrote it cannot be made again, and the server has nothing of it.
    const failed = this.#encoded.find(({ entry }) =>
      entry.error && !entry.sent
    );
    if (failed) throw failed.entry.error;
    const exact = this.policy === "expectVersion";
    const writes = this.#encoded.map(({ entry, write }) =>
      // No life of the store has no name: the server tells of the conflict.
      exact && entry.isBeaten ? { ...write, epoch: "" } : write
    );
    const frame: MutateFrame = {
      type: "mut",
      ...sending,
      ...(exact && { exact }),
      writes: [...writes, ...this.#unseen],
    };
    return encodeMap(toMutateMap(frame));
  }

  /** Whether others have written since it was made. */
  get isBeaten(): boolean {
    return [...this.#entries.keys()].some(({ isBeaten }) => isBeaten);
  }

  /** What a later client needs of it; undefined where it has taken effect, or cannot. */
  toKept(): KeptWrite[] | undefined {
    if (this.hasLanded) return undefined;
    const kept: KeptWrite[] = [];
    for (const [entry, store] of this.#entries) {
      store.pending?.settle();
      const { named, patch, sent } = entry;
      const last = patch ?? (sent && "patch" in sent ? sent.patch : undefined);
      if (named) kept.push({ store: store.name, named });
      else if (last && !store.subscription.error) {
        kept.push({ store: store.name, patch: last });
      } else return undefined;
    }
    for (const write of this.#unseen) {
      const { name, mutator, seed, args } = write;
      const named = { mutator, seed, ...(args !== undefined && { args }) };
      kept.push({ store: name, named });
    }
    return kept;
  }

  /** Whether the server's state contains it, though no answer has told so. */
  get hasLanded(): boolean {
    return [...this.#entries.keys()].some((entry) => entry.hasLanded);
  }

  /** @inheritdoc */
  sent(): void {
    for (const { entry, write } of this.#encoded) entry.sent = write;
    this.#encoded = [];
  }

  /** @inheritdoc */
  get isHeld(): boolean {
    return this.stores.some(({ isAsking }) => isAsking);
  }

  /** @inheritdoc */
  get isBlocked(): boolean {
    // Made on the state that was refused it would be refused again, and again.
    return this.#isRefused &&
      this.stores.some(({ isRetrying }) => isRetrying);
  }

  /** @inheritdoc */
  isBehind(others: readonly Request[]): boolean {
    return others.some((other) =>
      other instanceof WriteRequest &&
      [...this.#stores].some((store) => other.#stores.has(store))
    );
  }

  /** @inheritdoc */
  rebase(): boolean {
    this.#isRefused = true;
    for (const { error, isOffline } of this.stores) {
      // Nothing would come to make it again on.
      this.#failure = error;
      if (error || isOffline) return false;
    }
    const pending = this.#pending!; // it was sent
    for (const [store, entries] of groupByStore(this.#entries)) {
      store.refuse(pending, entries);
    }
    return true;
  }

  #take(store: StoreWrites, entry: PendingEntry): Promise<ClientWritten> {
    this.#stores.add(store);
    this.#entries.set(entry, store);
    return this.#expect(store.name);
  }

  #expect(name: string): Promise<ClientWritten> {
    const written = new Deferred<ClientWritten>();
    this.#results.push({ name, written });
    return written.promise;
  }

  #drop(): void {
    for (const store of this.#stores) {
      if (this.#pending) store.drop(this.#pending);
    }
  }

  #checkSize(name: string): void {
    const size = this.#results.length + 1;
    if (size <= WRITES_PER_BATCH) return;
    throw new LimitError(
      `add a write to store "${name}" to the batch`,
      "writesPerBatch",
      WRITES_PER_BATCH,
      size,
    );
  }
}

function groupByStore(
  stores: ReadonlyMap<PendingEntry, StoreWrites>,
): Map<StoreWrites, PendingEntry[]> {
  const groups = new Map<StoreWrites, PendingEntry[]>();
  for (const [entry, store] of stores) {
    groups.set(store, [...groups.get(store) ?? [], entry]);
  }
  return groups;
}
