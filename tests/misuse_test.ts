/** Calls that cannot be meant: what the errors say. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer, HeadwaterError } from "../server/mod.ts";
import { until } from "./_harness.ts";

/** Any arguments, as somebody without types would give them. */
// deno-lint-ignore no-explicit-any
type Untyped = any;

function createStores() {
  const server = createServer({ kv: ":memory:" });
  const todos = server.createStore("Todos", { items: [] as string[] });
  const rooms = server.createStore("Room:*", { messages: [] as string[] });
  return {
    todos,
    rooms,
    server,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

Deno.test("StaticStore: who gives a key is told that it takes none, and loses nothing", async () => {
  await using bench = createStores();
  const todos: Untyped = bench.todos;
  await bench.todos.update((draft) => void draft.items.push("kept"));
  const calls: [string, () => Promise<unknown>][] = [
    ["update", () => todos.update("42", () => {})],
    ["set", () => todos.set("42", { items: [] })],
    ["delete", () => todos.delete("42")],
    ["reset", () => todos.reset("42")],
  ];
  for (const [action, call] of calls) {
    await assert.rejects(call, {
      name: "TypeError",
      message:
        `Cannot ${action} store "Todos" by a key: it takes no key, as it is one store, and not many such as "Todos:*"`,
    });
  }
  assert.deepEqual(await bench.todos.get(), { items: ["kept"] });
  assert.equal(await bench.todos.delete(), true);
});

Deno.test("update() says what it was given in the place of a recipe", async () => {
  await using bench = createStores();
  const [todos, rooms]: Untyped[] = [bench.todos, bench.rooms];
  await assert.rejects(todos.update(5), {
    name: "TypeError",
    message:
      'Cannot update store "Todos": the recipe must be a function, not 5',
  });
  await assert.rejects(rooms.update("42"), {
    name: "TypeError",
    message:
      'Cannot update store "Room:42": the recipe must be a function, not undefined',
  });
  assert.deepEqual(await bench.server.listStores(), []);
});

Deno.test("DynamicStore: who gives no key is told to pass it first", async () => {
  await using bench = createStores();
  const rooms: Untyped = bench.rooms;
  for (
    const [call, found] of [
      [() => rooms.update(() => {}), "a function"],
      [() => rooms.set({ messages: [] }), "an object"],
      [() => rooms.get(), "undefined"],
      [() => rooms.delete(42), "42"],
    ] as const
  ) {
    await assert.rejects(call, {
      name: "HeadwaterError",
      code: "bad_name",
      message:
        `Cannot use a store of "Room:*": pass its key first, a string, not ${found}`,
    });
  }
});

Deno.test("a name or key that cannot be one is bad_name, wherever it is given", async () => {
  await using bench = createStores();
  const { rooms, server, todos } = bench;
  const isBadName = (error: unknown) => {
    assert.ok(error instanceof HeadwaterError, String(error));
    assert.equal(error.code, "bad_name", error.message);
    return true;
  };
  for (const key of ["", "*", "a:*", ":*", "a\nb", "\0", "\ud800"]) {
    await assert.rejects(rooms.get(key), isBadName);
    await assert.rejects(rooms.update(key, () => {}), isBadName);
    await assert.rejects(rooms.create(key), isBadName);
    const update = (draft: { messages: string[] }) =>
      void draft.messages.push("a");
    await assert.rejects(
      server.transaction([{ store: rooms, key, update }]),
      isBadName,
    );
  }
  for (
    const name of [
      "__proto__",
      "constructor",
      "prototype",
      "",
      "a\tb",
      5 as Untyped,
    ]
  ) {
    assert.throws(() => server.createStore(name, {}), isBadName);
    assert.throws(() => server.handle(name, () => {}), isBadName);
  }
  assert.throws(() => server.createStore("a*b", {}), isBadName);
  assert.throws(() => server.createStore("*", {}), isBadName);
  assert.deepEqual(await server.listStores(), []);
  await todos.init();
});

Deno.test("keys that look odd and can work do", async () => {
  await using bench = createStores();
  const keys = [
    "__proto__",
    "constructor",
    "*a",
    "a*",
    "a:b",
    ":",
    " ",
    "日本",
  ];
  for (const key of keys) {
    await bench.rooms.update(key, ({ messages }) => void messages.push(key));
  }
  assert.deepEqual((await bench.rooms.list()).sort(), keys.sort());
  assert.deepEqual(await bench.rooms.get("__proto__"), {
    messages: ["__proto__"],
  });
});

Deno.test("a client is refused a key that ends as the name of a definition does", async () => {
  await using bench = createStores();
  await bench.server.listen({ host: "127.0.0.1", port: 0 });
  using client = createClient(`ws://127.0.0.1:${bench.server.port}`);
  await assert.rejects(client.subscribe("Room:a:*").ready(), {
    code: "store_missing",
  });
});

Deno.test("client: what is to be called must be a function, and the message says where", async () => {
  await using bench = createStores();
  await bench.server.listen({ host: "127.0.0.1", port: 0 });
  const url = `ws://127.0.0.1:${bench.server.port}`;
  using typed = createClient(url);
  const client: Untyped = typed;
  const todos: Untyped = typed.subscribe("Todos");
  await todos.ready();
  for (
    const [call, message] of [
      [
        () => client.subscribe("Todos", 5),
        'Cannot subscribe to "Todos": the listener must be a function, not 5',
      ],
      [
        () => client.on("error", "log"),
        'Cannot listen to "error": the listener must be a function, not "log"',
      ],
      [
        () => todos.update({ items: [] }),
        'Cannot update store "Todos": the recipe must be a function, not an object',
      ],
      [
        () => todos.listen("id"),
        'Cannot listen as "id": the listener must be a function, not undefined',
      ],
    ] as const
  ) {
    assert.throws(call, { name: "TypeError", message });
  }
  await until(() => typed.unackedCount === 0);
  todos.unsubscribe();
});

Deno.test("hooks: what is no function is refused, and so is a second one", async () => {
  await using bench = createStores();
  const ran: string[] = [];
  for (const hook of ["onCreate", "onTerminate", "onIdle"] as const) {
    for (
      const [store, name] of [[bench.todos, "Todos"], [
        bench.rooms,
        "Room:*",
      ]] as const
    ) {
      const untyped: Untyped = store;
      assert.throws(() => untyped[hook]("x"), {
        name: "TypeError",
        message:
          `Cannot set ${hook} of store "${name}": the hook must be a function, not "x"`,
      });
      assert.equal(
        untyped[hook](() => void ran.push(`${hook} ${name}`)),
        store,
      );
      assert.throws(() => untyped[hook](() => void ran.push("second")), {
        name: "TypeError",
        message: `Cannot set ${hook} of store "${name}": it has one already`,
      });
    }
  }
  // A handle by full name is of the same definition.
  const handle: Untyped = bench.server.store("Room:a");
  assert.throws(() => handle.onCreate(() => {}), TypeError);
  await bench.rooms.init("a");
  await bench.rooms.delete("a");
  assert.deepEqual(ran, ["onCreate Room:*", "onTerminate Room:*"]);
});
