/**
 * A whole life in one process: a server with its watch, a client, a KV of the
 * application's own. Nothing may keep the process once all is closed.
 *
 * `ending file|memory|lent|attached PATH`
 *
 * @module
 */
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { openKv } from "@deno/kv";
import { createClient } from "@headwater/sync/client";
import { createServer } from "@headwater/sync/server";
import { WebSocket } from "ws";

const [way, path = ""] = process.argv.slice(2);
const own = way === "lent" ? await openKv(path) : undefined;
const server = createServer({
  kv: own ?? (way === "memory" ? ":memory:" : path),
});
const counter = server.createStore("Counter", { count: 0 });
server.handle("add", async () => {
  return (await counter.update((draft) => ++draft.count)).value;
});

const http = createHttpServer((_request, response) => response.end("API"));
if (way === "attached") {
  await server.attach(http);
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
} else await server.listen({ port: 0, host: "127.0.0.1" });
const port = way === "attached"
  ? (http.address() as AddressInfo).port // it listens on TCP
  : server.port;

const client = createClient(`ws://127.0.0.1:${port}`, { WebSocket });
const shown = client.subscribe<{ count: number }>("Counter");
await shown.ready();
console.log("added", await client.call("add"), shown.getState());
const before = process.cpuUsage();
client.destroy();
await server.close();
if (way === "attached") http.close();
own?.close();
console.log("closed");
process.on("exit", () => {
  const { user, system } = process.cpuUsage(before);
  console.log(`exit, CPU ${Math.round((user + system) / 1000)} ms`);
});
