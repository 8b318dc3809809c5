/**
 * The server of the scenarios of React.
 *
 * @module
 */
import { createServer, type Server } from "../server/mod.ts";
import { app } from "./data/react_page/app.ts";

/** A server with its URL. */
export interface ReactServer extends AsyncDisposable {
  readonly server: Server<typeof app>;
  readonly url: string;
}

/** Starts it. */
export async function startReactServer(): Promise<ReactServer> {
  const server = createServer({ kv: ":memory:", app, cors: "*" });
  const counter = server.createStore("Counter", { write: true });
  server.createStore("Secret", { read: false });
  const held = new Map<string, PromiseWithResolvers<void>>();
  const hold = (text: string) => {
    const gate = held.get(text) ?? Promise.withResolvers<void>();
    held.set(text, gate);
    return gate;
  };
  const rooms = server.createStore("Room:*", { write: true }).onCreate(
    // A room that is slow is there when it is released.
    async (key) => {
      if (key?.startsWith("slow")) await hold(key).promise;
      return {};
    },
  );
  const seen = new Set<string>();
  let [open, opened] = [0, 0];
  server.on("connection", () => {
    open++;
    opened++;
  });
  server.on("disconnect", () => {
    open--;
  });
  server.on("subscribe", (name) => {
    if (name.startsWith("Room:")) seen.add(name.slice("Room:".length));
  });
  server.handle("add", async ({ key, by }) => {
    const { value } = await counter.update((draft) => draft[key] += by);
    return value;
  });
  server.handle("hold", async (text) => {
    await hold(text).promise;
    return text;
  });
  server.handle("release", (text) => hold(text).resolve());
  server.handle("fail", (text) => {
    throw new Error(text);
  });
  server.handle("write", async (text) => {
    await counter.update((draft) => void (draft.text = text));
  });
  server.handle("toast", (text) => server.emit("toast", { text }));
  server.handle("deleteRoom", async (key) => {
    await rooms.delete(key);
  });
  server.handle("counts", () => ({
    Counter: counter.subscriberCount(),
    rooms: Object.fromEntries(
      [...seen].map((key) => [key, rooms.subscriberCount(key)]),
    ),
    open,
    opened,
  }));
  await server.listen({ port: 0, host: "127.0.0.1" });
  return {
    server,
    url: `ws://127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: async () => {
      for (const gate of held.values()) gate.resolve();
      await server.close();
    },
  };
}
