/**
 * A chat with rooms: run it by `deno run -A examples/chat/server.ts`, and open two
 * tabs; each may be somebody else.
 *
 * @module
 */
import { createServer, HeadwaterError } from "@headwater/sync/server";
import { bundlePage, serve } from "../serve_page.ts";
import { app, personName, roomName } from "./contract.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

const server = createServer({
  app,
  kv: Deno.env.get("CHAT_KV") ?? ".headwater/chat.db",
  pages: await bundlePage(new URL("page/", import.meta.url)),
  // Everybody is who they say they are. A real chat looks up a session here, or
  // verifies a signed token.
  authenticate(_request, { token }) {
    const { success, data: name } = personName.safeParse(token);
    if (success) return name;
    throw new HeadwaterError("forbidden", "A name has 1 to 24 characters");
  },
});

const lobby = server.createStore("Lobby");

server.createStore("Room:*", {
  write: true,
  // A room that is a day old ends when the last one leaves.
  selfDestruct: (clientsLeft, createdAt) =>
    clientsLeft === 0 && Date.now() - createdAt.getTime() > DAY_MS,
}).onCreate(async (room) => {
  const { error, data: name = "" } = roomName.safeParse(room);
  if (error) throw new Error(error.issues[0]?.message);
  await lobby.update(({ rooms }) => {
    if (!rooms.includes(name)) rooms.push(name);
    rooms.sort();
  });
}).onTerminate(async (room) => {
  await lobby.update((draft) => {
    draft.rooms = draft.rooms.filter((name) => name !== room);
  });
});

server.handle("enter", ({ room }, { user, clientId }) => {
  const to = { store: `Room:${room}`, except: clientId };
  server.emit("joined", { name: String(user) }, to);
});

await serve(server, "Chat");
