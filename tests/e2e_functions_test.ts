/** Functions over real sockets: what a handler knows, when it is stopped, and what its failures tell. */
import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { HeadwaterError } from "../protocol/errors.ts";
import type { CallContext, Server, ServerOptions } from "../server/mod.ts";
import {
  callValue,
  connectClient,
  type Entries,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
} from "./_app.ts";
import { type DownFrameOf, RawClient, tempKvPath, until } from "./_harness.ts";

/** Rejects when the signal fires. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fire = () => reject(signal.reason);
    if (signal.aborted) fire();
    else signal.addEventListener("abort", fire);
  });
}

/** A function that hangs until it is stopped, and what became of its runs. */
function hanging(server: Server, name = "hang") {
  const runs: { context: CallContext; reason?: unknown }[] = [];
  server.handle(name, async (_: unknown, context) => {
    const run: typeof runs[number] = { context };
    runs.push(run);
    try {
      await aborted(context.signal);
    } catch (error) {
      run.reason = error;
      throw error;
    }
  });
  return runs;
}

Deno.test("a function knows its connection's address, and no user where nobody has said who it is", async () => {
  const contexts: CallContext[] = [];
  await using app = await startApp({
    define: (server) =>
      server.handle(
        "who",
        (_: unknown, context) => void contexts.push(context),
      ),
  });
  await using client = await RawClient.connect(app.port);
  const { clientId } = await client.hello();
  await rawCall(client, 1, { name: "who" });
  const [context] = contexts;
  assert.ok(context);
  assert.equal(context.connection.address, "127.0.0.1");
  assert.equal(context.user, null);
  assert.equal(context.clientId, clientId);
  assert.equal(context.namespace, "default");
  assert.equal(context.signal.aborted, false);
});

Deno.test("a call's signal fires when its time is over at the client, and when the caller's own signal does", async () => {
  let runs: ReturnType<typeof hanging> = [];
  await using app = await startApp({
    define: (server) => runs = hanging(server),
  });
  using client = connectClient(app.port, { rpcTimeoutMs: 100 });
  await client.ready();
  await assert.rejects(client.call("hang"), { message: "RPC timeout" });
  await until(() => runs[0]?.reason !== undefined);
  const stop = new AbortController();
  const call = client.call("hang", null, { signal: stop.signal });
  await until(() => runs.length === 2);
  assert.equal(runs[1]?.reason, undefined);
  stop.abort(new Error("Not needed"));
  await assert.rejects(call, { message: "Not needed" });
  await until(() => runs[1]?.reason !== undefined);
  for (const { reason } of runs) {
    assert.ok(reason instanceof HeadwaterError);
    assert.equal(reason.code, "aborted");
  }
  // What was cancelled is over: the connection goes on, and its calls are free.
  assert.equal(await client.call("echo", "still there"), "still there");
});

Deno.test("a call's signal fires for its own call alone", async () => {
  let runs: ReturnType<typeof hanging> = [];
  await using app = await startApp({
    define: (server) => runs = hanging(server),
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  for (const id of [1, 2, 3]) sendCall(client, id, { name: "hang", oldest: 1 });
  await until(() => runs.length === 3);
  client.send({ type: "cancel", id: 2 }, { type: "cancel", id: 77 });
  const { id, error } = await client.next("res");
  assert.deepEqual([id, error?.code], [2, "aborted"]);
  assert.deepEqual(
    runs.map(({ reason }) => reason !== undefined),
    [false, true, false],
  );
});

Deno.test("a call's signal fires when the connection is gone, and when the server closes", async () => {
  let runs: ReturnType<typeof hanging> = [];
  const app = await startApp({ define: (server) => runs = hanging(server) });
  await using staying = await RawClient.connect(app.port);
  {
    await using leaving = await RawClient.connect(app.port);
    for (const client of [leaving, staying]) {
      await client.hello();
      sendCall(client, 1, { name: "hang" });
      await until(() => runs.length === (client === leaving ? 1 : 2));
    }
  }
  await until(() => runs[0]?.reason !== undefined);
  assert.equal(runs[1]?.reason, undefined);
  await app.server.close();
  await until(() => runs[1]?.reason !== undefined);
});

Deno.test("a call that waits behind as many as may run is cancelled ahead of its turn, and those before it", async () => {
  let runs: ReturnType<typeof hanging> = [];
  await using app = await startApp({
    limits: { callsPerConnection: 4 },
    define: (server) => runs = hanging(server),
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  for (let id = 1; id <= 8; id++) {
    sendCall(client, id, { name: "hang", oldest: 1 });
  }
  await until(() => runs.length === 4);
  // The inbox stands still: without going ahead these would never be seen.
  client.send({ type: "cancel", id: 6 }, { type: "cancel", id: 2 });
  const { id, error } = await client.next("res");
  assert.deepEqual([id, error?.code], [2, "aborted"]);
  await until(() => runs.length === 5);
  for (const id of [1, 3, 4, 5, 7, 8]) client.send({ type: "cancel", id });
  await until(() =>
    client.frames.filter(({ type }) => type === "res").length === 8
  );
  // The sixth never ran.
  const ran = runs.map(({ context }) => context.callId.split(".").at(-1));
  assert.equal(ran.includes("6"), false);
  assert.equal(await callValue(client, 9, "echo", "free again"), "free again");
});

Deno.test("no more calls of one connection run at once than the limit says, and others are not held up", async () => {
  let running = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  await using app = await startApp({
    limits: { callsPerConnection: 3 },
    define: (server) =>
      server.handle("count", async () => {
        most = Math.max(most, ++running);
        await gate.promise;
        running--;
      }),
  });
  await using busy = await RawClient.connect(app.port);
  await busy.hello();
  await using other = await RawClient.connect(app.port);
  await other.hello();
  for (let id = 1; id <= 20; id++) {
    sendCall(busy, id, { name: "count", oldest: 1 });
  }
  await until(() => running === 3);
  assert.equal(await callValue(other, 1, "echo", "not held up"), "not held up");
  gate.resolve();
  await until(() =>
    busy.frames.filter(({ type }) => type === "res").length === 20
  );
  assert.equal(most, 3);
});

Deno.test("calls of a client do not wait for the answers of those before them", async () => {
  const count = 200;
  let running = 0;
  const gate = Promise.withResolvers<void>();
  await using app = await startApp({
    limits: { callsPerConnection: count },
    define: (server) =>
      server.handle("gather", async () => {
        if (++running === count) gate.resolve();
        await gate.promise;
      }),
  });
  using client = connectClient(app.port, { rpcTimeoutMs: 3_000 });
  await client.ready();
  await Promise.all(Array.from({ length: count }, () => client.call("gather")));
});

/** A function that writes, hangs in its first run until it is stopped, and then fails. */
function defineSlow(server: Server, { once = false } = {}) {
  const runs: string[] = [];
  server.handle("slow", async (label: string, { signal, id }) => {
    const isFirst = runs.push(label) === 1;
    const entries = server.store<Entries>("Entries");
    const { value } = await entries!.update((draft) => { // it is defined
      draft.items.push(label);
      return draft.items.length;
    });
    if (isFirst) {
      // Not at once: who comes back meanwhile finds it still running.
      await aborted(signal).catch(() => {});
      await gate.promise;
      throw new Error("Stopped");
    }
    return [value, id()];
  }, { once });
  const gate = Promise.withResolvers<void>();
  return { runs, gate };
}

for (const once of [false, true]) {
  for (const comesBack of ["before", "after"] as const) {
    const what = once ? "of a function with `once` " : "";
    Deno.test(`a call ${what}that was stopped with its connection runs again and writes once, sent again ${comesBack} that`, async () => {
      let slow: ReturnType<typeof defineSlow> | undefined;
      await using app = await startApp({
        define: (server) => slow = defineSlow(server, { once }),
      });
      const { runs, gate } = slow!; // startApp() has called define
      await using first = await RawClient.connect(app.port);
      const { session } = await first.hello();
      await rawSubscribe(first, "Entries");
      sendCall(first, 1, { name: "slow", args: "a" });
      await first.next("patch");
      first.close();
      await first.closed;
      await until(async () => (await app.server.health())["connections"] === 0);
      if (comesBack === "after") gate.resolve();
      await using again = await RawClient.connect(app.port);
      await again.hello({ session });
      sendCall(again, 1, { name: "slow", args: "a", resent: true });
      if (comesBack === "before") {
        assert.equal(await callValue(again, 2, "echo", "x"), "x");
        assert.equal(runs.length, 1);
        gate.resolve();
      }
      const { value, error } = await until(() =>
        again.frames.find((frame): frame is DownFrameOf<"res"> =>
          frame.type === "res" && frame.id === 1
        )
      );
      assert.equal(error, undefined);
      assert.equal(runs.length, 2);
      assert.equal((value as [number, string])[0], 1);
      assert.deepEqual((await app.entries.get()).items, ["a"]);
    });
  }
}

Deno.test("a run that was stopped but has an answer has it for the call that is sent again", async () => {
  let runs = 0;
  await using app = await startApp({
    define: (server) =>
      server.handle("stubborn", async (_: unknown, { signal }) => {
        runs++;
        await aborted(signal).catch(() => {});
        return "done all the same";
      }),
  });
  await using first = await RawClient.connect(app.port);
  const { session } = await first.hello();
  sendCall(first, 1, { name: "stubborn" });
  await until(() => runs === 1);
  first.close();
  await first.closed;
  await using again = await RawClient.connect(app.port);
  await again.hello({ session });
  const { value } = await rawCall(again, 1, { name: "stubborn", resent: true });
  assert.equal(value, "done all the same");
  assert.equal(runs, 1);
});

/** Runs `test` with all log records of the server. */
async function withLog(
  options: ServerOptions & { define: (server: Server) => void },
  test: (
    parts: { client: RawClient; server: Server; records: LogRecord[] },
  ) => Promise<void>,
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
    await using app = await startApp(options);
    await using client = await RawClient.connect(app.port);
    await client.hello();
    await test({ client, server: app.server, records });
  } finally {
    await reset();
  }
}

const SECRET = "the password of the database is hunter2";

/** Functions that fail, each in another way. */
function defineFailing(server: Server): void {
  const store = server.createStore("Fragile", { n: 0 });
  server.handle("plain", () => {
    throw new Error(SECRET, { cause: new Error("deeper") });
  });
  server.handle("coded", () => {
    throw new HeadwaterError("limit", "3 of 3 seats are taken", {
      data: { seats: 3 },
      path: "/seats",
      cause: new Error(SECRET),
    });
  });
  server.handle("recipe", async () => {
    await store.update(() => {
      throw new Error(SECRET);
    });
  });
  server.handle("coded recipe", async () => {
    await store.update(() => {
      throw new HeadwaterError("refused", "It is not your turn");
    });
  });
  server.handle("result", () => ({ when: new Date(0) }));
}

Deno.test("a failure is in the log as a whole under the id that the caller gets", async () => {
  await withLog(
    { define: defineFailing },
    async ({ client, server, records }) => {
      const reported: [string, string | undefined][] = [];
      server.on("error", ({ message }, clientId) => {
        reported.push([message, clientId]);
      });
      const ids = new Set<string>();
      for (
        const [index, name] of ["plain", "plain", "coded", "recipe"].entries()
      ) {
        const { error } = await rawCall(client, index + 1, { name });
        assert.ok(error?.id, name);
        ids.add(error.id);
        const [record, ...others] = records.filter(({ properties }) =>
          properties["id"] === error.id
        );
        assert.ok(record && others.length === 0, name);
        assert.equal(record.level, "warning");
        const { error: logged, clientId } = record.properties;
        assert.ok(logged instanceof Error);
        assert.match(logged.stack ?? "", /e2e_functions_test|commit_queue/);
        assert.equal(typeof clientId, "string");
        assert.ok(record.message.join("").includes(error.id));
      }
      assert.equal(ids.size, 4);
      const { error } = await rawCall(client, 5, { name: "coded" });
      const { id, ...rest } = error ?? {};
      assert.ok(id);
      assert.deepEqual(rest, {
        code: "limit",
        message: "3 of 3 seats are taken",
        path: "/seats",
        data: { seats: 3 },
      });
      // Those that were written for a client are no news to the application.
      await until(() => reported.length === 3);
      const messages = reported.map(([message]) => message);
      assert.deepEqual(messages, [SECRET, SECRET, SECRET]);
      assert.ok(reported.every(([, clientId]) => clientId !== undefined));
    },
  );
});

Deno.test("no answer has a stack in it, nor the cause of an error", async () => {
  await withLog({ define: defineFailing }, async ({ client }) => {
    const names = ["plain", "coded", "recipe", "result", "missing"];
    for (const [index, name] of names.entries()) {
      const { error } = await rawCall(client, index + 1, { name });
      const text = JSON.stringify(error);
      assert.doesNotMatch(text, /\bat .*:\d+|\.ts\b|file:|deeper/, name);
      if (name === "coded") assert.equal(text.includes(SECRET), false);
    }
  });
});

Deno.test("maskErrors replaces the message of every error that was not written for clients", async () => {
  await using kv = await tempKvPath();
  const options = { kv: kv.path, maskErrors: true, define: defineFailing };
  await withLog(options, async ({ client, records }) => {
    const told = async (id: number, name: string, resent = false) => {
      const { error } = await rawCall(client, id, { name, resent });
      assert.ok(error, name);
      const { id: logged, ...rest } = error;
      if (name !== "missing") {
        assert.ok(
          records.some(({ properties }) => properties["id"] === logged),
        );
      }
      return rest;
    };
    assert.deepEqual(await told(1, "plain"), {
      code: "function_failed",
      message: 'Function "plain" failed',
    });
    assert.deepEqual(await told(2, "recipe"), {
      code: "refused",
      message: 'Function "recipe" failed',
      outcome: "notApplied",
    });
    assert.deepEqual(await told(3, "coded"), {
      code: "limit",
      message: "3 of 3 seats are taken",
      path: "/seats",
      data: { seats: 3 },
    });
    assert.deepEqual(await told(4, "coded recipe"), {
      code: "refused",
      message: "It is not your turn",
      outcome: "notApplied",
    });
    assert.equal((await told(5, "result")).code, "bad_value");
    assert.equal((await told(6, "missing")).code, "function_missing");
    const shown = JSON.stringify(client.frames);
    assert.equal(shown.includes("hunter2"), false);
    // The log has it.
    assert.ok(
      records.some(({ properties: { error } }) =>
        error instanceof Error && error.message === SECRET
      ),
    );
  });
});

Deno.test("maskErrors masks what a recipe threw in a run before, too", async () => {
  await using kv = await tempKvPath();
  const options = { kv: kv.path, maskErrors: true, define: defineFailing };
  await using a = await startApp(options);
  await using b = await startApp(options);
  await using first = await RawClient.connect(a.port);
  const { session } = await first.hello();
  await rawCall(first, 1, { name: "recipe" });
  await using again = await RawClient.connect(b.port);
  await again.hello({ session });
  const { error } = await rawCall(again, 1, { name: "recipe", resent: true });
  assert.equal(error?.code, "refused");
  assert.equal(error.message, 'Function "recipe" failed');
});

Deno.test("maskErrors masks what a hook threw, for who subscribes and for who calls", async () => {
  const define = (server: Server) => {
    const broken = server.createStore("Broken", { n: 0 }).onCreate(() => {
      throw new Error(SECRET);
    });
    server.handle("use", () => broken.update((draft) => void draft.n++));
  };
  for (const maskErrors of [false, true]) {
    await withLog({ maskErrors, define }, async ({ client, records }) => {
      client.send({ type: "sub", name: "Broken" });
      const { error } = await client.next("err");
      const expected = maskErrors
        ? 'The subscription to "Broken" failed'
        : SECRET;
      assert.deepEqual([error.code, error.message], ["unavailable", expected]);
      const record = records.find(({ properties }) =>
        properties["id"] === error.id
      );
      const { error: logged } = record?.properties ?? {};
      assert.ok(logged instanceof Error && logged.message === SECRET);
      await rawCall(client, 1, { name: "use" });
      const shown = JSON.stringify(client.frames);
      assert.equal(shown.includes("hunter2"), !maskErrors);
    });
  }
});
