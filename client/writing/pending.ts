/**
 * What a client has done to a store and the server has not confirmed yet: its
 * writes, and its guesses at what its calls do. This module is browser compatible.
 *
 * @module
 */
import type { ClientWrite } from "../../protocol/frames.ts";
import { firstTouched } from "../../protocol/overlap.ts";
import type { Patch } from "../../protocol/patch.ts";
import { equalValues, type Json } from "../../protocol/json.ts";
import type { PendingRequest } from "../request.ts";
import { meansTheSame } from "./kept_patch.ts";
import {
  type PendingEntry,
  type Step,
  tryApply,
  tryKeep,
  tryMake,
} from "./pending_entry.ts";

/** Where the server's state stands. */
export interface Base {
  /** One life of the store; empty where there is nothing of it. */
  readonly epoch: string;
  /** Number of mutations since it began. */
  readonly version: number;
}

/** The entries of one store, in order, on top of what the server has confirmed. */
export class Pending {
  #entries: PendingEntry[] = [];
  #server: Json;
  #shown: Json;
  /** What is shown has to be made again, once somebody asks for it. */
  #isDue = false;
  /**
   * What the first entries have changed, which the server's next state contains;
   * undefined if others were taken out, too.
   */
  #landed: Patch[] | undefined = [];

  /** Nothing is pending on `server`. */
  constructor(server: Json) {
    this.#server = this.#shown = server;
  }

  /** Whether nothing is pending. */
  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** The state with everything that is pending. */
  get state(): Json {
    this.settle();
    return this.#shown;
  }

  /** Puts an entry on top. What it throws passes through; then it is not added. */
  add(entry: PendingEntry): void {
    this.settle();
    // Writes build on writes alone: what is sent must not rest on a guess.
    const base = entry.isGuess || !this.#hasGuesses
      ? this.#shown
      : this.#walk();
    const { state, patch } = entry.make(base);
    entry.before = base;
    entry.patch = patch;
    this.#entries.push(entry);
    this.#shown = this.#hasGuesses ? this.#showAll() : state;
  }

  /** Puts entries of an earlier client below all others, whether they can be made or not. */
  adopt(entries: readonly PendingEntry[]): void {
    for (const entry of this.#entries) entry.isStale = true;
    this.#entries = [...entries, ...this.#entries];
    this.#isDue = true;
  }

  /** What has a number may have been sent, as it is on the server's state at `base`. */
  presumeSent(name: string, base: Base): void {
    for (const { request } of this.#entries) {
      if (request?.number === undefined) continue;
      for (const { entry, write } of this.toWrites(request, name, base)) {
        entry.sent = write;
      }
    }
  }

  /** The server's next state contains these calls and writes; returns how many were pending. */
  land(numbers: readonly number[]): number {
    const before = this.#entries;
    const landed = new Set(numbers);
    this.#entries = this.#entries.filter((entry) => {
      const number = entry.request?.number;
      // Told once more of what the server has refused since: it is to be made again.
      const isOpen = !entry.isGuess && entry.sent === undefined;
      entry.hasLanded = number !== undefined && landed.has(number) && !isOpen;
      return !entry.hasLanded;
    });
    const count = before.length - this.#entries.length;
    const first = before.slice(0, count);
    // Without those of others the frame will bring something else. What the rest builds
    // on is not what a guess has shown.
    if (first.every(({ hasLanded, isGuess }) => hasLanded && !isGuess)) {
      this.#landed?.push(...patchesOf(first));
    }
    return count;
  }

  /** The server's next state contains these requests; returns how many entries were pending. */
  take(requests: readonly PendingRequest[]): number {
    const before = this.#entries.length;
    this.#entries = this.#entries.filter(({ request }) =>
      !request || !requests.includes(request)
    );
    if (this.#entries.length < before) this.#landed = undefined;
    return before - this.#entries.length;
  }

  /**
   * Takes the server's next state, to which `patch` has led; undefined where none
   * has. `isOwn`: it holds nothing but what was landed.
   */
  arrive(server: Json, patch: Patch | undefined, isOwn: boolean): void {
    const landed = this.#landed;
    this.#landed = [];
    this.#server = server;
    // It is what those behind were made on already: nothing has to be made again.
    const isAsMade = isOwn && !this.#isDue && !this.#hasGuesses &&
      landed !== undefined && patch !== undefined &&
      equalPatches(patch, landed.flat());
    if (isAsMade) return;
    this.#isDue = true;
    if (isOwn) return;
    for (const entry of this.#entries) entry.isBeaten = true;
    const writes = this.#entries.filter(({ isGuess }) => !isGuess);
    // Each is made on top of the one before: behind one that is made anew, all are.
    const first = patch === undefined
      ? 0
      : firstTouched(patch, patchesOf(writes));
    if (first < 0) return;
    for (const entry of writes.slice(first)) entry.isStale = true;
  }

  /** Takes a request's entries out, which the server has not applied. */
  drop(request: PendingRequest): void {
    if (!this.#outdate(request)) return;
    this.#entries = this.#entries.filter((entry) => entry.request !== request);
  }

  /** The server has refused a request's writes as they were: they are to be made anew. */
  refuse(request: PendingRequest, entries: readonly PendingEntry[]): void {
    // A KV that was set back has lost what the server's state contained here.
    const isLost = this.#entries.every((entry) => entry.request !== request);
    if (isLost) this.#insert(request, entries);
    this.#outdate(request);
    for (const entry of entries) {
      entry.sent = undefined;
      entry.hasLanded = false;
    }
  }

  /** A request's writes as they are to be sent. */
  toWrites(
    request: PendingRequest,
    name: string,
    { epoch, version: base }: Base,
  ): { readonly entry: PendingEntry; readonly write: ClientWrite }[] {
    this.settle();
    const after = new Set<number>();
    const writes: { entry: PendingEntry; write: ClientWrite }[] = [];
    for (const entry of this.#entries) {
      const number = entry.request?.number;
      if (entry.isGuess) continue;
      if (entry.request !== request) {
        if (writes.length > 0) break;
        if (number !== undefined) after.add(number);
        continue;
      }
      const { patch, named, sent } = entry;
      const place = { name, epoch, base, after: [...after] };
      const made = named
        ? { ...place, ...named }
        : { ...place, patch: patch ?? [] };
      // What cannot be made any more may have been applied as it was sent before.
      writes.push({ entry, write: patch ? made : sent ?? made });
    }
    return writes;
  }

  /** Puts a request's writes where they were: in front of those that were sent after it. */
  #insert(request: PendingRequest, entries: readonly PendingEntry[]): void {
    const { number = Infinity } = request;
    const at = this.#entries.findIndex((entry) =>
      (entry.request?.number ?? Infinity) > number
    );
    const index = at < 0 ? this.#entries.length : at;
    this.#entries = this.#entries.toSpliced(index, 0, ...entries);
  }

  get #hasGuesses(): boolean {
    return this.#entries.some(({ isGuess }) => isGuess);
  }

  /** A request's writes, and those behind them, may not mean what they meant; false if it has none. */
  #outdate(request: PendingRequest): boolean {
    const first = this.#entries.findIndex((entry) => entry.request === request);
    if (first < 0) return false;
    for (const entry of this.#entries.slice(first)) entry.isStale = true;
    this.#isDue = true;
    return true;
  }

  /** Brings the patches of its entries up to the server's state. */
  settle(): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    const state = this.#walk();
    this.#shown = this.#hasGuesses ? this.#showAll() : state;
  }

  /**
   * The server's state with all writes. Their patches are kept up to the first one
   * that is stale, or does not fit: from there on they are made anew. A recipe that
   * makes a new id would else make another one each time.
   */
  #walk(): Json {
    let state = this.#server;
    let isStale = false;
    for (const entry of this.#entries) {
      if (entry.isGuess) continue;
      let step: Step | undefined;
      if (entry.isFixed) {
        step = tryKeep(entry, state);
        isStale ||= !step;
      } else {
        const { patch, before = state } = entry;
        // Whatever has come may have moved the items that its patch leads to.
        isStale ||= entry.isStale || patch === undefined ||
          (before !== state && !meansTheSame(patch, before, state));
        step = isStale ? undefined : tryApply(state, entry.patch!); // stale without one
        if (!step) {
          isStale = true;
          step = tryMake(entry, state);
        }
      }
      entry.isStale = false;
      entry.before = state;
      entry.patch = step?.patch;
      state = step?.state ?? state;
    }
    return state;
  }

  /** Writes and guesses, in order. */
  #showAll(): Json {
    let state = this.#server;
    for (const entry of this.#entries) {
      if (entry.isFixed && !entry.patch) continue; // it is lost
      try {
        state = entry.make(state).state;
      } catch {
        // A guess that does not fit any more, or a write that the server will refuse.
      }
    }
    return state;
  }
}

function equalPatches(a: Patch, b: Patch): boolean {
  // They are values, which their types do not say.
  return equalValues(a as unknown as Json, b as unknown as Json);
}

function* patchesOf(entries: readonly PendingEntry[]): Generator<Patch> {
  for (const { patch } of entries) yield patch ?? [];
}
