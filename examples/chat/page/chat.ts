import type { Client, SubscriptionHandle } from "@headwater/sync/client";
import { byId, create } from "../../elements.ts";
import type { app, Message } from "../contract.ts";
import { MessageList } from "./message_list.ts";

/** The room that everybody comes to first. */
const FIRST_ROOM = "general";

/** Shows the rooms and the messages of one of them, once somebody is signed in. */
export function startChat(client: Client<typeof app>): void {
  const me = String(client.user);
  const list = new MessageList(byId("messages"), me);
  const lobby = client.subscribe("Lobby", showRooms);
  let room = FIRST_ROOM;
  let handle: SubscriptionHandle<{ messages: Message[] }> | undefined;

  byId("me").textContent = me;
  onSubmit(byId("composer"), (text) => {
    void client.mutate("say", { text }, { store: `Room:${room}` });
    render();
  });
  onSubmit(byId("new-room"), (text) => {
    location.hash = text.trim().toLowerCase().replaceAll(/\s+/g, "-");
  });
  addEventListener("hashchange", enter);
  client.on("joined", ({ name }) => list.note(`${name} has joined`));
  // A room may end while this page sleeps: it begins anew.
  client.on("storeDeleted", enter);
  client.on("error", ({ message }) => list.note(message));
  for (const change of ["connected", "disconnected", "reconnecting"] as const) {
    client.on(change, render);
  }
  enter();

  function enter(): void {
    handle?.unsubscribe();
    list.clear();
    room = decodeURIComponent(location.hash.slice(1)) || FIRST_ROOM;
    handle = client.subscribe(`Room:${room}`, render);
    // What fails is an `error`, too.
    handle.ready().then(() => client.call("enter", { room })).catch(() => {});
    byId("room").textContent = room;
    byId("text").setAttribute("placeholder", `Message to ${room}`);
    byId("text").focus();
    document.title = `${room} · Chat`;
    showRooms();
    render();
  }

  function showRooms(): void {
    const rooms = new Set(lobby.getState()?.rooms).add(room);
    byId("rooms").replaceChildren(
      ...[...rooms].sort().map((name) => {
        const link = create("a", { href: `#${name}` }, name);
        if (name === room) link.ariaCurrent = "page";
        return create("li", {}, link);
      }),
    );
  }

  function render(): void {
    const saved = handle?.getServerState()?.messages;
    const messages = handle?.getState()?.messages;
    if (messages) list.show(messages, new Set(saved?.map(({ id }) => id)));
    byId("banner").textContent = bannerOf(client);
  }
}

/** What a person should know of the connection; nothing if all is well. */
function bannerOf({ status, unackedCount }: Client): string {
  if (status === "connected") return "";
  if (status === "closed") {
    return "The server has closed the chat. Reload the page.";
  }
  const waiting = unackedCount === 0
    ? "What you write is"
    : unackedCount === 1
    ? "Your message is"
    : `Your ${unackedCount} messages are`;
  return `No connection. ${waiting} sent once it is back.`;
}

/** Hands over what was typed into the field of a form, and empties it. */
function onSubmit(form: HTMLElement, take: (text: string) => void): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = form.querySelector("input");
    if (field && field.value.trim() !== "") take(field.value);
    if (field) field.value = "";
  });
}
