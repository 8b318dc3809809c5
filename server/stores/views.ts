/**
 * What the subscribers of a store see where that is not its state: one view for each
 * audience, made once for all who belong to it, and sent as what differs in it.
 *
 * A view has the versions of its store, so that whoever waits for one sees it there.
 *
 * @module
 */
import { diffStates } from "../../protocol/diff.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import { shareValue } from "../../protocol/share.ts";
import { cleanValue, freezeDeep, type Json } from "../../protocol/value.ts";
import { userIdOf } from "../../protocol/principal.ts";
import { newId } from "../log/ids.ts";
import type { Clock, Random } from "../ports.ts";
import { Fanout, type Relay, type Subscriber } from "./fanout.ts";
import type { Position, SentChange } from "./recent_patches.ts";
import { sizeOf } from "./size.ts";
import type { AccessContext } from "./writer.ts";

/** Views without subscribers that are kept for those who come back. */
const IDLE_VIEWS = 32;
/** Bytes of recent patches of one view; there may be as many views as subscribers. */
const RECENT_BYTES = 32 * 1024;
/** Versions that a view may be behind and still be resumed. */
const MOST_VERSIONS = 10_000;

/** Who asks for a view. */
export interface ViewContext extends AccessContext {
  /** What `audience` has returned, or what stands for the user or client. */
  readonly audience: string;
}

/** What subscribers see, and who sees the same; see {@linkcode StoreOptions}. */
export interface ViewRules {
  readonly view: (state: never, context: ViewContext) => unknown;
  readonly audience: ((context: AccessContext) => string) | undefined;
}

/** What the views of a store are made of. */
export interface ViewsOptions {
  /** The fan-out of the store itself. */
  readonly store: Fanout;
  readonly rules: ViewRules;
  readonly clock: Clock;
  readonly random: Random;
  /** Called when a view could not be made. */
  readonly onError: (error: unknown) => void;
  /** Called when there are other subscribers, with how many of them have left. */
  readonly watch: (departed: number) => void;
}

/** One audience's view. */
interface View {
  readonly context: ViewContext;
  readonly fanout: Fanout;
  /** Its subscribers, as they were counted last. */
  count: number;
}

/** See the module's documentation. */
export class Views implements Relay {
  readonly #options: ViewsOptions;
  /** By audience; those without subscribers in the order in which theirs have left. */
  readonly #views = new Map<string, View>();
  /** Parts of states, which are clean and frozen, and how deep they are. */
  readonly #heights = new WeakMap<object, number>();
  #size = 0;
  #idle = 0;
  #isMoving = false;
  #diffs = 0;

  /** Nobody has asked for a view yet. */
  constructor(options: ViewsOptions) {
    this.#options = options;
  }

  /** @inheritdoc */
  get size(): number {
    return this.#size;
  }

  /** How often a view was compared with the one before. */
  get diffs(): number {
    return this.#diffs;
  }

  /**
   * What whoever asks is to follow, as new as it may be shown.
   *
   * @throws {HeadwaterError} `store_unreadable` if the view cannot be made; what went
   * wrong is not for clients.
   */
  open(context: AccessContext): Fanout {
    const { store } = this.#options;
    store.flush();
    try {
      const { key, audience } = this.#audienceOf(context);
      const view = this.#views.get(key);
      if (view?.count === 0) this.#catchUp(view);
      return (view ?? this.#create(key, { ...context, audience })).fanout;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Lets a subscriber follow another view, though the store has lost none. */
  move(subscriber: Subscriber, from: Fanout, to: Fanout): void {
    this.#isMoving = true;
    to.add(subscriber);
    from.delete(subscriber);
    this.#isMoving = false;
  }

  /** @inheritdoc */
  *advance(): Iterable<Fanout> {
    for (const [key, view] of [...this.#views]) {
      if (view.count > 0 && this.#try(key, view, () => this.#catchUp(view))) {
        yield view.fanout;
      }
    }
  }

  /** @inheritdoc */
  jumped(): void {
    for (const [key, view] of [...this.#views]) {
      if (view.count === 0) this.#forget(key);
      else this.#try(key, view, () => this.#jump(view));
    }
  }

  /** @inheritdoc */
  ended(reason: "deleted" | HeadwaterError): void {
    const views = [...this.#views.values()];
    this.#views.clear();
    for (const { fanout } of views) fanout.end(reason);
  }

  #create(key: string, context: ViewContext): View {
    const { store, clock } = this.#options;
    const { number, name } = store;
    const view: View = {
      context,
      fanout: new Fanout({
        number,
        name,
        clock,
        // What comes here was gathered already.
        maxWindowMs: 0,
        position: this.#newPosition(),
        state: this.#make(context),
        recentBytes: RECENT_BYTES,
        watch: (departed) => this.#watched(key, view, departed),
      }),
      count: 0,
    };
    this.#views.set(key, view);
    this.#idle++;
    return view;
  }

  /** A position that only who follows this view from here on can prove. */
  #newPosition(): Position {
    const { store, random } = this.#options;
    return { ...store.position, writer: newId(random) };
  }

  /** Brings a view to where the store is. */
  #catchUp({ fanout, context }: View): void {
    const { store } = this.#options;
    const { position: { version } } = store;
    const { position, state } = fanout;
    const missed = version - position.version;
    if (missed === 0) return;
    const next = this.#make(context, state);
    this.#diffs++;
    const patch = diffStates(state, next);
    if (missed > MOST_VERSIONS) {
      return fanout.jump(this.#newPosition(), next);
    }
    const recent = store.frames.since(position.version);
    const changes: SentChange[] = Array.from({ length: missed }, (_, index) => {
      // Nobody is ever at a version in between: the last patch has what they all did.
      const origin = recent?.[index]?.origin;
      return index === missed - 1
        ? { patch, bytes: sizeOf(patch), origin }
        : { patch: [], bytes: 0, origin };
    });
    // Flushed by who has asked, with the other views and stores.
    fanout.hold();
    fanout.push(changes, { position: { ...position, version }, state: next });
    fanout.release();
  }

  #jump({ fanout, context }: View): void {
    fanout.jump(this.#newPosition(), this.#make(context, fanout.state));
  }

  /** The view as it is now, frozen, sharing with the one before what is the same. */
  #make(context: ViewContext, before?: Json): Json {
    const { store, rules } = this.#options;
    this.#measure(store.state);
    // The definition does not know the type of the state.
    const made = rules.view(store.state as never, context);
    const clean = cleanValue(made, {
      what: `the view of store "${store.name}"`,
      heightOf: (value) => this.#heights.get(value),
    });
    return freezeDeep(shareValue(before, clean));
  }

  /** Remembers the parts of a state; those that are known are not looked into. */
  #measure(value: Json): number {
    if (typeof value !== "object" || value === null) return 0;
    const known = this.#heights.get(value);
    if (known !== undefined) return known;
    let height = 1;
    for (const part of Object.values(value)) {
      height = Math.max(height, 1 + this.#measure(part));
    }
    this.#heights.set(value, height);
    return height;
  }

  #audienceOf(context: AccessContext): { key: string; audience: string } {
    const { audience: rule } = this.#options.rules;
    if (!rule) {
      const { user, clientId } = context;
      const audience = userIdOf(user) ?? clientId;
      const isClient = userIdOf(user) === undefined;
      // The same user may be allowed more in one connection than in another.
      return { key: JSON.stringify([isClient, audience, user]), audience };
    }
    const audience: unknown = rule(context);
    if (typeof audience === "string") return { key: audience, audience };
    throw new TypeError("An audience must be a text");
  }

  /** Runs `make`; where it fails, those who follow the view are told, and it is forgotten. */
  #try(key: string, view: View, make: () => void): boolean {
    try {
      make();
      return true;
    } catch (error) {
      this.#forget(key);
      view.fanout.end(this.#failed(error));
      return false;
    }
  }

  #failed(cause: unknown): HeadwaterError {
    const { store: { name }, onError } = this.#options;
    onError(cause);
    const message = `Cannot show store "${name}": its view failed`;
    return new HeadwaterError("store_unreadable", message);
  }

  #watched(key: string, view: View, departed: number): void {
    const before = view.count;
    view.count = view.fanout.size;
    this.#size += view.count - before;
    if (this.#views.get(key) === view) {
      if (before === 0) this.#idle--;
      if (view.count === 0) this.#park(key, view);
    }
    if (!this.#isMoving) this.#options.watch(departed);
  }

  /** Keeps it for who comes back, in the place of the one that was left first. */
  #park(key: string, view: View): void {
    this.#views.delete(key);
    this.#views.set(key, view);
    this.#idle++;
    if (this.#idle <= IDLE_VIEWS) return;
    for (const [other, { count }] of this.#views) {
      if (count > 0) continue;
      return this.#forget(other);
    }
  }

  #forget(key: string): void {
    if (this.#views.get(key)?.count === 0) this.#idle--;
    this.#views.delete(key);
  }
}
