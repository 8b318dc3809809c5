/**
 * A box office: every seat of a show is sold once.
 *
 * @module
 */
import type { Server } from "@headwater/sync/server";

/** State of a store "Show:*". */
export interface Show {
  /** Who has which seat. */
  seats: Record<string, string>;
}

/** What `seats.book` takes. */
export interface Booking {
  show: string;
  seat: string;
  name: string;
}

/** Creates the stores and functions of the box office. */
export function defineBoxOffice(server: Server): void {
  const shows = server.createStore<Show>("Show:*", { seats: {} });

  server.handle("seats.book", async ({ show, seat, name }: Booking) => {
    await shows.update(show, (draft) => {
      const holder = draft.seats[seat];
      if (holder !== undefined) throw new Error(`${seat} is sold to ${holder}`);
      draft.seats[seat] = name;
    });
  });
}
