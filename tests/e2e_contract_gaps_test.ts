/** What a server has not, though its contract or its client expects it: who is told, and what. */
import { configure, type LogRecord, reset } from "@logtape/logtape";
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer, defineApp, type Server } from "../server/mod.ts";

/** Runs `test` with all log records of the server. */
async function withLog(
  test: (records: readonly LogRecord[]) => Promise<void>,
): Promise<void> {
  const records: LogRecord[] = [];
  await configure({
    reset: true,
    sinks: { memory: (record) => void records.push(record) },
    loggers: [
      { category: "headwater", lowestLevel: "debug", sinks: ["memory"] },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
  try {
    await test(records);
  } finally {
    await reset();
  }
}

const shown = ({ level, rawMessage, properties }: LogRecord) => [
  level,
  rawMessage,
  properties["stores"] ?? properties["functions"] ?? properties["name"],
];

const app = defineApp({
  stores: {
    Todos: { initial: { n: 0 } },
    Missing: { initial: { n: 0 } },
    "Room:*": { initial: { n: 0 } },
    "Game:*": { initial: { n: 0 } },
  },
  functions: { add: {}, forgotten: {} },
});

const NO_STORES =
  "The contract has stores that createStore() was not called for: {stores}";
const NO_FUNCTIONS =
  "The contract has functions that handle() was not called for: {functions}";

function start(): Server<typeof app> {
  const server = createServer({ kv: ":memory:", app });
  server.createStore("Todos");
  server.createStore("Room:*");
  server.handle("add", () => 1);
  return server;
}

Deno.test("listen() logs once what the contract has and the server has not", async () => {
  await withLog(async (records) => {
    await using server = start();
    await server.listen({ port: 0, host: "127.0.0.1" });
    await server.fetch(new Request("http://localhost/health"));
    assert.deepEqual(records.map(shown), [
      ["warning", NO_STORES, ["Missing", "Game:*"]],
      ["warning", NO_FUNCTIONS, ["forgotten"]],
    ]);
  });
});

Deno.test("fetch() logs it with the first request, and a whole contract is no news", async () => {
  await withLog(async (records) => {
    await using server = start();
    assert.equal(records.length, 0);
    for (let count = 0; count < 2; count++) {
      await server.fetch(new Request("http://localhost/health"));
    }
    assert.equal(records.length, 2);
    server.createStore("Missing");
    await using whole = start();
    whole.createStore("Missing");
    whole.createStore("Game:*");
    whole.handle("forgotten", () => 1);
    await whole.listen({ port: 0, host: "127.0.0.1" });
    assert.equal(records.length, 2);
  });
});

Deno.test("a client is told whether the contract has what it asks for", async () => {
  await using server = start();
  await server.listen({ port: 0, host: "127.0.0.1" });
  using client = createClient(`ws://127.0.0.1:${server.port}`);
  const contractHas = (name: string, pattern = name) =>
    `No store is defined for the name "${name}": the contract has "${pattern}", but the server did not create it by createStore()`;
  for (
    const [name, message] of [
      ["Missing", contractHas("Missing")],
      ["Game:1", contractHas("Game:1", "Game:*")],
      ["Game:", 'No store is defined for the name "Game:"'],
      ["Other", 'No store is defined for the name "Other"'],
    ] as const
  ) {
    const handle = client.subscribe<{ n: number }>(name);
    await assert.rejects(handle.ready(), { code: "store_missing", message });
  }
  for (
    const [name, message] of [
      [
        "forgotten",
        'No function is named "forgotten": the contract has it, but the server does not handle() it',
      ],
      ["toString", 'No function is named "toString"'],
    ] as const
  ) {
    await assert.rejects(client.call(name), {
      code: "function_missing",
      message,
    });
  }
  // What it has, it has.
  await client.subscribe("Room:1").ready();
  assert.equal(await client.call("add"), 1);
});

Deno.test("a write to a store that says nothing of writes is refused, and the server's log says why", async () => {
  await withLog(async (records) => {
    await using server = createServer({ kv: ":memory:" });
    server.createStore("Silent", { n: 0 });
    server.createStore("Closed", { n: 0 }, { write: false });
    server.createStore("Picky", { n: 0 }, { write: () => false });
    await server.listen({ port: 0, host: "127.0.0.1" });
    using client = createClient(`ws://127.0.0.1:${server.port}`);
    for (const name of ["Silent", "Closed", "Picky"]) {
      const store = client.subscribe<{ n: number }>(name);
      await store.ready();
      await assert.rejects(store.update((draft) => void draft.n++), {
        code: "forbidden",
        message: `Cannot write to store "${name}": ${
          name === "Picky"
            ? "this client may not"
            : "clients may not write to it"
        }`,
      });
    }
    const about = records.filter(({ rawMessage }) =>
      String(rawMessage).includes("no write option")
    );
    assert.deepEqual(about.map(shown), [[
      "debug",
      "A write of client {clientId} to store {name} was refused: its createStore() has no write option, and clients may not write by default",
      "Silent",
    ]]);
  });
});
