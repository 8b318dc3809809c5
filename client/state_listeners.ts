/**
 * Who listens to parts of a state. This module is browser compatible.
 *
 * @module
 */
import { equalValues, type Json } from "../protocol/json.ts";
import { checkFunction } from "../protocol/shown.ts";

/** What a listener of parts is called for; all properties of the state if nothing is named. */
export interface ListenerOptions<T, S> {
  /** Only these properties. */
  properties?: readonly (keyof T & string)[] | undefined;
  /** Only what this makes of the state; the listener gets that in place of properties. */
  selector?: ((state: T) => S) | undefined;
  /**
   * Whether two selected values are the same, so that there is nothing to tell.
   *
   * @default {Object.is}, which suits parts of a state: what has not changed is the same object
   */
  equals?: ((a: S, b: S) => boolean) | undefined;
}

/** A listener with what it looks at; its author has paired their types. */
interface Entry {
  readonly run: (changed: never, previous: never) => void;
  readonly options: ListenerOptions<never, unknown>;
  /** The state that it was shown last. */
  seen: State | undefined;
  /** What its selector had made of the state when it was called last. */
  told?: { readonly selected: unknown };
}

type State = Readonly<Record<string, Json>>;

/** The listeners of a handle, by the id that they were given. */
export class StateListeners {
  readonly #entries = new Map<string, Entry>();
  readonly #guard: (run: () => void) => void;

  constructor(guard: (run: () => void) => void) {
    this.#guard = guard;
  }

  /** Adds a listener that knows `state`, in place of one with the same id; returns its undo. */
  add(
    id: string,
    listener: Pick<Entry, "run" | "options">,
    state: Json | undefined,
  ): () => void {
    const { properties, selector, equals } = listener.options;
    if (properties !== undefined && !Array.isArray(properties)) {
      throw new TypeError(
        `Cannot listen as "${id}": properties must be an array of names`,
      );
    }
    for (const [name, value] of Object.entries({ selector, equals })) {
      if (value !== undefined) {
        checkFunction(value, `Cannot listen as "${id}": its ${name}`);
      }
    }
    if (properties && selector) {
      throw new TypeError(
        `Cannot listen as "${id}": name properties or a selector, not both`,
      );
    }
    const entry = { ...listener, seen: state as State | undefined }; // states are objects
    this.#entries.set(id, entry);
    return () => {
      if (this.#entries.get(id) === entry) this.#entries.delete(id);
    };
  }

  /** Removes the listener with that id; returns whether there was one. */
  remove(id: string): boolean {
    return this.#entries.delete(id);
  }

  /** Removes all. */
  clear(): void {
    this.#entries.clear();
  }

  /** Calls those for whom something has changed; one that throws stops no other. */
  tell(state: Json): void {
    for (const [id, entry] of [...this.#entries]) {
      // An earlier one has taken it off, or put another in its place.
      if (this.#entries.get(id) !== entry) continue;
      this.#guard(() => tellOne(entry, state as State)); // states are objects
    }
  }
}

function tellOne(entry: Entry, state: State): void {
  const { run, options, seen } = entry;
  entry.seen = state;
  if (options.selector) return tellSelected(entry, state, seen);
  const changed: Record<string, Json | undefined> = {};
  const previous: Record<string, Json | undefined> = {};
  let isChanged = false;
  for (
    const name of options.properties ??
      new Set([...Object.keys(seen ?? {}), ...Object.keys(state ?? {})])
  ) {
    const [before, after] = [memberOf(seen, name), memberOf(state, name)];
    if (isSame(before, after)) continue;
    isChanged = true;
    changed[name] = after;
    previous[name] = before;
  }
  if (isChanged) run(changed as never, previous as never);
}

function tellSelected(
  entry: Entry,
  state: State,
  seen: State | undefined,
): void {
  const { run, options: { selector, equals = Object.is } } = entry;
  // A selector of the shape that the listener's author has named.
  const select = (from: State): unknown => selector!(from as never);
  // Compared with what the listener knows, not with the message before: many small
  // steps, of which `equals` passes over each, would else never be told.
  if (seen && !entry.told) entry.told = { selected: select(seen) };
  const selected = select(state);
  const before = entry.told?.selected;
  if (entry.told && equals(selected as never, before as never)) return;
  entry.told = { selected };
  run(selected as never, before as never);
}

/** A property, and none that every object has; a view may be no object at all. */
function memberOf(state: State | null | undefined, name: string) {
  return state && Object.hasOwn(state, name) ? state[name] : undefined;
}

function isSame(before: Json | undefined, after: Json | undefined): boolean {
  if (before === after) return true;
  return before !== undefined && after !== undefined &&
    equalValues(before, after);
}
