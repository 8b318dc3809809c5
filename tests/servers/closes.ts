/**
 * Closes a server at the moment that its argument names, and then has nothing
 * left to do: the process must end by itself.
 *
 * @module
 */
import { createServer } from "../../server/mod.ts";

const [moment] = Deno.args;
const server = createServer({ kv: Deno.env.get("KV") ?? ":memory:" });
const store = server.createStore("Counter", { count: 0, filler: "" });
const target = { host: "127.0.0.1", port: 0 };

switch (moment) {
  case "unopened":
    break;
  case "listening":
    server.listen(target).catch(() => {});
    break;
  case "listened":
    await server.listen(target);
    break;
  case "stores":
    await store.update((draft) => {
      draft.count++;
    });
    break;
  case "compacting":
    // The log outgrows its snapshot with this write: a compaction begins behind it.
    await store.update((draft) => {
      draft.filler = "x".repeat(300_000);
    });
    break;
  case "closing twice":
    await server.listen(target);
    void server.close();
    break;
  default:
    throw new TypeError(`Cannot close at "${moment}"`);
}
await server.close();
console.log("closed");
