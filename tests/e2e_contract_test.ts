/** A contract between a server and clients, over real sockets. */
import {
  type App,
  type Client,
  createClient,
  createServer,
  defineApp,
  HeadwaterError,
  type Server,
} from "@headwater/sync";
import assert from "node:assert/strict";
import { z } from "zod";
import { valibotApp, zodApp } from "./_contract.ts";
import { tempKvPath, until, within } from "./_harness.ts";

type Shared = typeof valibotApp;

/** What both libraries are asked; they have the same names and types. */
const APPS: Record<string, Shared> = {
  Zod: zodApp as unknown as Shared,
  Valibot: valibotApp,
};

/** A server that listens, and a client of it. */
async function connect<A extends App>(
  server: Server<A>,
): Promise<{ client: Client<A> } & AsyncDisposable> {
  await server.listen({ port: 0, host: "127.0.0.1" });
  const client = createClient<A>(`ws://127.0.0.1:${server.port}`);
  await client.ready();
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await server.close();
    },
  };
}

async function errorOf(call: Promise<unknown>): Promise<HeadwaterError> {
  const error = await call.then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof HeadwaterError);
  return error;
}

for (const [library, app] of Object.entries(APPS)) {
  const open = () => createServer({ kv: ":memory:", app });

  Deno.test(`a function gets what the schema makes of its arguments, and the caller what it makes of the result: ${library}`, async () => {
    const server = open();
    const seen: unknown[] = [];
    server.handle("todos.add", (args) => {
      seen.push(args);
      return { id: "1", count: args.times, secret: "left out" };
    });
    await using app = await connect(server);
    const result = await app.client.call("todos.add", { text: "a" });
    assert.deepEqual(seen, [{ text: "a", times: 1 }]);
    assert.deepEqual(result, { id: "1", count: 1 });
  });

  Deno.test(`arguments that do not fit are refused by path, and the handler does not run: ${library}`, async () => {
    const server = open();
    let runs = 0;
    server.handle("todos.add", () => {
      runs++;
      return { id: "", count: 0 };
    });
    await using app = await connect(server);
    const untyped: Client = app.client;
    for (
      const [args, path] of [
        [{ text: 1 }, "/text"],
        [{ text: "a", times: 1.5 }, "/times"],
        [{}, "/text"],
        [undefined, ""],
        ["text", ""],
      ] as const
    ) {
      const error = await errorOf(untyped.call("todos.add", args));
      assert.deepEqual([error.code, error.path], ["invalid", path]);
      assert.match(
        error.message,
        /^Cannot accept the arguments of function "todos.add": /,
      );
      assert.ok(!error.message.includes("    at "), "no stack");
    }
    assert.equal(runs, 0);
  });

  Deno.test(`a result that does not fit is the handler's failure, not the caller's: ${library}`, async () => {
    const server = open();
    server.handle(
      "todos.add",
      // What an untyped caller, or a JSON column, might give.
      () => ({ id: 1, count: 1 }) as unknown as { id: string; count: number },
    );
    await using app = await connect(server);
    const error = await errorOf(app.client.call("todos.add", { text: "a" }));
    assert.equal(error.code, "function_failed");
    assert.match(
      error.message,
      /^Cannot accept the result of function "todos.add": .+ at \/id$/,
    );
  });

  Deno.test(`a state that does not fit is refused within a call, and nobody sees it: ${library}`, async () => {
    const server = open();
    const todos = server.createStore("Todos");
    server.handle("todos.add", async ({ text }, ctx) => {
      const { value } = await todos.update((draft) => {
        draft.items.push({ id: ctx.id(), text, done: false });
        return draft.items.length;
      });
      return { id: "", count: value };
    });
    await using app = await connect(server);
    const handle = app.client.subscribe("Todos");
    await handle.ready();
    const states: unknown[] = [];
    app.client.subscribe("Todos", ({ items }) => states.push(items.length));
    await app.client.call("todos.add", { text: "a" });
    const error = await errorOf(app.client.call("todos.add", { text: "" }));
    assert.deepEqual([error.code, error.path], ["invalid", "/items/1/text"]);
    const { count } = await app.client.call("todos.add", { text: "b" });
    assert.equal(count, 2);
    assert.deepEqual(handle.getState(), await todos.get());
    assert.deepEqual(states.at(-1), 2);
  });

  Deno.test(`what the schema fills in reaches clients as the server has it: ${library}`, async () => {
    const server = open();
    const todos = server.createStore("Todos");
    await using app = await connect(server);
    const handle = app.client.subscribe("Todos");
    await handle.ready();
    await todos.update((draft) => {
      const bare = { id: "1", text: "a" };
      draft.items.push(bare as typeof bare & { done: boolean });
    });
    await until(() => handle.getState()?.items.length === 1);
    assert.deepEqual(handle.getState(), {
      items: [{ id: "1", text: "a", done: false }],
    });
  });

  Deno.test(`an event goes out as its schema makes it, or not at all: ${library}`, async () => {
    const server = open();
    await using app = await connect(server);
    const seen: unknown[] = [];
    app.client.on("toast", (data) => seen.push(data));
    const untyped: Server = server;
    assert.throws(() => untyped.emit("toast", { text: 1 }), {
      code: "invalid",
      path: "/text",
      message: /^Cannot accept the event "toast": /,
    });
    server.emit("toast", { text: "a" });
    server.emit("toast", { text: "b", loud: true });
    await until(() => seen.length === 2);
    assert.deepEqual(seen, [
      { text: "a", loud: false },
      { text: "b", loud: true },
    ]);
  });
}

Deno.test("a schema that is asynchronous fails the call, and the server goes on", async () => {
  const late = z.string().refine((text) =>
    text === "" || Promise.resolve(true) as never
  );
  const app = defineApp({
    functions: { late: { args: late, result: z.string() }, ping: {} },
  });
  const server = createServer({ kv: ":memory:", app });
  server.handle("late", (text) => text);
  server.handle("ping", () => "pong");
  await using running = await connect(server);
  const error = await errorOf(running.client.call("late", "a"));
  assert.equal(error.code, "function_failed");
  assert.match(error.message, /its schema is asynchronous/);
  assert.equal(await running.client.call("late", ""), "");
  assert.equal(await running.client.call("ping"), "pong");
});

Deno.test("a function whose answer is kept gives the checked result again", async () => {
  const app = defineApp({
    functions: { once: { result: z.object({ n: z.number().default(1) }) } },
  });
  const server = createServer({ kv: ":memory:", app });
  server.handle("once", () => ({}), { once: true });
  await using running = await connect(server);
  assert.deepEqual(await running.client.call("once"), { n: 1 });
});

/** The same application before and after its state has changed its shape. */
const FIRST = defineApp({
  stores: { List: { initial: { items: [] as string[] } } },
});
const SECOND = defineApp({
  stores: {
    List: {
      schema: z.object({
        items: z.array(z.object({ text: z.string(), done: z.boolean() })),
      }),
      initial: { items: [] },
      version: 2,
      migrate: (state) => ({
        items: (state as { items: string[] }).items.map((text) => ({
          text,
          done: false,
        })),
      }),
    },
  },
});

Deno.test("a client sees a store migrated when it comes back to a newer server", async () => {
  await using kv = await tempKvPath();
  const old = createServer({ kv: kv.path, app: FIRST });
  await old.createStore("List").set({ items: ["a", "b"] });
  await old.listen({ port: 0, host: "127.0.0.1" });
  const { port } = old;
  using client = createClient<typeof SECOND>(`ws://127.0.0.1:${port}`, {
    reconnectDelayMs: 10,
  });
  const list = client.subscribe("List");
  await list.ready();
  assert.deepEqual<unknown>(list.getState(), { items: ["a", "b"] });
  await old.close();
  await using server = createServer({ kv: kv.path, app: SECOND });
  const store = server.createStore("List");
  await server.listen({ port, host: "127.0.0.1" });
  const items = ["a", "b"].map((text) => ({ text, done: false }));
  await until(() => list.version === 3);
  assert.deepEqual(list.getState(), { items });
  await store.update((draft) => void draft.items.pop());
  await until(() => list.version === 4);
  assert.deepEqual(list.getState(), { items: items.slice(0, 1) });
});

Deno.test("while servers are replaced one by one, clients of an old one wait, and then go on", async () => {
  await using kv = await tempKvPath();
  const old = createServer({ kv: kv.path, app: FIRST });
  await old.createStore("List").set({ items: ["a"] });
  await old.listen({ port: 0, host: "127.0.0.1" });
  const { port } = old;
  using client = createClient<typeof SECOND>(`ws://127.0.0.1:${port}`, {
    reconnectDelayMs: 10,
  });
  const errors: Error[] = [];
  client.on("error", (error) => errors.push(error));
  const list = client.subscribe("List");
  await list.ready();
  const newer = createServer({ kv: kv.path, app: SECOND });
  try {
    await newer.createStore("List").get();
    await until(() => errors.length > 0);
    const [error] = errors;
    assert.ok(error instanceof HeadwaterError);
    assert.equal(error.code, "store_unreadable");
    assert.match(error.message, /stored with version 2/);
    assert.equal(list.isStale, true);
    assert.deepEqual<unknown>(list.getState(), { items: ["a"] });
    await old.close();
    await newer.listen({ port, host: "127.0.0.1" });
    await within(until(() => !list.isStale), {
      describe: () => `the list at version ${list.version}`,
    });
    assert.deepEqual(list.getState(), { items: [{ text: "a", done: false }] });
  } finally {
    client.destroy();
    await newer.close();
  }
});
