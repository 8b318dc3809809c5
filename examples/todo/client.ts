/**
 * Adds an item to the shared todo list and finishes it, while everybody watches.
 *
 * Run it by `deno run -A examples/todo/client.ts ws://localhost:4400 "Ship it"`.
 *
 * @module
 */
import process from "node:process";
import { createClient } from "@headwater/sync/client";
import type { Finished, Room, Todos } from "./state.ts";

const [url = "ws://localhost:4400", text = "Ship it"] = process.argv.slice(2);
const client = createClient(url, { rpcTimeoutMs: 5_000 });

client.on("connected", ({ clientId }) => console.log(`I am ${clientId}`));
client.on("reconnecting", ({ delayMs }) => console.log(`Again in ${delayMs}`));
client.on("error", (error) => console.log(`Error: ${error.message}`));
client.on<Finished>("finished", ({ text, by }) => {
  console.log(`Event: ${by === client.clientId ? "I" : by} finished ${text}`);
});
const ended = new Promise<string>((resolve) => {
  client.on("storeDeleted", resolve);
});

const todos = client.subscribe<Todos>("Todos", ({ items }) => {
  const list = items.map(({ text, done }) => `[${done ? "x" : " "}] ${text}`);
  console.log(`Todos: ${list.join(", ") || "none"}`);
});
const room = client.subscribe<Room>("Room:general");
await Promise.all([client.ready(), todos.ready(), room.ready()]);

const adding = client.call<{ id: string }>("todos.add", { text }, {
  store: "Todos",
  optimistic: ({ items }: Todos): Todos => ({
    items: [...items, { id: "soon", text, done: false }],
  }),
});
console.log(`At once: ${todos.getState()?.items.at(-1)?.text}`);
const { id } = await adding;
const added = todos.getState()?.items.find((item) => item.id === id); // read your writes
console.log(`Added: ${added?.text}`);

await client.call("todos.finish", { id });
console.log(`Room: ${room.getState()?.messages.at(-1)?.text}`);

try {
  await client.call("todos.finish", { id: "nothing" });
} catch (error) {
  if (error instanceof Error) console.log(`Refused: ${error.message}`);
}

await client.call("rooms.close", { room: "general" });
console.log(`Deleted: ${await ended}`);

await client.subscribe("Nowhere").ready().catch(() => {}); // an `error`, too
client.destroy();
