/**
 * What the scenarios of React share with their server.
 *
 * @module
 */
import { defineApp } from "../../../client/mod.ts";
import { z } from "zod";

/** The contract. */
export const app = defineApp({
  stores: {
    Counter: { initial: { a: 0, b: 0, text: "" } },
    "Room:*": { initial: { messages: [] as string[] } },
    Secret: { initial: { word: "xyzzy" } },
  },
  functions: {
    add: {
      args: z.object({ key: z.enum(["a", "b"]), by: z.number() }),
      result: z.number(),
    },
    /** Answers with the text when somebody calls "release" with it. */
    hold: { args: z.string(), result: z.string() },
    release: { args: z.string() },
    fail: { args: z.string() },
    toast: { args: z.string() },
    write: { args: z.string() },
    deleteRoom: { args: z.string() },
    /** How often each store is subscribed, and the connections that there are and were. */
    counts: {
      result: z.object({
        Counter: z.number(),
        rooms: z.record(z.string(), z.number()),
        open: z.number(),
        opened: z.number(),
      }),
    },
  },
  mutators: {
    write: {
      store: "Counter",
      args: z.string(),
      run: (counter, text) => void (counter.text = text),
    },
    say: {
      store: "Room:*",
      args: z.string(),
      run: (room, text) => void room.messages.push(text),
    },
  },
  events: { toast: z.object({ text: z.string() }) },
});
