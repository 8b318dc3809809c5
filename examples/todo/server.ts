/**
 * A shared todo list, and rooms to talk in.
 *
 * Run it by `deno run -A examples/todo/server.ts`; `PORT` and `TODO_KV` change
 * where it listens and where it keeps its state.
 *
 * @module
 */
import { createServer } from "@headwater/sync/server";
import type { Message, Todo } from "./state.ts";

const server = createServer({
  kv: Deno.env.get("TODO_KV") ?? ".headwater/todo.db",
});

const todos = server.createStore("Todos", { items: [] as Todo[] });
const rooms = server.createStore("Room:*", { messages: [] as Message[] });

server.handle("todos.add", async (args: { text: string }, ctx) => {
  const id = ctx.id(); // the same again if the call is run again
  await todos.update((draft) => {
    draft.items.push({ id, text: args.text, done: false });
  });
  return { id };
});

server.handle("todos.finish", async (args: { id: string }) => {
  const { value } = await todos.update((draft) => {
    const todo = draft.items.find((item) => item.id === args.id);
    if (todo === undefined) {
      throw new Error(`Cannot finish "${args.id}": there is no such item`);
    }
    todo.done = true;
    return todo.text;
  });
  await rooms.update("general", (draft) => {
    draft.messages.push({ text: `Done: ${value}` });
  });
});

await server.listen({ port: Number(Deno.env.get("PORT") ?? 4400) });
console.log(`Todos at ws://localhost:${server.port}`);

Deno.addSignalListener("SIGTERM", () => void server.close());
Deno.addSignalListener("SIGINT", () => void server.close());
