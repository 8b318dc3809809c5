/** What `createClient` is given: what is no option, and what is none of its values, is refused. */
import assert from "node:assert/strict";
import { indexedDbStorage } from "../adapters/indexed_db.ts";
import {
  type ClientOptions,
  type ClientStatus,
  createClient,
  LimitError,
} from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { startProxy, until, within as inTime } from "./_harness.ts";

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "an answer" });

const wrong: [option: string, value: unknown, message: string][] = [
  ["reconnect", "no", 'reconnect must be a boolean, not "no"'],
  [
    "reconnectDelayMs",
    "5",
    'reconnectDelayMs must be a number over 0, not "5"',
  ],
  ["reconnectMaxMs", -1, "reconnectMaxMs must be a number over 0, not -1"],
  ["rpcTimeoutMs", NaN, "rpcTimeoutMs must be a number over 0, not NaN"],
  [
    "storage",
    5,
    "storage must be an object, made by indexedDbStorage(), not 5",
  ],
  [
    "storage",
    true,
    "storage must be an object, made by indexedDbStorage(), not true",
  ],
  [
    "storage",
    indexedDbStorage,
    "storage must be an object, made by indexedDbStorage(), not a function",
  ],
  ["app", 5, "app must be an object, made by defineApp(), not 5"],
  ["random", 5, "random must be a function, not 5"],
  ["WebSocket", 5, "WebSocket must be a function, not 5"],
  [
    "token",
    5,
    "token must be a string or a function, not 5",
  ],
  [
    "token",
    null,
    "token must be a string or a function, not null",
  ],
  [
    "token",
    {},
    "token must be a string or a function, not an object",
  ],
  [
    "limits",
    { undoSteps: 1.5 },
    "undoSteps must be a whole number over 0, not 1.5",
  ],
  ["clock", 1, "clock must be an object, not 1"],
  ["onWake", {}, "onWake must be a function, not an object"],
  ["reportError", {}, "reportError must be a function, not an object"],
  ["limits", 5, "limits must be an object, not 5"],
  [
    "limits",
    { pendingRequests: 0 },
    "pendingRequests must be a whole number over 0, not 0",
  ],
  [
    "limits",
    { undoSteps: "7" },
    'undoSteps must be a whole number over 0, not "7"',
  ],
  [
    "limits",
    { undo: 7 },
    'there is no option "undo"; there are pendingRequests, undoSteps',
  ],
];

for (const [option, value, message] of wrong) {
  Deno.test(`createClient() refuses: ${message}`, () => {
    assert.throws(
      () => createClient(undefined, { [option]: value } as ClientOptions), // that is the point
      { name: "TypeError", message: `Cannot make a client: ${message}` },
    );
  });
}

Deno.test("createClient() takes options that are undefined", () => {
  const options = Object.fromEntries(
    wrong.map(([option]) => [option, undefined]),
  );
  createClient(undefined, options).destroy();
});

Deno.test("indexedDbStorage() refuses an option that there is not, and a name that is none", () => {
  assert.throws(() => indexedDbStorage({ nam: "n" } as object), {
    name: "TypeError",
    message:
      'Cannot keep anything: there is no option "nam"; there are name, maxBytes',
  });
  assert.throws(() => indexedDbStorage({ name: 5 } as object), {
    name: "TypeError",
    message: "Cannot keep anything: name must be a string, not number",
  });
});

interface List {
  items: number[];
}

async function start(options: ClientOptions = {}) {
  const server = createServer({ kv: ":memory:" });
  const list = server.createStore<List>("List:*", { items: [] }, {
    write: true,
  });
  await list.create("1");
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const client = createClient(`ws://127.0.0.1:${proxy.port}`, {
    reconnectDelayMs: 5,
    reconnectMaxMs: 5,
    ...options,
  });
  const handle = client.subscribe<List>("List:1");
  await within(handle.ready());
  return {
    list,
    proxy,
    client,
    handle,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await proxy[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

const push = (n: number) => (draft: List) => void draft.items.push(n);

Deno.test("ClientOptions.limits.pendingRequests holds what may wait for an answer", async () => {
  await using test = await start({ limits: { pendingRequests: 2 } });
  test.proxy.refuse(true);
  test.proxy.cut();
  await until(() => test.client.status === "reconnecting");
  const writes = [test.handle.update(push(1)), test.handle.update(push(2))];
  const isLimit = (error: unknown) =>
    error instanceof LimitError && error.limit === "pendingRequests" &&
    error.allowed === 2 && error.actual === 3;
  assert.throws(() => test.handle.update(push(3)), isLimit);
  await assert.rejects(within(test.client.call("f")), isLimit);
  assert.deepEqual(test.handle.getState(), { items: [1, 2] });
  test.proxy.refuse(false);
  await within(Promise.all(writes));
});

Deno.test("ClientOptions.limits.undoSteps holds how many changes can be taken back", async () => {
  await using test = await start({ limits: { undoSteps: 2 } });
  for (const n of [1, 2, 3]) await within(test.handle.update(push(n)));
  await within(test.handle.undo());
  await within(test.handle.undo());
  assert.equal(test.handle.canUndo, false);
  assert.equal(await within(test.handle.undo()), undefined);
  assert.deepEqual(test.handle.getState(), { items: [1] });
});

Deno.test("update() on a store that was deleted rejects, and says to subscribe again", async () => {
  await using test = await start();
  await test.list.delete("1");
  await within(test.handle.ended());
  const refusal = {
    code: "store_deleted",
    message: 'Cannot write to store "List:1": it was deleted; subscribe again',
    outcome: "notApplied",
  };
  await assert.rejects(within(test.handle.update(push(1))), refusal);
  await assert.rejects(within(test.handle.set({ items: [] })), refusal);
  await assert.rejects(within(test.handle.merge({ items: [] })), refusal);
  assert.equal(test.client.unackedCount, 0);
  await test.list.create("1");
  const again = test.client.subscribe<List>("List:1");
  await within(again.ready());
  await within(again.update(push(1)));
  assert.deepEqual(again.getState(), { items: [1] });
});

Deno.test('Client.on("status") tells of every change of client.status, once', async () => {
  const server = createServer({ kv: ":memory:" });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using proxy = await startProxy(server.port);
  const client = createClient(undefined, {
    reconnectDelayMs: 5,
    reconnectMaxMs: 5,
  });
  const told: ClientStatus[] = [];
  const off = client.on("status", (status) => {
    assert.equal(status, client.status);
    told.push(status);
  });
  const others: string[] = [];
  client.on("connected", () => others.push(`connected after ${told.at(-1)}`));
  client.on("disconnected", () => others.push(`gone after ${told.at(-1)}`));
  client.connect(`ws://127.0.0.1:${proxy.port}`);
  await within(client.ready());
  assert.deepEqual(told, ["connecting", "connected"]);
  proxy.refuse(true);
  proxy.cut();
  await until(() => told.length === 3);
  proxy.refuse(false);
  await until(() => told.length === 4);
  client.destroy();
  assert.deepEqual(told, [
    "connecting",
    "connected",
    "reconnecting",
    "connected",
    "closed",
  ]);
  assert.deepEqual(others, [
    "connected after connected",
    "gone after reconnecting",
    "connected after connected",
    "gone after closed",
  ]);
  off();
  await server.close();
});
