/**
 * Compares the states of a file with what was promised to clients.
 *
 * @module
 */
import type { AccountData } from "./account.ts";
import {
  type Items,
  type Padded,
  padOf,
  type Recent,
  type Room,
} from "./app.ts";
import type { CheckedStore, Report } from "./check.ts";

/** What became of writes of which nobody was told. */
export interface UnknownFigures {
  readonly found: number;
  readonly absent: number;
}

/** Stores that hold one label for each write. */
const LISTS = ["Ledger", "Left", "Right", "Ticker"];

/** Looks for every write in the states. */
export function checkStates(
  stores: Readonly<Record<string, CheckedStore>>,
  account: AccountData,
  report: Report,
): UnknownFigures {
  const places = new Map<string, Set<string>>();
  for (const name of LISTS) {
    for (const label of itemsOf(stores[name])) {
      const where = places.get(label) ?? new Set();
      places.set(label, where);
      if (where.has(name)) report("twice", `${name} has ${label} twice`);
      where.add(name);
    }
  }
  checkAcked(stores, account, report);
  for (const label of account.present) {
    if (!places.has(label)) report("lost", `${label} is nowhere`);
  }
  for (const label of account.refused) {
    if (places.has(label)) {
      report("wrong", `${label} was refused, and is there`);
    }
  }
  const told = new Set([
    ...account.acked.map(({ label }) => label),
    ...account.present,
    ...account.unknown,
  ]);
  for (const label of places.keys()) {
    if (!told.has(label)) report("wrong", `Nobody knows of ${label}`);
  }
  checkRooms(stores, account, report);
  checkCounts(stores, account, report);
  // Of the others, only their log could tell.
  const listed = account.unknown.filter((label) =>
    /(a|t|r|o|p)\.\d+$/.test(label)
  );
  const found = listed.filter((label) => places.has(label)).length;
  return { found, absent: listed.length - found };
}

function checkAcked(
  stores: Readonly<Record<string, CheckedStore>>,
  { acked }: AccountData,
  report: Report,
): void {
  const versions = new Map<string, string>();
  for (const { store, label, value, version } of acked) {
    if (Array.isArray(value)) {
      checkLife({ store, label, value }, stores[store], report);
      continue;
    }
    if (LISTS.includes(store)) {
      const found = itemsOf(stores[store])[(value ?? 0) - 1];
      if (found !== label) {
        report("lost", `${store} has ${found} at ${value}, not ${label}`);
      }
    }
    if (version === undefined) continue;
    const key = `${store} ${version}`;
    const other = versions.get(key);
    if (other !== undefined) {
      report(
        "lost",
        `${label} and ${other} were both version ${version} of ${store}`,
      );
    }
    versions.set(key, label);
    if (version > (stores[store]?.version ?? 0)) {
      report("lost", `${store} is not at version ${version} of ${label} yet`);
    }
  }
}

/** A write to one life of a store is in that life, and in no other. */
function checkLife(
  { store, label, value: [life, index] }: {
    store: string;
    label: string;
    value: [string, number];
  },
  found: CheckedStore | undefined,
  report: Report,
): void {
  const items = itemsOf(found);
  const isSame = (found?.state as Partial<Room> | undefined)?.life === life; // as below
  if (isSame && items[index - 1] !== label) {
    report(
      "lost",
      `${store} has ${items[index - 1]} at ${index}, not ${label}`,
    );
  } else if (!isSame && items.includes(label)) {
    report("twice", `${store} has ${label} in two of its lives`);
  }
}

function checkRooms(
  stores: Readonly<Record<string, CheckedStore>>,
  { rooms }: AccountData,
  report: Report,
): void {
  for (const [name, expected] of Object.entries(rooms)) {
    const items = itemsOf(stores[name]);
    if (new Set(items).size < items.length) {
      report("twice", `${name} has a label twice: ${items}`);
    } else if (items.join() !== expected.join()) {
      report("lost", `${name} has ${items}, not ${expected}`);
    }
  }
}

function checkCounts(
  stores: Readonly<Record<string, CheckedStore>>,
  { counts }: AccountData,
  report: Report,
): void {
  for (const { store, strand, least, most } of counts) {
    // The states are what the application of the torture made.
    const state = stores[store]?.state as Partial<Padded & Recent> | undefined;
    const n = (strand === undefined ? state?.n : state?.counts?.[strand]) ?? 0;
    if (n < least || n > most) {
      report(
        n < least ? "lost" : "twice",
        `${store} counts ${n} of ${
          strand ?? "its"
        } writes, not ${least} to ${most}`,
      );
    }
    if (
      state?.pad && state.pad !== padOf(state.label ?? "", state.pad.length)
    ) {
      report("wrong", `${store} is made of pieces that do not fit`);
    }
  }
}

function itemsOf(store: CheckedStore | undefined): readonly string[] {
  return (store?.state as Partial<Items> | undefined)?.items ?? []; // as above
}
