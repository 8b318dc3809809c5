/**
 * Adds a todo, finishes it, and prints what everyone sees meanwhile.
 *
 * Run it by `deno run -A examples/todo/client.ts ws://localhost:4400 "Ship it"`.
 *
 * @module
 */
import { createClient } from "@headwater/sync/client";
import type { Room, Todos } from "./state.ts";

const [url = "ws://localhost:4400", text = "Ship it"] = Deno.args;
const client = createClient(url);

const todos = client.subscribe<Todos>("Todos", (state) => {
  console.log(
    `Todos: ${
      state.items.map(({ text, done }) => `[${done ? "x" : " "}] ${text}`).join(
        ", ",
      )
    }`,
  );
});
const room = client.subscribe<Room>("Room:general");
await Promise.all([todos.ready(), room.ready()]);

const { id } = await client.call<{ id: string }>("todos.add", { text });
const added = todos.getState()?.items.find((item) => item.id === id); // read your writes
console.log(`Added: ${added?.text}`);

await client.call("todos.finish", { id });
console.log(`Room: ${room.getState()?.messages.at(-1)?.text}`);

client.destroy();
