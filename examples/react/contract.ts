/**
 * What the server and the page of the list agree on.
 *
 * @module
 */
import { defineApp } from "@headwater/sync/client";
import * as z from "zod";

const text = z.string().trim().min(1).max(200);
const todo = z.object({ id: z.string(), text, isDone: z.boolean() });

/** One item of the list. */
export type Todo = z.infer<typeof todo>;

/** Stores and mutators, for `createServer({ app })` and the provider of the page. */
export const app = defineApp({
  stores: {
    Todos: {
      schema: z.object({ items: z.array(todo).max(500) }),
      initial: {
        items: [
          {
            id: "tabs",
            text: "Open a second tab beside this one",
            isDone: false,
          },
          { id: "offline", text: "Stop the server, and go on", isDone: false },
          { id: "react", text: "Read examples/react", isDone: true },
        ],
      },
    },
  },
  mutators: {
    addTodo: {
      store: "Todos",
      args: z.object({ text }),
      run({ items }, { text }, ctx) {
        items.push({ id: ctx.id(), text, isDone: false });
      },
    },
    setDone: {
      store: "Todos",
      args: z.object({ id: z.string(), isDone: z.boolean() }),
      run({ items }, { id, isDone }) {
        const todo = items.find((item) => item.id === id);
        if (!todo) throw new Error("Somebody else has removed it");
        todo.isDone = isDone;
      },
    },
    clearDone: {
      store: "Todos",
      run: (todos) =>
        void (todos.items = todos.items.filter((item) => !item.isDone)),
    },
  },
});
