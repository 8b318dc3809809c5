/**
 * The application whose servers are simulated: stores that count and list every
 * write that was made to them, and functions that write in every way there is.
 *
 * @module
 */
import { HeadwaterError } from "../../protocol/errors.ts";
import type { Clock } from "../../server/ports.ts";
import type { Server } from "../../server/server.ts";
import type { StaticStore, Written } from "../../server/stores/handles.ts";

/** State of every store: what was written, and how often. */
export interface Ledger {
  /** How often each write was applied; twice would be the failure. */
  writes: Record<string, number>;
  /** Number of writes since the last `set` or `reset`. */
  n: number;
  /** The newest writes, so that patches shift arrays. */
  list: string[];
  /** Bulk, so that logs outgrow their snapshots and sockets their buffers. */
  pad: string;
}

/** What every store begins with. */
export const INITIAL: Ledger = { writes: {}, n: 0, list: [], pad: "" };

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
  /** Gives another one each time. */
  readonly newId: () => string;
}

/** Defines the stores and the functions. */
export function defineApplication(
  server: Server,
  { clock, keptVersions, newId }: ApplicationOptions,
): void {
  const history = { versions: keptVersions };
  server.createStore("Ledger", INITIAL, { history });
  server.createStore("Tally", INITIAL, { history });
  // No two lives look the same: it can be told which of them somebody shows.
  const onCreate = (key: string | null) => ({ pad: `${key} ${newId()}` });
  server.createStore("Room:*", INITIAL, { history }).onCreate(onCreate);
  server.createStore("Brief:*", INITIAL, { history, ttlMs: BRIEF_MS })
    .onCreate(onCreate);

  const storeOf = (name: string) => server.store<Ledger>(name)!; // one of STORES

  server.handle("add", async ({ stores, ...task }: Task) => {
    const receipts: Receipt[] = [];
    for (const name of stores) receipts.push(await add(storeOf(name), task));
    return receipts;
  });
  server.handle("addTogether", ({ stores, ...task }: Task) => {
    return Promise.all(stores.map((name) => add(storeOf(name), task)));
  });
  server.handle("transact", async ({ stores, ...task }: Task) => {
    const written = await server.transaction((tx) => {
      for (const name of stores) tx(storeOf(name)).update(adding(task));
    });
    return stores.map((store, index): Receipt => {
      const { version, value } = written[index]!; // one for each
      return { store, tag: task.tag, version, n: value as number };
    });
  });
  server.handle("refuseTogether", async ({ stores, tag }: Task) => {
    await server.transaction((tx) => {
      for (const name of stores) {
        tx(storeOf(name)).update((draft) => {
          draft.writes[tag] = name === stores.at(-1) ? NaN : 1;
        });
      }
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

/** Makes one write. */
export async function add(
  store: StaticStore<Ledger>,
  { tag, size }: Omit<Task, "stores">,
): Promise<Receipt> {
  const { version, value }: Written<number> = await store.update(
    adding({ tag, ...(size !== undefined && { size }) }),
  );
  return { store: store.name, tag, version, n: value };
}

function adding({ tag, size }: Omit<Task, "stores">) {
  return (draft: Ledger): number => {
    draft.writes[tag] = (draft.writes[tag] ?? 0) + 1;
    draft.list.unshift(tag);
    if (draft.list.length > 5) draft.list.splice(3, 1);
    if (size !== undefined) draft.pad = `${tag} `.padEnd(size, "x");
    return ++draft.n;
  };
}
