/**
 * A contract with a bit of everything, in Zod and in Valibot.
 *
 * @module
 */
import { defineApp } from "@headwater/sync";
import * as v from "valibot";
import { z } from "zod";

const Todo = z.object({
  id: z.string(),
  text: z.string().min(1),
  done: z.boolean().default(false),
});

/** Checked by Zod. */
export const zodApp = defineApp({
  stores: {
    Todos: {
      schema: z.object({ items: z.array(Todo) }),
      initial: { items: [] },
    },
    "Room:*": {
      schema: z.object({ messages: z.array(z.string().max(20)) }),
      initial: { messages: [] },
    },
    "Room:secret:*": { initial: { secret: 0 } },
    "Room:lobby": { initial: { visitors: 0 } },
  },
  functions: {
    "todos.add": {
      args: z.object({
        text: z.string(),
        done: z.boolean().optional(),
        times: z.number().int().default(1),
      }),
      result: z.object({ id: z.string(), count: z.number() }),
    },
    "todos.clear": {},
    "todos.find": { args: z.string().optional(), result: z.array(Todo) },
  },
  mutators: {
    addTodo: {
      store: "Todos",
      args: z.object({ text: z.string(), done: z.boolean().default(false) }),
      run(draft, { text, done }, ctx) {
        draft.items.push({ id: ctx.id(), text, done });
      },
    },
    say: {
      store: "Room:*",
      args: v.object({ text: v.string() }),
      run: (draft, args) => draft.messages.push(args.text),
    },
    clear: { store: "Todos", run: (draft) => void (draft.items = []) },
  },
  events: {
    toast: z.object({ text: z.string(), loud: z.boolean().default(false) }),
    tick: z.number().optional(),
  },
  presence: z.object({ cursor: z.tuple([z.number(), z.number()]).nullable() }),
});

/** The same where both tests need it, checked by Valibot. */
export const valibotApp = defineApp({
  stores: {
    Todos: {
      schema: v.object({
        items: v.array(
          v.object({
            id: v.string(),
            text: v.pipe(v.string(), v.minLength(1)),
            done: v.optional(v.boolean(), false),
          }),
        ),
      }),
      initial: { items: [] },
    },
    "Room:*": {
      schema: v.object({
        messages: v.array(v.pipe(v.string(), v.maxLength(20))),
      }),
      initial: { messages: [] },
    },
  },
  functions: {
    "todos.add": {
      args: v.object({
        text: v.string(),
        done: v.optional(v.boolean()),
        times: v.optional(v.pipe(v.number(), v.integer()), 1),
      }),
      result: v.object({ id: v.string(), count: v.number() }),
    },
  },
  events: {
    toast: v.object({
      text: v.string(),
      loud: v.optional(v.boolean(), false),
    }),
  },
});
