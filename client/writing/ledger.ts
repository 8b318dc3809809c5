/**
 * What of a client is to be kept, and what of that is kept already. This module is
 * browser compatible.
 *
 * @module
 */
import { LimitError } from "../../protocol/errors.ts";
import type { Patch } from "../../protocol/patch.ts";
import {
  type KeptRecords,
  type KeptSession,
  type KeptWrite,
  placeOf,
  recordBytes,
  requestText,
  SESSION_KEY,
  sessionText,
  stateKey,
  stateText,
  USER_KEY,
  userText,
  writeKey,
} from "./kept_records.ts";
import type { Json } from "../../protocol/value.ts";
import type { Replicated } from "../replica.ts";
import type { PendingRequest, QueuedRequest } from "../request.ts";
import type { Subscription } from "../subscription.ts";
import { RecordBook } from "./record_book.ts";
import { WriteRequest } from "./write_request.ts";

/** What there is at one moment. */
export interface LedgerSource {
  /** Whose it is, if that is known. */
  readonly user: Json | undefined;
  /** The session, if there is one. */
  readonly session: KeptSession | undefined;
  /** Requests without an answer, in order. */
  readonly requests: Iterable<QueuedRequest>;
  /** The stores that are looked at, where their states are to be kept, too. */
  readonly stores: Iterable<Subscription>;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Milliseconds since 1970 at a moment of the monotonic clock. */
  toWallMs(monotonicMs: number): number;
}

/** What to save. */
export interface LedgerEntry {
  /** Records, and undefined for those to delete. */
  readonly changes: ReadonlyMap<string, string | undefined>;
  /** The requests that are kept once it is saved, with their numbers. */
  readonly kept: ReadonlyMap<PendingRequest, number | undefined>;
  /** What cannot be kept. */
  readonly errors: readonly Error[];
}

/** A request's record, as it was made last. */
interface Kept {
  readonly key: string;
  readonly request: WriteRequest;
  readonly number: number | undefined;
  readonly isBeaten: boolean;
  readonly patches: readonly (Patch | undefined)[];
}

/** A state's record. */
interface KeptPosition {
  readonly epoch: string;
  readonly version: number;
  readonly writer: string;
  readonly savedAtMs: number;
}

/** See the module's documentation. */
export class Ledger {
  readonly #maxBytes: number;
  readonly #records = new RecordBook();
  readonly #requests = new Map<PendingRequest, Kept>();
  readonly #states = new Map<string, KeptPosition>();
  /** What the storage has, with the numbers that it has. */
  #saved: ReadonlyMap<PendingRequest, number | undefined> = new Map();
  /** Text of the user's record. */
  #user: string | undefined;
  #session: string | undefined;
  #nextPlace = 1;
  /** Requests that will not be kept. */
  #unkept: ReadonlySet<PendingRequest> = new Set();
  /** Those, and others that need not be kept. */
  #loose: ReadonlySet<PendingRequest> = new Set();
  /** States that are too big, by the name of the store. */
  readonly #tooBig = new Set<string>();
  /** Stores whose states must not be kept any more. */
  readonly #ended = new Set<string>();
  /** States that the user before this one was shown. */
  readonly #foreign = new WeakSet<Replicated>();
  /** What the entry at hand cannot keep. */
  #errors: Error[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether the last entry has left a request out. */
  isLoose(request: PendingRequest): boolean {
    return this.#loose.has(request);
  }

  /** Begins with what an earlier client has kept; `restored` by the key of each write. */
  begin(
    records: ReadonlyMap<string, string>,
    { states }: KeptRecords,
    restored: ReadonlyMap<string, QueuedRequest>,
  ): void {
    this.#records.begin(records);
    for (const [name, { savedAtMs, state }] of states) {
      this.#states.set(name, { ...state, savedAtMs });
    }
    for (const [key, queued] of restored) {
      this.#nextPlace = Math.max(this.#nextPlace, placeOf(key) + 1);
      if (!(queued.request instanceof WriteRequest)) continue;
      const { request, number } = queued;
      const { isBeaten } = request;
      const kept = { key, request, number, isBeaten, patches: [] };
      this.#requests.set(queued, kept);
    }
    this.#saved = new Map(
      [...this.#requests].map(([queued, { number }]) => [queued, number]),
    );
    this.#session = records.get(SESSION_KEY);
    this.#user = records.get(USER_KEY);
  }

  /** Deletes a record with the next entry. */
  drop(key: string): void {
    this.#records.put(key, undefined);
  }

  /** A store's state must not be kept any more: it is gone, or not for this user. */
  end(name: string): void {
    this.#ended.add(name);
  }

  /** Another user has come: what there is in these stores is not kept, until it is sent again. */
  disown(stores: Iterable<Subscription>): void {
    for (const name of this.#states.keys()) this.#ended.add(name);
    for (const { current } of stores) if (current) this.#foreign.add(current);
  }

  /** What to save so that no later client sends anything. */
  withdrawal(): Map<string, undefined> {
    return new Map(
      [...this.#requests.values()].map(({ key }) => [key, undefined]),
    );
  }

  /** Requests of which a later client would think that they were never sent. */
  unnumbered(): PendingRequest[] {
    return [...this.#saved].flatMap(([request, number]) =>
      number === undefined ? [request] : []
    );
  }

  /** An entry was saved. */
  saved({ kept }: LedgerEntry): void {
    this.#saved = kept;
  }

  /** The number with which a request is kept, if it is. */
  numberOf(request: PendingRequest): number | undefined {
    return this.#saved.get(request);
  }

  /** What has changed since the last entry. */
  next(source: LedgerSource): LedgerEntry {
    this.#keepUser(source.user);
    this.#keepSession(source.session);
    const { kept, needed } = this.#keepRequests(source);
    const touched = this.#dropAnswered(kept);
    for (const name of this.#ended) this.#dropState(name);
    this.#ended.clear();
    for (const store of [...touched, ...source.stores]) {
      const { name, current } = store;
      if (needed.has(name) || current && this.#foreign.has(current)) continue;
      this.#keepState(store, source.nowMs);
    }
    this.#makeRoom(needed);
    const changes = this.#records.takeChanges();
    const entry = { changes, kept, errors: this.#errors };
    this.#errors = [];
    return entry;
  }

  #keepUser(user: Json | undefined): void {
    if (user === undefined) return;
    const text = userText(user);
    if (text !== this.#user) this.#records.put(USER_KEY, text);
    this.#user = text;
  }

  #keepSession(session: KeptSession | undefined): void {
    const text = session && sessionText(session);
    if (text !== this.#session) this.#records.put(SESSION_KEY, text);
    this.#session = text;
  }

  /** Keeps requests, and the states on which they rest, as far as there is room. */
  #keepRequests(source: LedgerSource) {
    const kept = new Map<PendingRequest, number | undefined>();
    const unkept = new Set<PendingRequest>();
    const loose = new Set<PendingRequest>();
    const needed = new Set<string>();
    let bytes = this.#records.bytesOf(SESSION_KEY) +
      this.#records.bytesOf(USER_KEY);
    for (const queued of source.requests) {
      const { request, number } = queued;
      const writes = request instanceof WriteRequest && request.toKept();
      if (!writes) {
        loose.add(queued);
        continue;
      }
      // What is behind one that is not kept was made on top of it.
      let isKept = unkept.size === 0 && !this.#unkept.has(queued);
      if (isKept) {
        const more = this.#keepRequest(queued, writes, { needed, source });
        isKept = bytes + more <= this.#maxBytes;
        if (isKept) bytes += more;
        else this.#report(`keep a ${request.action}`, bytes + more);
      }
      if (isKept) kept.set(queued, number);
      else {
        loose.add(queued);
        unkept.add(queued);
      }
    }
    this.#unkept = unkept;
    this.#loose = loose;
    return { kept, needed };
  }

  /** Returns the bytes that it takes, with the states that it rests on. */
  #keepRequest(
    queued: QueuedRequest,
    writes: readonly KeptWrite[],
    { needed, source }: { needed: Set<string>; source: LedgerSource },
  ): number {
    const { number, createdMs } = queued;
    const request = queued.request as WriteRequest; // the caller has looked
    const { isBeaten, policy } = request;
    const before = this.#requests.get(queued);
    const patches = writes.map((write) =>
      "patch" in write ? write.patch : undefined
    );
    const key = before?.key ?? writeKey(this.#nextPlace++);
    const isSame = before?.number === number && before?.isBeaten === isBeaten &&
      before?.patches.length === patches.length &&
      patches.every((patch, at) => patch === before.patches[at]);
    if (!isSame) {
      const createdAtMs = source.toWallMs(createdMs);
      const about = { number, createdAtMs, policy, isBeaten };
      this.#requests.set(queued, { key, request, number, isBeaten, patches });
      this.#records.put(key, requestText({ ...about, writes }));
    }
    let bytes = this.#records.bytesOf(key);
    for (const store of request.stores) {
      const { name } = store;
      if (needed.has(name)) continue;
      this.#keepState(store, source.nowMs);
      const isThere = this.#states.has(name);
      if (isThere) needed.add(name);
      // A mutator can run on what the next client gets from the server.
      const isMust = writes.some((write) =>
        "patch" in write && write.store === name
      );
      if (isThere) bytes += this.#records.bytesOf(stateKey(name));
      else if (isMust) bytes = Infinity;
    }
    return bytes;
  }

  /** Deletes the records of requests that are not kept any more; returns the stores that show them. */
  #dropAnswered(kept: ReadonlyMap<PendingRequest, unknown>): Set<Subscription> {
    const touched = new Set<Subscription>();
    for (const [queued, { key, request }] of this.#requests) {
      if (kept.has(queued)) continue;
      this.#requests.delete(queued);
      this.#records.put(key, undefined);
      // In the same step: the write must not be missed until the state is kept, too.
      for (const store of request.stores) touched.add(store);
    }
    return touched;
  }

  #keepState({ name, current, error }: Subscription, nowMs: number): void {
    if (!current || error || this.#tooBig.has(name)) return;
    const { epoch, version, writer } = current;
    const before = this.#states.get(name);
    if (
      before?.epoch === epoch && before.version === version &&
      before.writer === writer
    ) return;
    const text = stateText({ savedAtMs: nowMs, state: current });
    const bytes = recordBytes(stateKey(name), text);
    if (bytes > this.#maxBytes) {
      this.#tooBig.add(name);
      this.#dropState(name);
      return this.#report(`keep the state of store "${name}"`, bytes);
    }
    this.#states.set(name, { epoch, version, writer, savedAtMs: nowMs });
    this.#records.put(stateKey(name), text);
  }

  #dropState(name: string): void {
    if (this.#states.delete(name)) this.#records.put(stateKey(name), undefined);
  }

  /** Deletes states, oldest first, until the rest fits; those that writes rest on stay. */
  #makeRoom(needed: ReadonlySet<string>): void {
    if (this.#records.totalBytes <= this.#maxBytes) return;
    const oldest = [...this.#states].filter(([name]) => !needed.has(name))
      .sort(([, a], [, b]) => a.savedAtMs - b.savedAtMs);
    for (const [name] of oldest) {
      if (this.#records.totalBytes <= this.#maxBytes) return;
      this.#dropState(name);
    }
  }

  #report(action: string, bytes: number): void {
    const actual = Number.isFinite(bytes) ? bytes : this.#maxBytes + 1;
    this.#errors.push(
      new LimitError(action, "maxBytes", this.#maxBytes, actual),
    );
  }
}
