/** What clients are told of the application's own failures, and what the server is. */
import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { z } from "zod";
import { defineApp, HeadwaterError } from "../mod.ts";
import type { ErrorBody } from "../protocol/errors.ts";
import type { ClientWrite } from "../protocol/frames.ts";
import { createServer } from "../server/mod.ts";
import { rawSubscribe } from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";

const SECRET = "the password of the database is hunter2";

function fail(): never {
  throw new Error(SECRET);
}

const app = defineApp({
  stores: {
    Plain: { initial: { n: 0 }, schema: z.object({ n: z.number().max(9) }) },
    Intercepted: { initial: { n: 0 } },
    Meant: { initial: { n: 0 } },
    Ruled: { initial: { n: 0 } },
    "Born:*": { initial: { n: 0 } },
  },
  mutators: {
    boom: { store: "Plain", run: fail },
    add: { store: "Plain", run: (draft: { n: number }) => void draft.n++ },
    grow: { store: "Born:*", run: (draft: { n: number }) => void draft.n++ },
  },
});

async function start(maskErrors: boolean) {
  const server = createServer({ kv: ":memory:", app, maskErrors });
  server.createStore("Plain", { write: true });
  server.createStore("Intercepted", { write: true, intercept: fail });
  server.createStore("Meant", {
    write: true,
    intercept: () => {
      throw new HeadwaterError("limit", "3 of 3 seats are taken");
    },
  });
  server.createStore("Ruled", { write: fail });
  server.createStore("Born:*", { write: true }).onCreate(fail);
  const reported: [string, string | undefined][] = [];
  server.on("error", ({ message }, clientId) => {
    reported.push([message, clientId]);
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  return { server, reported, [Symbol.asyncDispose]: () => server.close() };
}

/** Runs with a log that is kept. */
async function withRecords(
  run: (records: readonly LogRecord[]) => Promise<void>,
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
    await run(records);
  } finally {
    await reset();
  }
}

async function write(
  client: RawClient,
  id: number,
  writes: ClientWrite[],
): Promise<ErrorBody> {
  client.send({ type: "mut", id, oldest: id, elapsedMs: 0, writes });
  const { error } = await client.next("res");
  assert.ok(error);
  return error;
}

const nowhere = { epoch: "", base: 0, after: [] };
const mutator = (name: string, mutator: string): ClientWrite => ({
  name,
  ...nowhere,
  mutator,
  seed: "s",
});

for (const maskErrors of [false, true]) {
  Deno.test(
    `a client's write that fails for the application's own fault is logged, told and ${
      maskErrors ? "masked" : "shown"
    }`,
    async () => {
      await withRecords(async (records) => {
        await using at = await start(maskErrors);
        await using client = await RawClient.connect(at.server.port);
        const { clientId } = await client.hello();
        const { epoch, version: base } = await rawSubscribe(
          client,
          "Intercepted",
        );
        const patch = (name: string): ClientWrite => ({
          name,
          epoch,
          base,
          after: [],
          patch: [{ op: "replace", path: ["n"], value: 1 }],
        });
        const cases: [ClientWrite[], string, string, string][] = [
          [[patch("Intercepted")], "refused", SECRET, '"Intercepted" failed'],
          [[mutator("Plain", "boom")], "refused", SECRET, '"Plain" failed'],
          [[mutator("Born:a", "grow")], "refused", SECRET, '"Born:a" failed'],
          [
            [mutator("Plain", "add"), mutator("Plain", "boom")],
            "refused",
            SECRET,
            '"Plain" failed',
          ],
        ];
        for (const [index, [writes, code, shown, masked]] of cases.entries()) {
          const error = await write(client, index + 1, writes);
          assert.equal(error.code, code);
          const message = maskErrors ? `A write to store ${masked}` : shown;
          assert.equal(error.message, message);
          assert.equal(error.outcome, "notApplied");
          assert.ok(error.id);
          const record = records.find(({ properties }) =>
            properties["id"] === error.id
          );
          const { error: logged } = record?.properties ?? {};
          assert.ok(logged instanceof Error && logged.message === SECRET);
          await until(() => at.reported.length === index + 1);
          assert.deepEqual(at.reported[index], [SECRET, clientId]);
        }
        // A rule says nothing in any case.
        const { id, ...forbidden } = await write(client, 9, [patch("Ruled")]);
        assert.deepEqual(forbidden, {
          code: "forbidden",
          message: 'Cannot write to store "Ruled": this client may not',
          outcome: "notApplied",
        });
        assert.ok(records.some(({ properties }) => properties["id"] === id));
        await until(() => at.reported.length === cases.length + 1);
        assert.equal(
          JSON.stringify(client.frames).includes("hunter2"),
          !maskErrors,
        );
      });
    },
  );
}

Deno.test("a refusal that is meant for the client is told as it is, and is no failure", async () => {
  await withRecords(async (records) => {
    await using at = await start(true);
    await using client = await RawClient.connect(at.server.port);
    await client.hello();
    const { epoch, version: base } = await rawSubscribe(client, "Meant");
    const set = (name: string, value: number): ClientWrite => ({
      name,
      epoch,
      base,
      after: [],
      patch: [{ op: "replace", path: ["n"], value }],
    });
    assert.deepEqual(await write(client, 1, [set("Meant", 1)]), {
      code: "limit",
      message: "3 of 3 seats are taken",
      outcome: "notApplied",
    });
    const plain = await rawSubscribe(client, "Plain");
    const { path, code } = await write(client, 2, [
      { ...set("Plain", 10), epoch: plain.epoch, base: plain.version },
    ]);
    assert.deepEqual([code, path], ["invalid", "/n"]);
    assert.deepEqual(at.reported, []);
    assert.deepEqual(
      records.filter(({ level }) => level !== "debug" && level !== "info"),
      [],
    );
  });
});

interface Old {
  n: number;
  code: number;
}

/** A store as an earlier release has left it, and a server that expects another one. */
async function withOldState(
  rules: { version?: number; migrate?: (state: unknown) => Old },
  run: (client: RawClient, reported: string[]) => Promise<void>,
): Promise<void> {
  await using file = await tempKvPath();
  {
    await using earlier = createServer({ kv: file.path });
    await earlier.createStore("Old", { n: 0, code: SECRET }).init();
  }
  const later = defineApp({
    stores: {
      Old: {
        initial: { n: 0, code: 1 },
        schema: z.object({
          n: z.number(),
          // As libraries do that quote what they have got.
          code: z.number({ error: ({ input }) => `Not a number: ${input}` }),
        }),
        ...rules,
      },
    },
    mutators: {
      add: { store: "Old", run: (draft: { n: number }) => void draft.n++ },
    },
  });
  await using server = createServer({ kv: file.path, app: later });
  const old = server.createStore("Old", { write: true });
  server.handle("touch", () => old.update((draft) => void draft.n++));
  const reported: string[] = [];
  server.on("error", ({ message }) => void reported.push(message));
  await server.listen({ port: 0, host: "127.0.0.1" });
  await using client = await RawClient.connect(server.port);
  await client.hello();
  await run(client, reported);
}

Deno.test("a stored state that cannot be migrated, or has no place in the schema, is quoted to the server alone", async () => {
  const unfit = "its stored state does not fit the contract";
  const throwing = {
    version: 2,
    migrate: () => {
      throw new HeadwaterError("bad_value", `Cannot read ${SECRET}`);
    },
  };
  for (
    const rules of [
      { version: 2, migrate: (state: unknown) => state as Old },
      throwing,
    ]
  ) {
    await withOldState(rules, async (client, reported) => {
      client.send({ type: "sub", name: "Old" });
      const told = [(await client.next("err")).error];
      told.push(await write(client, 1, [mutator("Old", "add")]));
      client.send({
        type: "rpc",
        id: 2,
        name: "touch",
        oldest: 2,
        elapsedMs: 0,
      });
      told.push((await client.next("res")).error!); // checked below
      for (const { id, ...rest } of told) {
        assert.ok(id);
        assert.deepEqual(rest, {
          code: "store_unreadable",
          message: `Cannot use store "Old": ${unfit}`,
          outcome: "notApplied",
        });
      }
      await until(() => reported.length === 3);
      for (const message of reported) {
        assert.match(message, /^Cannot migrate store "Old".*hunter2/);
      }
      assert.ok(!JSON.stringify(client.frames).includes("hunter2"));
    });
  }
  await withOldState({}, async (client, reported) => {
    const told = [await write(client, 1, [mutator("Old", "add")])];
    client.send({ type: "rpc", id: 2, name: "touch", oldest: 2, elapsedMs: 0 });
    told.push((await client.next("res")).error!); // checked below
    for (const { id, ...rest } of told) {
      assert.ok(id);
      assert.deepEqual(rest, {
        code: "invalid",
        message: `Cannot write to store "Old": ${unfit}`,
        outcome: "notApplied",
      });
    }
    await until(() => reported.length === 2);
    assert.match(reported[0] ?? "", /Not a number: .*hunter2.* at \/code/);
    assert.ok(!JSON.stringify(client.frames).includes("hunter2"));
  });
});
