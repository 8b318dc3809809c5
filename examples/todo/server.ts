/**
 * A shared todo list, and rooms to talk in.
 *
 * Run it by `deno run -A examples/todo/server.ts`, or on Node, from 22.18 on, by
 * `node server.ts`; `PORT` and `TODO_KV` change where it listens and where it keeps
 * its state.
 *
 * @module
 */
import process from "node:process";
import { createServer } from "@headwater/sync/server";
import type { Room, Todos } from "./state.ts";

const server = createServer({
  kv: process.env["TODO_KV"] ?? ".headwater/todo.db",
});

const todos = server.createStore<Todos>("Todos", { items: [] });
const rooms = server.createStore<Room>("Room:*", { messages: [] })
  .onCreate((key) => ({ messages: [{ text: `Welcome to ${key}` }] }))
  .onIdle((key) => console.log(`Nobody is in ${key}`))
  .onTerminate((key) => console.log(`The end of ${key}`));

server.handle("todos.add", async ({ text }: { text: string }, ctx) => {
  const id = ctx.id(); // the same again if the call is run again
  await todos.update((draft) => {
    draft.items.push({ id, text, done: false });
  });
  return { id };
});

server.handle("todos.finish", async ({ id }: { id: string }, { clientId }) => {
  const { value: text } = await todos.update((draft) => {
    const todo = draft.items.find((item) => item.id === id);
    if (!todo) throw new Error(`Cannot finish "${id}": there is no such item`);
    todo.done = true;
    return todo.text;
  });
  await rooms.update("general", (draft) => {
    draft.messages.push({ text: `Done: ${text}` });
  });
  server.emit("finished", { text, by: clientId }); // to everybody, not stored
});

server.handle("rooms.close", async ({ room }: { room: string }) => {
  await rooms.delete(room);
});

server.on("connection", (clientId) => console.log(`${clientId} is here`));
server.on("disconnect", (clientId) => console.log(`${clientId} has left`));
server.on("error", (error) => console.log(`Failed: ${error.message}`));

await server.listen({ port: Number(process.env["PORT"] ?? 4400) });
console.log(`Todos at ws://localhost:${server.port}`);

process.once("SIGTERM", () => void server.close());
process.once("SIGINT", () => void server.close());
