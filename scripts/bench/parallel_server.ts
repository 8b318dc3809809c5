/**
 * A server for `deno serve`, whose isolates each run this file; `BENCH_KV` is the KV file
 * that they share.
 *
 * @module
 */
import { serve } from "@headwater/sync/serve";
import { createServer } from "@headwater/sync/server";
import { type Grid, makeGrid } from "./states.ts";

const server = createServer({
  kv: Deno.env.get("BENCH_KV") ?? ":memory:",
  limits: { fanoutMs: 0 },
});
const grid = server.createStore<Grid>("Grid", makeGrid(50, 32));
const grids = server.createStore<Grid>("Grid:*", makeGrid(50, 32));

type Cell = [row: number, column: number, n: number];

server.handle("set", async ([row, column, n]: Cell) => {
  await grid.update(({ cells }) => void (cells[row]![column] = n));
});
server.handle("setOwn", async ([row, column, n]: Cell) => {
  await grids.update(`${row}`, ({ cells }) => void (cells[row]![column] = n));
});

export default serve(server);
