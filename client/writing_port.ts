/**
 * What the client asks of the part of it that writes, which is loaded apart. This
 * module is browser compatible.
 *
 * @module
 */
import type { AnyMutator } from "../protocol/contract.ts";
import type { Json } from "../protocol/json.ts";
import type {
  ClientWritten,
  MutateOptions,
  WriteOptions,
} from "./write_options.ts";
import type { ClientClock } from "./environment.ts";
import type { Outbox } from "./outbox.ts";
import type { ReplicaOutcome, Replicated, StateFrame } from "./replica.ts";
import type { Journal, PendingRequest } from "./request.ts";
import type { ClientStorage } from "./storage.ts";
import type { Subscription } from "./subscription.ts";

/** The module that is loaded. */
export interface WritingModule {
  /** Begins, where nothing was written yet. */
  startWriting(owner: WritingOwner): Writing;
}

/** Loads it; at once where it is there. */
export type LoadWriting = () => WritingModule | Promise<WritingModule>;

/** What a client writes with. What throws has written nothing. */
export interface Writing {
  /** What keeps writes and states over a reload; undefined without a storage. */
  readonly keeper: StateKeeper | undefined;
  /** The server says who is behind the client. */
  welcomed(user: Json): void;
  /** Why what was written as `user` is not sent: it is another's; undefined where it is not. */
  foreign(user: Json | undefined): Error | undefined;
  /** Writes by a recipe. */
  update(
    store: Subscription,
    recipe: (draft: never) => unknown,
    options: WriteOptions,
  ): Promise<ClientWritten>;
  /** Replaces the state by one that is clean and frozen. */
  set(
    store: Subscription,
    state: Json,
    options: WriteOptions,
  ): Promise<ClientWritten>;
  /** Why a value cannot be shared. */
  refusalOf(value: unknown, what: string): Error | undefined;
  /** Takes the last own change of a store back; undefined where there is none. */
  undo(store: Subscription): Promise<ClientWritten | undefined>;
  /** Makes the change again that was taken back last; undefined where there is none. */
  redo(store: Subscription): Promise<ClientWritten | undefined>;
  /** Runs a mutator here, and has the server run it. */
  mutate(
    name: string,
    args: unknown,
    options: MutateOptions,
  ): Promise<ClientWritten>;
  /** Has everything that `run` writes take effect together. */
  batch(run: () => void, options: WriteOptions): Promise<void>;
  /** Shows what a call is expected to do that is about to be made. */
  guess(
    guesses: ReadonlyMap<Subscription, (state: never) => unknown>,
  ): ShownGuess;
}

/** What a call is expected to do, and is shown. */
export interface ShownGuess {
  /** The call is made: shown until it has taken effect, or failed. */
  follow(pending: PendingRequest): void;
  /** It is not. */
  takeBack(): void;
}

/** What keeps writes and states over a reload. */
export interface StateKeeper extends Journal {
  /** Resolves when it is known what there is to go on with, or that there is nothing. */
  settled(): Promise<void>;
  /** States have changed. */
  keepStates(): void;
  /** A store's state must not be kept any more. */
  forget(name: string): void;
  /** Keeps what there is, for the last time. */
  close(): void;
}

/** What is pending at one store, on top of the server's state. */
export interface Overlay {
  /** The server's state with it; undefined before the first. */
  readonly state: Json | undefined;
  /** Whether nothing is pending. */
  readonly isEmpty: boolean;
  /** Whether there is an own change to take back. */
  readonly canUndo: boolean;
  /** Whether one was taken back, and nothing written since. */
  readonly canRedo: boolean;
  /** The next frame contains these calls and writes. */
  own(calls: readonly number[]): void;
  /** The server's state has taken a frame. */
  arrive(frame: StateFrame, outcome: ReplicaOutcome): void;
  /** A newer state of an earlier client has come in place of the server's. */
  replaced(): void;
}

/** A state that was kept over a reload. */
export interface KeptState {
  /** When it was kept, in milliseconds since 1970. */
  readonly savedAtMs: number;
  /** The server's state, and where it stands. */
  readonly state: Replicated;
}

/** What the part that writes asks of the client. */
export interface WritingOwner {
  /** Time. */
  readonly clock: ClientClock;
  /** From 0 up to but not 1. */
  readonly random: () => number;
  /** Own changes of a store that can be taken back. */
  readonly undoSteps: number;
  /** Where requests wait. */
  readonly outbox: Outbox;
  /** Where writes and states outlive the page. */
  readonly storage: ClientStorage | undefined;
  /** The contract's mutators. */
  readonly mutators: Readonly<Record<string, AnyMutator>>;
  /** Why nothing is sent any more, if so. */
  readonly closedBy: Error | undefined;
  /** Whether a hello was said: what was left in another session needs another connection. */
  readonly hasGreeted: boolean;
  /** The client, as the server knows it; empty before the first welcome. */
  readonly clientId: string;
  /** Who is behind it, as of the last welcome; undefined before the first. */
  readonly user: Json | undefined;
  /** All subscriptions. */
  subscriptions(): Iterable<Subscription>;
  /** The subscription to a store that has a state, if there is one. */
  find(name: string): Subscription | undefined;
  /** The subscription to a store that was written to before a reload. */
  revive(name: string): Subscription;
  /** That one shows what was written. */
  revived(subscription: Subscription): void;
  /** Shows what an earlier client had, where there is nothing newer. */
  show(states: ReadonlyMap<string, KeptState>): void;
  /** Shows nothing more of that, where nothing newer has come. */
  unshow(states: ReadonlyMap<string, KeptState>): void;
  /** These stores may show something else. */
  changed(stores: Iterable<Subscription>): void;
  /** Something may be sent now. */
  flush(): void;
  /** Begins a new connection, if there is one; false where that would end the client. */
  redial(): boolean;
  /** Tells of a failure. */
  fail(error: Error): void;
}
