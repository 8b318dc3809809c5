/**
 * What the server and the page of the chat agree on.
 *
 * @module
 */
import { defineApp } from "@headwater/sync/client";
import * as z from "zod";

/** A room shows so many messages. */
const MOST_MESSAGES = 200;

/** What a person may be called. */
export const personName = z.string().trim().min(1).max(24);
/** What a room may be called. */
export const roomName = z.string().regex(
  /^[\p{L}\p{N}-]{1,24}$/u,
  "A room's name has letters, digits and hyphens",
);

const message = z.object({
  id: z.string(),
  from: personName,
  text: z.string().trim().min(1).max(1_000),
  atMs: z.number(),
});

/** One message of a room. */
export type Message = z.infer<typeof message>;

/** Stores, functions, mutators and events, for `createServer` and `createClient`. */
export const app = defineApp({
  stores: {
    /** Names of the rooms that there are. */
    Lobby: {
      schema: z.object({ rooms: z.array(roomName) }),
      initial: { rooms: [] },
    },
    "Room:*": {
      schema: z.object({ messages: z.array(message).max(MOST_MESSAGES) }),
      initial: { messages: [] },
    },
  },
  mutators: {
    say: {
      store: "Room:*",
      args: message.pick({ text: true }),
      run({ messages }, { text }, { id, user, now }) {
        messages.push({ id: id(), from: String(user), text, atMs: now });
        if (messages.length > MOST_MESSAGES) messages.shift();
      },
    },
  },
  functions: {
    /** Tells those in a room who has come. */
    enter: { args: z.object({ room: roomName }) },
  },
  events: {
    joined: z.object({ name: personName }),
  },
});
