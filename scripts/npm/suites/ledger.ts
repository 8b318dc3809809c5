/**
 * A server that writes what a real one writes, and reads what was there: run on Deno
 * and on Node by turns, over one file.
 *
 * `ledger PATH WHO` adds an entry by that name and prints, as JSON, all that it has.
 *
 * @module
 */
import process from "node:process";
import { createServer } from "@headwater/sync/server";

const [path = "", who = ""] = process.argv.slice(2);
const server = createServer({ kv: path });
const ledger = server.createStore("Ledger", { by: [] as string[] });
// Over one KV value, and over one atomic: chunks, and their flip.
const big = server.createStore("Big", { text: "" });
const rooms = server.createStore("Room:*", { visits: 0 });

const { version } = await ledger.update((draft) => void draft.by.push(who));
await big.update((draft) => void (draft.text += who.repeat(100_000)));
await rooms.update("general", (draft) => void draft.visits++);
await server.transaction((tx) => {
  tx(rooms, who).update((draft) => void draft.visits++);
  tx(rooms, "both").update((draft) => void draft.visits++);
});
const { entries } = await ledger.history();
console.log(JSON.stringify({
  version,
  by: (await ledger.get()).by,
  big: (await big.get()).text.length,
  visits: (await rooms.get("general"))?.visits,
  both: (await rooms.get("both"))?.visits,
  history: entries.length,
  first: await ledger.at(2),
  stores: await server.listStores(),
}));
await server.close();
