/** A strict consumer of the server, on Node: compiled, not run. */
import { createServer as createHttpServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { createClient, defineApp, HeadwaterError } from "@headwater/sync";
import {
  createServer,
  type Kv,
  type Limits,
  type Server,
} from "@headwater/sync/server";
import { createSimulation } from "@headwater/sync/testing";
import { openKv } from "@deno/kv";
import { WebSocket } from "ws";

/** Compiles where both types are the same one. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : never;
function same<A, B>(_: Same<A, B>): void {}

const limits: Partial<Limits> = { messageBytes: 1_000 };
const server = createServer({ kv: ":memory:", limits });
const todos = server.createStore("Todos", { items: [] as string[] });
const rooms = server.createStore("Room:*", { visits: 0 });
const { value } = await todos.update((draft) => draft.items.push("x"));
same<typeof value, number>(true);
const state = await todos.get();
same<typeof state, { items: string[] }>(true);
const visits = await rooms.get("general");
same<typeof visits, { visits: number } | undefined>(true);
// @ts-expect-error: a dynamic store takes its key first
await rooms.update((draft: { visits: number }) => void draft.visits++);
server.handle("add", ({ text }: { text: string }, { clientId }) => {
  same<typeof clientId, string>(true);
  if (text === "") throw new HeadwaterError("bad_value", "It is empty");
  return text.length;
});

// What is opened, and what is listened on.
const kv: Kv = await openKv("state.db");
createServer({ kv });
await server.attach(createHttpServer());
await server.attach(createSecureServer(), { path: "/sync", heartbeatMs: 1 });
// @ts-expect-error: that is no HTTP server
await server.attach({ listen: () => {} });

const app = defineApp({ stores: { Notes: { initial: { lines: [""] } } } });
const typed: Server<typeof app> = createServer({ app });
typed.createStore("Notes");
// @ts-expect-error: the contract has no such store
typed.createStore("Nodes");

using client = createClient("ws://localhost:4400", { WebSocket, app });
const notes = client.subscribe("Notes").getState();
same<typeof notes, { lines: string[] } | undefined>(true);
await using simulation = createSimulation({ seed: 1 });
const drawn: number = simulation.random.float();
void drawn;
