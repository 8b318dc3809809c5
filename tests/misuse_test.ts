/** Calls that cannot be meant: what the errors say. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer, defineApp, HeadwaterError } from "../server/mod.ts";
import { z } from "zod";
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

Deno.test("transaction() says what it was given in the place of changes", async () => {
  await using bench = createStores();
  const { todos, rooms } = bench;
  const run: Untyped = bench.server.transaction.bind(bench.server);
  const update = () => {};
  const begin = "Cannot run a transaction";
  const cases: [unknown, string][] = [
    [
      undefined,
      `${begin}: it takes a function or a list of changes, not undefined`,
    ],
    ["x", `${begin}: it takes a function or a list of changes, not "x"`],
    [[null], `${begin}: change 1: it must be an object, not null`],
    [
      [{ store: todos, update }, { store: todos }],
      `${begin}: change 2 must have update or set`,
    ],
    [
      [{ store: todos, update, set: { items: [] } }],
      `${begin}: change 1 must have either update or set, not both`,
    ],
    [
      [{ store: todos, updat: update }],
      `${begin}: change 1: there is no field "updat"; there are store, key, update, set`,
    ],
    [
      [{ store: todos, update: 5 }],
      `${begin}: change 1: update must be a function, not 5`,
    ],
    [
      [{ store: "Todos", update }],
      'Cannot change "Todos" in a transaction: it is no store; pass what createStore() has returned',
    ],
    [
      (tx: Untyped) => tx("Todos"),
      'Cannot change "Todos" in a transaction: it is no store; pass what createStore() has returned',
    ],
    [
      (tx: Untyped) => tx(rooms, "a").update(),
      'Cannot update store "Room:a": the recipe must be a function, not undefined',
    ],
    [
      (tx: Untyped) => tx(todos).update(update, { as: "ada" }),
      'Cannot write to store "Todos": as must be { user } or { user, clientId }, with a client\'s id that is a string, not "ada"',
    ],
  ];
  for (const [given, message] of cases) {
    await assert.rejects(run(given), { name: "TypeError", message });
  }
  // A store that is named and not changed is no part of it.
  assert.deepEqual(await run((tx: Untyped) => void tx(todos)), []);
  assert.deepEqual(await bench.server.listStores(), []);
});

Deno.test("update() and set() refuse options that there are not, and who is nobody", async () => {
  await using bench = createStores();
  const writes: [string, (options: unknown) => Promise<unknown>][] = [];
  const [todos, rooms]: Untyped[] = [bench.todos, bench.rooms];
  const set = { items: [], messages: [] };
  writes.push(
    ["Todos", (options) => todos.update(() => {}, options)],
    ["Todos", (options) => todos.set(set, options)],
    ["Room:a", (options) => rooms.update("a", () => {}, options)],
    ["Room:a", (options) => rooms.set("a", set, options)],
  );
  const as =
    "as must be { user } or { user, clientId }, with a client's id that is a string, not";
  for (const [name, write] of writes) {
    for (
      const [options, message] of [
        [null, "its options must be an object, not null"],
        [{ at: 5 }, 'there is no option "at"; there are as'],
        [{ as: "ada" }, `${as} "ada"`],
        [{ as: null }, `${as} null`],
        [{ as: {} }, `${as} an object`],
        [{ as: { user: 1, clientId: 5 } }, `${as} an object`],
      ] as const
    ) {
      await assert.rejects(write(options), {
        name: "TypeError",
        message: `Cannot write to store "${name}": ${message}`,
      });
    }
    await assert.rejects(write({ as: { user: () => 1 } }), {
      code: "bad_value",
    });
    await write({ as: undefined });
    await write({ as: { user: null } });
  }
  await assert.rejects(rooms.create("b", null), {
    name: "TypeError",
    message:
      'Cannot create a store of "Room:*": its options must be an object, not null',
  });
});

Deno.test("history(), at() and restore() say what they take", async () => {
  await using bench = createStores();
  await bench.rooms.update("a", () => {});
  const rooms: Untyped = bench.rooms;
  for (
    const [call, message] of [
      [
        () => rooms.history("a", 2),
        'Cannot list the history of store "Room:a": its options must be an object, not 2',
      ],
      [
        () => rooms.history("a", { form: 2 }),
        'Cannot list the history of store "Room:a": there is no option "form"; there are from, limit',
      ],
      [
        () => rooms.at("a"),
        'Cannot read store "Room:a" at undefined: it must be a version or { timeMs }',
      ],
      [
        () => rooms.at("a", 1n),
        'Cannot read store "Room:a" at 1: it must be a version or { timeMs }',
      ],
      [
        () => rooms.restore("a", { timeMs: 5 }),
        'Cannot restore store "Room:a" to an object: it must be a version; history() tells which one was the newest at a time',
      ],
      [
        () => rooms.restore("a"),
        'Cannot restore store "Room:a" to undefined: it must be a version; history() tells which one was the newest at a time',
      ],
    ] as const
  ) {
    await assert.rejects(call, { name: "TypeError", message });
  }
});

Deno.test("emit() refuses targets that are none, and stores that are not defined", async () => {
  await using bench = createStores();
  const emit: Untyped = bench.server.emit.bind(bench.server);
  const targets = "clientId, userId, store, except";
  for (
    const [to, message] of [
      [null, ` to null: its target must be an object with ${targets}`],
      ["ada", ` to "ada": its target must be an object with ${targets}`],
      [{ user: "ada" }, `: there is no target "user"; there are ${targets}`],
      [
        { clientId: 5 },
        ": clientId must be the id of one client, a string, not 5",
      ],
      [
        { userId: ["ada", "bob"] },
        ": userId must be the id of one user, a string or a number, not an array",
      ],
      [
        { userId: { id: 1 } },
        ": userId must be the id of one user, a string or a number, not an object",
      ],
      [
        { userId: undefined },
        ": userId must be the id of one user, a string or a number, not undefined",
      ],
      [
        { except: [5] },
        ": except must be the id of a client, or an array of them, not an array",
      ],
    ] as const
  ) {
    assert.throws(() => emit("tick", 1, to), {
      name: "TypeError",
      message: `Cannot emit "tick"${message}`,
    });
  }
  for (
    const [store, reason] of [
      ["Room:*", "it must be the full name of one store"],
      ["x", "no store is defined for that name"],
      ["Room:", "no store is defined for that name"],
    ] as const
  ) {
    assert.throws(() => emit("tick", 1, { store }), {
      name: "HeadwaterError",
      code: "store_missing",
      message: `Cannot emit "tick" to the subscribers of "${store}": ${reason}`,
    });
  }
  emit("tick", 1, { store: "Room:a", userId: 7, except: undefined });
});

Deno.test("revoke() says whom it takes, and that the server is closed", async () => {
  await using bench = createStores();
  const revoke: Untyped = bench.server.revoke.bind(bench.server);
  for (
    const [whom, shown] of [
      ["ada", '"ada"'],
      [null, "null"],
      [{ userId: "a", clientId: "b" }, "an object"],
      [{ userId: "a", all: true }, "an object"],
    ]
  ) {
    await assert.rejects(revoke(whom), {
      name: "TypeError",
      message:
        `Cannot revoke: it takes either { userId }, a string or a number, or { clientId }, a string, not ${shown}`,
    });
  }
  await bench.todos.init();
  await bench.server.close();
  await assert.rejects(revoke({ userId: "ada" }), {
    name: "HeadwaterError",
    code: "closed",
    message: "The server is closed",
    outcome: "notApplied",
  });
});

Deno.test("defineApp() refuses what no contract has", () => {
  const define: Untyped = defineApp;
  const run = () => {};
  const stores = { Todos: { initial: {} } };
  const schema =
    "must be a schema that follows Standard Schema, such as Zod's z.object({ … }), not";
  const its = "Cannot define an app: its";
  for (
    const [parts, message] of [
      [undefined, `${its} contract must be an object, not undefined`],
      [[], `${its} contract must be an object, not an array`],
      [
        { store: {} },
        `${its} contract has no field "store"; there are stores, functions, mutators, events, presence`,
      ],
      [{ stores: [] }, `${its} stores must be an object, not an array`],
      [
        { stores: { Todos: null } },
        'Cannot define store "Todos": it must be an object, not null',
      ],
      [
        { stores: { Todos: {} } },
        'Cannot define store "Todos": its initial state must be an object, not undefined',
      ],
      [
        { stores: { Todos: { initial: {}, write: true } } },
        'Cannot define store "Todos": it has no field "write"; there are initial, schema, version, migrate',
      ],
      [
        { stores: { Todos: { initial: {}, schema: {} } } },
        `Cannot define store "Todos": schema ${schema} an object`,
      ],
      [
        { stores: { Todos: { initial: {}, version: "1" } } },
        'Cannot define store "Todos": version must be an integer from 1, not "1"',
      ],
      [
        { stores: { Todos: { initial: {}, migrate: 5 } } },
        'Cannot define store "Todos": migrate must be a function, not 5',
      ],
      [
        { functions: { f: 5 } },
        'Cannot define function "f": it must be an object, not 5',
      ],
      [
        { functions: { f: z.string() } },
        /^Cannot define function "f": it has no field .*; there are args, result$/,
      ],
      [
        { functions: { f: { args: String } } },
        `Cannot define function "f": args ${schema} a function`,
      ],
      [{ events: { e: 5 } }, `Cannot define event "e": it ${schema} 5`],
      [
        { events: { connected: z.string() } },
        'Cannot define event "connected": clients use that channel for what they say themselves',
      ],
      [{ presence: 5 }, `Cannot define an app: presence ${schema} 5`],
      [
        { stores, mutators: { add: { store: "Todos" } } },
        'Cannot define mutator "add": run must be a function, not undefined',
      ],
      [
        { stores, mutators: { add: { run } } },
        'Cannot define mutator "add": the contract has no store undefined',
      ],
      [
        { stores, mutators: { add: { store: "Todo", run } } },
        'Cannot define mutator "add": the contract has no store "Todo"',
      ],
    ] as const
  ) {
    assert.throws(() => define(parts), { name: "TypeError", message });
  }
  define({});
});
