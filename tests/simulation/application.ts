/**
 * The application whose servers are simulated: stores that count and list every
 * write that was made to them, and functions that write in every way there is.
 *
 * @module
 */
import { defineApp } from "../../protocol/contract.ts";
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Clock } from "../../server/ports.ts";
import type { Server } from "../../server/server.ts";
import type { Written } from "../../server/stores/change.ts";
import type { StaticStore } from "../../server/stores/static_store.ts";
import type { InterceptContext } from "../../server/stores/intercept.ts";
import { type Change, makeChange, MARKED, REFUSED } from "./changes.ts";
import { levelOf, ruleOf, TOP_LEVEL } from "./rules.ts";

/** State of every store: what was written, and how often. */
export interface Ledger {
  /** How often each write was applied; twice would be the failure. */
  writes: Record<string, number>;
  /** Number of writes since the last `set` or `reset`. */
  n: number;
  /** The newest writes, so that patches shift arrays. */
  list: string[];
  /** What clients insert, mark and remove. */
  items: Item[];
  /** Tag of the newest merge. */
  note: string;
  /** Tag of the newest write to which the store has added this. */
  mark: string;
  /** Bulk, so that logs outgrow their snapshots and sockets their buffers. */
  pad: string;
}

/** One of a store's items. */
export interface Item {
  readonly id: string;
  /** Tags of the writes that have marked it. */
  readonly marks: string[];
}

/** What every store begins with. */
export const INITIAL: Ledger = {
  writes: {},
  n: 0,
  list: [],
  items: [],
  note: "",
  mark: "",
  pad: "",
};

const mutator = <const Name extends string>(store: Name) => ({
  store,
  run: (draft: Ledger, change: Change) => makeChange(draft, change),
});

/** What both ends know: the stores, and for each kind of them a mutator. */
export const app = defineApp({
  stores: {
    Ledger: { initial: INITIAL },
    Tally: { initial: INITIAL },
    "Room:*": { initial: INITIAL },
    "Brief:*": { initial: INITIAL },
  },
  mutators: {
    changeLedger: mutator("Ledger"),
    changeTally: mutator("Tally"),
    changeRoom: mutator("Room:*"),
    changeBrief: mutator("Brief:*"),
  },
});

/** The mutator of a store. */
export function mutatorOf(store: string): keyof typeof app.mutators {
  const [kind] = store.split(":");
  return `change${kind}` as keyof typeof app.mutators; // each kind has one
}

/** Stores of the application; those with a key are made and deleted at run time. */
export const STORES = ["Ledger", "Tally", "Room:a", "Room:b", "Brief:a"];
/** Those that may be deleted. */
export const DYNAMIC_STORES = STORES.filter((name) => name.includes(":"));
/** How long a store of `Brief:*` lives. */
export const BRIEF_MS = 20_000;

/** What a function tells of each write that it made. */
export interface Receipt {
  readonly store: string;
  readonly tag: string;
  readonly version: number;
  /** {@linkcode Ledger.n} after the write. */
  readonly n: number;
}

/** What every function takes. */
export interface Task {
  readonly tag: string;
  readonly stores: readonly string[];
  /** Characters of bulk; absent: as before. */
  readonly size?: number;
}

/** How a server of a history is set up. */
export interface ApplicationOptions {
  readonly clock: Clock;
  /** Versions that each store keeps. */
  readonly keptVersions: number;
  /** Whether it depends on users who reads and writes what. */
  readonly isGuarded: boolean;
  /** Gives another one each time. */
  readonly newId: () => string;
}

/** Defines the stores and the functions. */
export function defineApplication(
  server: Server<typeof app>,
  { clock, keptVersions, isGuarded, newId }: ApplicationOptions,
): void {
  const options = {
    history: { versions: keptVersions },
    write: isGuarded ? ruleOf("write") : true,
    ...(isGuarded && { read: ruleOf("read") }),
    intercept,
  };
  server.createStore("Ledger", options);
  server.createStore("Tally", options);
  // No two lives look the same: it can be told which of them somebody shows.
  const onCreate = (key: string | null) => ({ pad: `${key} ${newId()}` });
  server.createStore("Room:*", options).onCreate(onCreate);
  server.createStore("Brief:*", { ...options, ttlMs: BRIEF_MS })
    .onCreate(onCreate);

  const storeOf = (name: string) => storeOn(server, name);

  server.handle("add", async ({ stores, ...task }: Task) => {
    const receipts: Receipt[] = [];
    for (const name of stores) receipts.push(await add(storeOf(name), task));
    return receipts;
  });
  server.handle("addTogether", ({ stores, ...task }: Task) => {
    return Promise.all(stores.map((name) => add(storeOf(name), task)));
  });
  server.handle("transact", async ({ stores, ...task }: Task) => {
    const made = stores.map((name) => ({ store: storeOf(name), name }));
    const written = await server.transaction((tx) => {
      for (const { store } of made) tx(store).update(addition(task));
    });
    return made.map(({ name }, index): Receipt => {
      const { version, value } = written[index]!; // one for each
      return { store: name, tag: task.tag, version, n: Number(value) };
    });
  });
  server.handle("addTwice", ({ stores, tag }: Task) => {
    const store = storeOf(stores[0]!);
    return Promise.all([
      add(store, { tag: `${tag}.0` }),
      add(store, { tag: `${tag}.1` }),
    ]);
  });
  server.handle("addOnce", async ({ stores, ...task }: Task) => {
    return [await add(storeOf(stores[0]!), task)];
  }, { once: true });
  server.handle("addSlowly", async ({ stores, tag }: Task, { signal }) => {
    const receipts: Receipt[] = [];
    for (const [index, name] of stores.entries()) {
      receipts.push(await add(storeOf(name), { tag: `${tag}.${index}` }));
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(300, resolve);
        signal.addEventListener("abort", () => timer.cancel());
      });
    }
    return receipts;
  });
  server.handle("addAndFail", async ({ stores, ...task }: Task) => {
    await add(storeOf(stores[0]!), task);
    throw new Error("Failed on purpose");
  });
  server.handle("addWhereRefused", async ({ stores, ...task }: Task) => {
    // A call that is run again has to take the same branch: the refusal is recorded.
    try {
      await storeOf(stores[0]!).update((draft) => {
        if (draft.n % 2 === 0) throw new Error("Even");
        draft.n++;
        draft.writes[`${task.tag}.odd`] = 1;
      });
      return [];
    } catch (error) {
      const isRefused = error instanceof HeadwaterError &&
        error.code === "refused";
      // Both runs of a call must be told the same, or they part here.
      const isOwn = error instanceof Error && error.message === "Even";
      if (isOwn && !isRefused) {
        await add(storeOf(stores[0]!), { tag: `${task.tag}.other` });
        return [];
      }
      if (!isRefused) throw error;
      return [await add(storeOf(stores[0]!), task)];
    }
  });
  server.handle("refuse", async ({ stores, tag }: Task) => {
    await storeOf(stores[0]!).update((draft) => {
      draft.writes[tag] = NaN;
    });
  });
  server.handle("replace", async ({ stores, tag }: Task) => {
    const state = { ...INITIAL, writes: { [tag]: 1 }, n: 1 };
    const { version } = await storeOf(stores[0]!).set(state);
    return [{ store: stores[0]!, tag, version, n: 1 }];
  });
  server.handle("reset", async ({ stores }: Task) => {
    await storeOf(stores[0]!).reset();
  });
  server.handle("remove", async ({ stores, ...task }: Task) => {
    await storeOf(stores[0]!).delete();
    return stores[1] ? [await add(storeOf(stores[1]), task)] : [];
  });
}

/** One of the stores. */
export function storeOn(
  server: Server,
  name: string,
): StaticStore<Ledger> {
  return server.store<Ledger>(name)!; // one of STORES
}

/** Makes one write. */
export async function add(
  store: StaticStore<Ledger>,
  { tag, size }: Omit<Task, "stores">,
): Promise<Receipt> {
  const recipe = addition({ tag, ...(size !== undefined && { size }) });
  const { version, value }: Written<number> = await store.update(recipe);
  return { store: store.name, tag, version, n: value };
}

function addition(
  task: Omit<Task, "stores">,
): (draft: Ledger) => number {
  const change = {
    kind: "add",
    at: 0,
    target: "",
    other: "",
    ...task,
  } as const;
  return (draft) => {
    makeChange(draft, change);
    return draft.n;
  };
}

/** Refuses some writes, and adds something to others. */
function intercept(
  updates: Partial<Ledger>,
  { state, user }: InterceptContext<Ledger>,
): Partial<Ledger> | null {
  const tags = Object.keys(updates.writes ?? {})
    .filter((tag) => state.writes[tag] === undefined);
  if (tags.some((tag) => tag.endsWith(REFUSED))) return null;
  const marked = tags.find((tag) => tag.endsWith(MARKED));
  // For some it adds nothing, and refuses what it would add to.
  if (marked !== undefined && levelOf(user) < TOP_LEVEL) return null;
  return marked === undefined ? updates : { ...updates, mark: marked };
}
