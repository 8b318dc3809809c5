/**
 * The page of the board: what a person does becomes a write, what the client
 * knows is shown.
 *
 * @module
 */
import { createClient } from "@headwater/sync/client";
import { indexedDbStorage } from "@headwater/sync/indexeddb";
import { app, findCard } from "../contract.ts";
import { BoardView } from "./board_view.ts";
import { byId } from "../../elements.ts";

const client = createClient(location.origin.replace(/^http/, "ws"), {
  app,
  // What is done offline outlives a reload.
  storage: indexedDbStorage({ name: "kanban" }),
});
const board = client.subscribe("Board", render);

const view = new BoardView(byId("board"), {
  add: (column, text) =>
    write(() => client.mutate("addCard", { column, text })),
  move: (id, to, before) =>
    write(() => client.mutate("moveCard", { id, to, before })),
  remove: (id) => write(() => client.mutate("removeCard", { id })),
  rename: (id, text) =>
    write(() =>
      board.update((draft) => {
        const card = findCard(draft, id);
        if (card) card.text = text;
      })
    ),
});

const undo = byId<HTMLButtonElement>("undo");
const redo = byId<HTMLButtonElement>("redo");
undo.addEventListener("click", () => write(() => board.undo()));
redo.addEventListener("click", () => write(() => board.redo()));
document.addEventListener("keydown", (event) => {
  const isText = event.target instanceof HTMLElement &&
    event.target.matches("input, textarea");
  if (!(event.ctrlKey || event.metaKey) || isText) return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  const isRedo = key === "y" || event.shiftKey;
  void write(() => isRedo ? board.redo() : board.undo());
});

for (const change of ["connected", "disconnected", "reconnecting"] as const) {
  client.on(change, render);
}
client.on("error", notice);
byId("notice").addEventListener("click", () => notice(""));

/** Shows a write at once, and how it ended once the server has it. */
async function write(run: () => Promise<unknown>): Promise<void> {
  notice("");
  try {
    const written = run();
    render();
    await written;
  } catch (error) {
    notice(error);
  }
  render();
}

function notice(what: unknown): void {
  byId("notice").textContent = what instanceof Error ? what.message : `${what}`;
}

function render(): void {
  const state = board.getState();
  if (state) view.show(state, board.getServerState());
  undo.disabled = !board.canUndo;
  redo.disabled = !board.canRedo;

  const status = byId("status");
  status.dataset.state = client.status;
  status.textContent = statusText();
}

function statusText(): string {
  const waiting = client.unackedCount;
  if (client.status === "connected") return "Online";
  if (waiting === 0) {
    return client.status === "connecting" ? "Connecting" : "Offline";
  }
  return `Offline, ${waiting} ${
    waiting === 1 ? "change waits" : "changes wait"
  }`;
}
