/** What every panel shows, and how it is taken off. */
import type { Client } from "@headwater/sync/client";

/** State of the store "Counter". */
export interface Counter {
  readonly count: number;
}

/** Shows a counter within an element by some framework; returns the undo. */
export type Panel = (client: Client, element: HTMLElement) => () => void;
