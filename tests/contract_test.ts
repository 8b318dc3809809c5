/** Schemas, and what a server makes of a contract, without a socket. */
import {
  createServer,
  defineApp,
  HeadwaterError,
  type Schema,
  type Server,
} from "@headwater/sync";
import assert from "node:assert/strict";
import * as v from "valibot";
import { z } from "zod";
import { validate } from "../protocol/schema.ts";
import { valibotApp, zodApp } from "./_contract.ts";

/** What both libraries are asked; they have the same names and types. */
const APPS = {
  Zod: zodApp as unknown as typeof valibotApp,
  Valibot: valibotApp,
};

const ORDERS = {
  Zod: z.object({
    seats: z.array(z.object({ "row/a": z.number() })).default([]),
    note: z.string().default("-"),
  }),
  Valibot: v.object({
    seats: v.optional(v.array(v.object({ "row/a": v.number() })), []),
    note: v.optional(v.string(), "-"),
  }),
};

for (const [library, schema] of Object.entries(ORDERS)) {
  Deno.test(`validate() gives what the schema makes of a value: ${library}`, () => {
    const order: { seats: { "row/a": number }[]; note: string } = validate(
      schema,
      { seats: [{ "row/a": 1 }], more: true },
      "the order",
    );
    assert.deepEqual(order, { seats: [{ "row/a": 1 }], note: "-" });
  });

  Deno.test(`validate() refuses by path, and tells all that is wrong: ${library}`, () => {
    const value = { seats: [{ "row/a": 1 }, { "row/a": "2" }], note: 3 };
    const error = thrown(() => validate(schema, value, "the order"));
    assert.ok(error instanceof HeadwaterError);
    assert.equal(error.code, "invalid");
    assert.equal(error.path, "/seats/1/row~1a");
    assert.match(error.message, /^Cannot accept the order: .+ at \/seats\/1/);
    const { issues } = error.data as {
      issues: { path: string; message: string }[];
    };
    assert.deepEqual(issues.map(({ path }) => path), [
      "/seats/1/row~1a",
      "/note",
    ]);
    assert.ok(issues.every(({ message }) => message.length > 0));
  });
}

Deno.test("validate() refuses the whole by an empty path", () => {
  assert.throws(() => validate(z.string(), 1, "the name"), {
    code: "invalid",
    path: "",
    message: /^Cannot accept the name: .+(?<! at )$/,
  });
});

Deno.test("validate() tells 16 of many faults", () => {
  const error = thrown(() =>
    validate(z.array(z.string()), Array(1_000).fill(1), "the list")
  );
  assert.ok(error instanceof HeadwaterError);
  assert.equal((error.data as { issues: unknown[] }).issues.length, 16);
});

Deno.test("validate() keeps what cannot cross the wire out of path and message", () => {
  const schema: Schema = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: () => ({
        issues: [{
          message: "half of it: \ud83d",
          path: [{ key: "\ud83d" }, Symbol("s"), 2],
        }],
      }),
    },
  };
  const error = thrown(() => validate(schema, {}, "it"));
  assert.ok(error instanceof HeadwaterError);
  assert.equal(error.path, "/\ufffd/Symbol(s)/2");
  assert.ok(error.message.isWellFormed());
});

Deno.test("validate() refuses a schema that is asynchronous, and lets nothing dangle", async () => {
  const schemas = [
    // Not one that rejects: Zod drops the promise of its first attempt.
    z.string().refine(() => Promise.resolve(true)),
    v.pipeAsync(
      v.string(),
      v.checkAsync(() => Promise.reject(new Error("late"))),
    ),
  ];
  for (const schema of schemas) {
    assert.throws(() => validate(schema, "a", "the name"), {
      name: "TypeError",
      message:
        "Cannot check the name: its schema is asynchronous, and must not be",
    });
  }
  // A rejection that nobody handles would be reported by now, and fail this test.
  await new Promise((resolve) => setTimeout(resolve));
});

Deno.test("defineApp() refuses a mutator of a store that the contract does not have", () => {
  const stores = { Todos: { initial: {} } };
  const mutators = { add: { store: "Todo" as "Todos", run() {} } };
  assert.throws(() => defineApp({ stores, mutators }), {
    name: "TypeError",
    message: 'Cannot define mutator "add": the contract has no store "Todo"',
  });
});

for (const [library, app] of Object.entries(APPS)) {
  const open = () => createServer({ kv: ":memory:", app });

  Deno.test(`createStore() takes initial state and schema from the contract: ${library}`, async () => {
    await using server = open();
    const todos = server.createStore("Todos");
    assert.deepEqual(await todos.get(), { items: [] });
    const rooms = server.createStore("Room:*");
    await rooms.init("42");
    assert.deepEqual(await server.store("Room:42")?.get(), { messages: [] });
  });

  Deno.test(`a write whose state does not fit is refused by path, and changes nothing: ${library}`, async () => {
    await using server = open();
    const todos = server.createStore("Todos");
    await todos.update((draft) => {
      draft.items.push({ id: "1", text: "a", done: false });
    });
    const invalid = { code: "invalid", path: "/items/1/text" };
    await assert.rejects(
      todos.update((draft) => {
        draft.items.push({ id: "2", text: "", done: false });
      }),
      invalid,
    );
    const items = [
      { id: "1", text: "a", done: false },
      { id: "2", text: "", done: false },
    ];
    await assert.rejects(todos.set({ items }), invalid);
    const { version } = await todos.update(() => {});
    assert.equal(version, 2);
    assert.deepEqual(await todos.get(), { items: items.slice(0, 1) });
  });

  Deno.test(`what the schema makes of a state takes its place: ${library}`, async () => {
    await using server = open();
    const todos = server.createStore("Todos");
    const bare = { id: "1", text: "a" };
    const filled = { items: [{ ...bare, done: false }] };
    await todos.update((draft) => {
      draft.items.push(bare as typeof bare & { done: boolean });
      Object.assign(draft, { more: 1 });
    });
    assert.deepEqual(await todos.get(), filled);
    await todos.set({ items: [bare], more: 1 } as unknown as typeof filled);
    assert.deepEqual(await todos.get(), filled);
    // Where nothing is left of a change, there is no version.
    const { version } = await todos.update((draft) => {
      Object.assign(draft, { more: 2 });
    });
    assert.equal(version, 3);
    assert.deepEqual(await todos.get(), filled);
  });

  Deno.test(`what onCreate returns is checked with the state that it is merged into: ${library}`, async () => {
    await using server = open();
    const rooms = server.createStore("Room:*")
      .onCreate((key) => ({ messages: [(key ?? "").repeat(20)] }));
    await assert.rejects(rooms.init("long"), {
      code: "invalid",
      path: "/messages/0",
    });
    assert.equal(await rooms.has("long"), false);
    await rooms.init("l");
    assert.deepEqual(await rooms.get("l"), { messages: ["l".repeat(20)] });
  });
}

Deno.test("createStore() takes a schema without a contract, too", async () => {
  await using server: Server = createServer({ kv: ":memory:" });
  const schema = z.object({ n: z.number().max(2) });
  const counter = server.createStore("Counter", { n: 0 }, { schema });
  await counter.update((draft) => void draft.n++);
  await assert.rejects(counter.update((draft) => void (draft.n = 3)), {
    code: "invalid",
    path: "/n",
  });
  assert.deepEqual(await counter.get(), { n: 1 });
});

Deno.test("createStore() refuses an initial state that does not fit, and fills it in where it does", async () => {
  await using server: Server = createServer({ kv: ":memory:" });
  const schema = z.object({ n: z.number().default(7) });
  assert.throws(() => server.createStore("A", { n: "1" }, { schema }), {
    code: "invalid",
    path: "/n",
  });
  assert.deepEqual(await server.createStore("B", {}, { schema }).get(), {
    n: 7,
  });
});

Deno.test("createStore() refuses a schema that is asynchronous or never content", async () => {
  await using server: Server = createServer({ kv: ":memory:" });
  const late = z.object({ n: z.number().refine(() => Promise.resolve(true)) });
  assert.throws(() => server.createStore("A", { n: 1 }, { schema: late }), {
    message: /its schema is asynchronous/,
  });
  const growing = z.object({ n: z.number().transform((n) => n + 1) });
  assert.throws(() => server.createStore("A", { n: 1 }, { schema: growing }), {
    message: /its schema changes what it gave itself/,
  });
});

Deno.test("a write that makes a schema asynchronous, or grow, is refused", async () => {
  await using server: Server = createServer({ kv: ":memory:" });
  const schema = z.object({
    late: z.number().refine((n) => n === 0 || Promise.resolve(true) as never),
    grows: z.number().transform((n) => n === 0 ? 0 : n + 1),
  });
  const store = server.createStore("A", { late: 0, grows: 0 }, { schema });
  await assert.rejects(store.update((draft) => void (draft.late = 1)), {
    message: /its schema is asynchronous/,
  });
  await assert.rejects(store.update((draft) => void (draft.grows = 1)), {
    message: /its schema changes what it gave itself/,
  });
  assert.deepEqual(await store.get(), { late: 0, grows: 0 });
});

Deno.test("a server with a contract refuses names that are not in it", async () => {
  await using server: Server = createServer({ kv: ":memory:", app: zodApp });
  const message = /the contract has none of that name/;
  assert.throws(() => server.createStore("Other", {}), { message });
  assert.throws(() => server.createStore("constructor", {}), { message });
  assert.throws(() => server.handle("other", () => {}), { message });
  assert.throws(() => server.emit("other"), { message });
});

Deno.test("a change that a schema corrects is sent as what it changes, not as everything", async () => {
  const schema = z.object({
    rows: z.array(z.object({ id: z.number(), text: z.string().trim() })),
  });
  await using server: Server = createServer({ kv: ":memory:" });
  const initial = {
    rows: Array.from({ length: 500 }, (_, id) => ({ id, text: `row ${id}` })),
  };
  const store = server.createStore("Rows", initial, { schema });
  await store.update((draft) =>
    void draft.rows.unshift({ id: 500, text: " a " })
  );
  const { rows } = await store.get();
  assert.deepEqual(rows[0], { id: 500, text: "a" });
  const before = await store.get();
  await store.update((draft) => void (draft.rows[3]!.text = " b "));
  const after = await store.get();
  assert.equal(after.rows[3]?.text, "b");
  // What is the same object was not replaced.
  assert.equal(after.rows[4], before.rows[4]);
  assert.equal(after.rows[0], before.rows[0]);
});

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}
