/**
 * The stores of a transaction, each with the changes that it is to take.
 *
 * @module
 */
import { type StoreId, storeKey } from "../log/keys.ts";
import type { JointPart } from "./joint_part.ts";
import type { Store } from "./store.ts";

/** Gives a store, which is created if need be. */
export type OpenStore = (id: StoreId) => Promise<Store>;

/** One store of a transaction that holds it. */
export interface Seat {
  readonly store: Store;
  readonly parts: readonly JointPart[];
}

/** How often the stores are opened because one of them was unloaded meanwhile. */
const ATTEMPTS = 4;

/** Opens the stores of the changes, in order of their names. */
export async function openSeats(
  parts: readonly JointPart[],
  { open, loaded }: {
    open: OpenStore;
    /** The store, if it is loaded. */
    loaded: (id: StoreId) => Store | undefined;
  },
): Promise<Seat[]> {
  for (let attempt = 1;; attempt++) {
    const seats = await toSeats(parts, open);
    // One may have been unloaded while a hook of another was running: nobody would learn
    // of what is written to it.
    const isLoaded = ({ store }: Seat) => loaded(store.id) === store;
    if (seats.every(isLoaded) || attempt === ATTEMPTS) return seats;
  }
}

async function toSeats(
  parts: readonly JointPart[],
  open: OpenStore,
): Promise<Seat[]> {
  const byStore = Map.groupBy(parts, ({ id }) => storeKey(id));
  const names = [...byStore.keys()].toSorted();
  const opened = names.map(async (name): Promise<Seat> => {
    const parts = byStore.get(name)!; // one of its keys
    return { store: await open(parts[0]!.id), parts }; // no group is empty
  });
  // All are waited for: what fails later than another must not be left alone.
  const settled = await Promise.allSettled(opened);
  return settled.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/** The store of that id. */
export function seatOf(seats: readonly Seat[], id: StoreId): Seat {
  const key = storeKey(id);
  return seats.find(({ store }) => storeKey(store.id) === key)!; // every part has one
}
