/**
 * The start page: a shared counter and a shared todo list, and what goes over
 * the wire for them.
 *
 * @module
 */
import { createClient } from "../../client/mod.ts";
import type { DownFrame } from "../../protocol/frames.ts";
import type { Counter, Todos } from "./app.ts";
import { CounterCard } from "./counter_card.ts";
import { byId, type Fact, showFacts } from "./page.ts";
import { StatusBar } from "./status.ts";
import { TodoCard } from "./todo_card.ts";
import { tapWebSocket, WireCount } from "./wire_tap.ts";

/** Clicks made while the server is away wait for it this long. */
const PATIENCE_MS = 10 * 60 * 1000;
/** A write that is answered sooner is not worth a word. */
const LATE_MS = 300;

/** A write of this tab that the server has not answered. */
interface Write {
  readonly store: "Counter" | "Todos";
  readonly args: {
    readonly by?: number;
    readonly text?: string;
    readonly id?: string;
  };
  readonly sinceMs: number;
}

const wire = new WireCount();
const writes = new Set<Write>();
const statusBar = new StatusBar();
const lastMessage = byId("wire-last", HTMLElement);
const counterFacts = byId("counter-facts", HTMLElement);
const todosFacts = byId("todos-facts", HTMLElement);

const client = createClient(location.origin.replace(/^http/, "ws"), {
  rpcTimeoutMs: PATIENCE_MS,
  WebSocket: tapWebSocket(onFrame),
});
const counterCard = new CounterCard((by) =>
  void write("Counter", "counter.add", { by })
);
const todoCard = new TodoCard({
  add: (text) => void write("Todos", "todos.add", { text }),
  toggle: (id) => void write("Todos", "todos.toggle", { id }),
  remove: (id) => void write("Todos", "todos.remove", { id }),
});
const counter = client.subscribe<Counter>("Counter", render);
const todos = client.subscribe<Todos>("Todos", render);
for (const handle of [counter, todos]) handle.ready().catch(showError);

/** Sends one write, which shows as waiting until the server has answered. */
async function write(
  store: Write["store"],
  name: string,
  args: Write["args"],
): Promise<void> {
  const waiting: Write = { store, args, sinceMs: performance.now() };
  writes.add(waiting);
  const answer = client.call(name, args);
  render();
  setTimeout(render, LATE_MS + 1);
  try {
    await answer;
    statusBar.setError(undefined);
  } catch (error) {
    showError(error);
  } finally {
    writes.delete(waiting);
    render();
  }
}

function onFrame(frame: DownFrame): void {
  const sentence = wire.add(frame);
  if (sentence !== undefined) lastMessage.textContent = sentence;
  // The frame shows before the client has applied it; the version beside it must fit.
  setTimeout(render);
}

function showError(error: unknown): void {
  statusBar.setError(error instanceof Error ? error.message : String(error));
  render();
}

function render(): void {
  const count = counter.getState()?.count;
  if (count !== undefined) counterCard.show(count);
  counterCard.showWaiting(
    lateWrites("Counter").map(({ args }) => args.by ?? 0),
  );
  showFacts(counterFacts, factsOf("Counter", counter.version));

  const items = todos.getState()?.items;
  const changes = lateWrites("Todos").map(({ args }) => args);
  if (items !== undefined) todoCard.show(items, changes);
  todoCard.showWaiting(changes);
  showFacts(todosFacts, factsOf("Todos", todos.version));

  statusBar.show(client.status, client.unackedCount);
}

function lateWrites(store: Write["store"]): Write[] {
  const isAway = client.status !== "connected";
  const limit = performance.now() - LATE_MS;
  return [...writes].filter((write) =>
    write.store === store && (isAway || write.sinceMs < limit)
  );
}

function factsOf(store: Write["store"], version: number | undefined): Fact[] {
  const { snapshots, patches, missed } = wire.of(store);
  const unacknowledged =
    [...writes].filter((write) => write.store === store).length;
  const id = store.toLowerCase();
  return [
    { id: `${id}-version`, label: "Version", value: version },
    { id: `${id}-unacked`, label: "Unacknowledged", value: unacknowledged },
    { id: `${id}-snapshots`, label: "Snapshots", value: snapshots },
    { id: `${id}-patches`, label: "Patches", value: patches },
    { id: `${id}-missed`, label: "Caught up", value: missed },
  ];
}

client.on("error", showError);
client.on("connected", () => {
  statusBar.setError(undefined);
  render();
});
client.on("disconnected", render);
client.on("reconnecting", render);
addEventListener("online", render);
addEventListener("offline", render);
addEventListener("beforeunload", (event) => {
  // What waits is kept in this page only.
  if (writes.size > 0) event.preventDefault();
});
render();
