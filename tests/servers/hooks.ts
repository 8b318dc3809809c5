/**
 * Rooms with hooks as a process, for tests that kill it. Says on its standard output
 * when a hook runs; the one that `HANG_IN` names never ends.
 *
 * @module
 */
import { createServer } from "../../server/mod.ts";

const hangIn = Deno.env.get("HANG_IN");
const server = createServer({
  kv: Deno.env.get("KV") ?? ":memory:",
  limits: { leaseMs: Number(Deno.env.get("LEASE_MS") ?? 60_000) },
});

async function run(hook: string, key: string | null): Promise<void> {
  console.log(`${hook} ${key}`);
  if (hook === hangIn) await new Promise(() => {});
}

const rooms = server.createStore("Room:*", { messages: [] as string[] })
  .onIdle((key) => run("idle", key))
  .onTerminate((key) => run("terminate", key));
server.handle("rooms.delete", (key: string) => rooms.delete(key));

await server.listen({ port: 0, host: "127.0.0.1" });
console.log(`listening ${server.port}`);
