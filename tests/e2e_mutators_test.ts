/** Mutators of the contract, on both ends, over real sockets. */
import assert from "node:assert/strict";
import { z } from "zod";
import { createClient } from "../client/mod.ts";
import { defineApp } from "../protocol/contract.ts";
import { createServer } from "../server/mod.ts";
import { startProxy, until, within as inTime } from "./_harness.ts";

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "a mutator" });

interface Todo {
  id: string;
  text: string;
  at: number;
  by: string;
}

const app = defineApp({
  stores: {
    Todos: { initial: { items: [] as Todo[] } },
    "Room:*": { initial: { lines: [] as string[] } },
  },
  mutators: {
    add: {
      store: "Todos",
      args: z.object({ text: z.string().min(1), count: z.number().default(1) }),
      run(draft, { text, count }, ctx) {
        for (let n = 0; n < count; n++) {
          const { now: at, clientId: by } = ctx;
          draft.items.push({ id: ctx.id(), text, at, by });
        }
      },
    },
    clear: {
      store: "Todos",
      run(draft) {
        if (draft.items.length === 0) throw new Error("There is nothing");
        draft.items = [];
      },
    },
    say: {
      store: "Room:*",
      args: z.object({ line: z.string() }),
      run: (draft, { line }) => void draft.lines.push(line),
    },
  },
});

async function start() {
  const server = createServer({ kv: ":memory:", app });
  const todos = server.createStore("Todos", { write: true });
  const rooms = server.createStore("Room:*", {
    write: ({ key }) => key !== "closed",
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const client = createClient(`ws://127.0.0.1:${proxy.port}`, {
    app,
    reconnectDelayMs: 20,
  });
  const handle = client.subscribe("Todos");
  await within(handle.ready());
  return {
    server,
    todos,
    rooms,
    proxy,
    client,
    handle,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await server.close();
      await proxy.close();
    },
  };
}

Deno.test("mutate() shows at once what the server makes, with the same ids", async () => {
  await using test = await start();
  const written = test.client.mutate("add", { text: "x", count: 2 });
  const guessed = test.handle.getState()!.items;
  assert.equal(guessed.length, 2);
  assert.equal(new Set(guessed.map(({ id }) => id)).size, 2);
  await within(written);
  const { items } = await test.todos.get();
  assert.deepEqual(items.map(({ id }) => id), guessed.map(({ id }) => id));
  assert.deepEqual(items.map(({ by }) => by), [
    test.client.clientId,
    test.client.clientId,
  ]);
  assert.ok(Math.abs(items[0]!.at - guessed[0]!.at) < 1_000);
  assert.deepEqual(test.handle.getState()!.items, items);
});

Deno.test("mutate() decides on the server, on what there is then", async () => {
  await using test = await start();
  await within(test.client.mutate("add", { text: "x" }));
  test.proxy.stall();
  await test.todos.set({ items: [] });
  const cleared = test.client.mutate("clear");
  assert.deepEqual(test.handle.getState(), { items: [] });
  test.proxy.resume();
  await assert.rejects(within(cleared), {
    code: "refused",
    message: "There is nothing",
  });
  assert.deepEqual(test.handle.getState(), test.handle.getServerState());
});

Deno.test("mutate() is queued while offline, without rebasing what it means", async () => {
  await using test = await start();
  test.proxy.refuse(true);
  test.proxy.cut();
  await until(() => test.client.status !== "connected");
  const writes = ["a", "b"].map((text) => test.client.mutate("add", { text }));
  await test.todos.update((draft) => {
    draft.items.push({ id: "f", text: "foreign", at: 0, by: "" });
  });
  test.proxy.refuse(false);
  await within(Promise.all(writes));
  const { items } = await test.todos.get();
  assert.deepEqual(items.map(({ text }) => text), ["foreign", "a", "b"]);
});

Deno.test("mutate() of one of many stores needs its name, not a subscription", async () => {
  await using test = await start();
  await within(test.client.mutate("say", { line: "hi" }, { store: "Room:a" }));
  assert.deepEqual(await test.rooms.get("a"), { lines: ["hi"] });
  await assert.rejects(
    within(
      test.client.mutate("say", { line: "hi" }, { store: "Room:closed" }),
    ),
    { code: "forbidden" },
  );
  assert.equal(await test.rooms.has("closed"), false, "nor is it created");
  // @ts-expect-error: neither does the contract let it be written
  assert.throws(() => test.client.mutate("say", { line: "hi" }), {
    message: 'Cannot run mutator "say": say which store of "Room:*" it is for',
  });
  assert.throws(
    // @ts-expect-error: the same
    () => test.client.mutate("say", { line: "hi" }, { store: "Todos" }),
    {
      message: 'Cannot run mutator "say" on store "Todos": it is for "Room:*"',
    },
  );
});

Deno.test("mutate() holds arguments to their schema on both ends", async () => {
  await using test = await start();
  assert.throws(() => test.client.mutate("add", { text: "" }), {
    code: "invalid",
    path: "/text",
  });
  // A client whose contract has no schema is told by the server.
  const loose = defineApp({
    stores: app.stores!,
    mutators: { add: { store: "Todos", run: () => {} } },
  });
  using client = createClient(`ws://127.0.0.1:${test.server.port}`, {
    app: loose,
  });
  await assert.rejects(within(client.mutate("add", { text: "" })), {
    code: "invalid",
    path: "/text",
  });
  assert.deepEqual(await test.todos.get(), { items: [] });
});
