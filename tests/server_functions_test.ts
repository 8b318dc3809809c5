import assert from "node:assert/strict";
import { type ErrorBody, HeadwaterError } from "../protocol/errors.ts";
import type { CallContext, Server } from "../server/mod.ts";
import {
  callValue,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
} from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";
import { openServerBench } from "./_server_bench.ts";

const cycle: Record<string, unknown> = { name: "cycle" };
cycle["self"] = { deeper: cycle };

/** Results that cannot be shared, and where it is that they cannot. */
const BAD_RESULTS: [name: string, value: unknown, path: string | RegExp][] = [
  ["NaN", { a: [1, NaN] }, "/a/1"],
  ["Infinity", Infinity, ""],
  ["BigInt", { big: 1n }, "/big"],
  ["Date", { when: new Date(0) }, "/when"],
  ["Map", [new Map()], "/0"],
  ["bytes", { bytes: new Uint8Array(3) }, "/bytes"],
  ["function", { run: () => 1 }, "/run"],
  ["symbol", { what: Symbol("s") }, "/what"],
  ["cycle", cycle, /^\/self\/deeper/],
  ["undefined in an array", [1, undefined], "/1"],
  ["lone surrogate", { "a/b": "\ud800" }, "/a~1b"],
  ["__proto__", JSON.parse('{"x":{"__proto__":{"y":1}}}'), "/x/__proto__"],
  ["class instance", { it: new (class Thing {})() }, "/it"],
  ["getter that throws", {
    get broken(): never {
      throw new Error("Not now");
    },
  }, "/broken"],
];

for (const [name, value, path] of BAD_RESULTS) {
  Deno.test(`a function's result that cannot be shared is an error with its path: ${name}`, async () => {
    await using app = await startApp({
      define: (server) => server.handle("bad", () => value),
    });
    await using client = await RawClient.connect(app.port);
    await client.hello();
    const { error } = await rawCall(client, 1, { name: "bad" });
    assert.equal(error?.code, "bad_value", JSON.stringify(error));
    if (typeof path === "string") assert.equal(error?.path, path);
    else assert.match(error?.path ?? "", path);
    assert.match(error?.message ?? "", /result of function "bad"/);
    assert.equal(
      await callValue(client, 2, "echo", "the server goes on"),
      "the server goes on",
    );
  });
}

Deno.test("a function's error reaches its caller with message and code, never a stack", async () => {
  await using app = await startApp({
    define: (server) => {
      server.handle("plain", () => {
        throw new Error("No such thing");
      });
      server.handle(
        "rejects",
        () => Promise.reject(new TypeError("Not a thing")),
      );
      server.handle("coded", () => {
        throw new HeadwaterError("limit", "Full", {
          data: { seats: 3 },
          path: "/seats",
          outcome: "notApplied",
        });
      });
      server.handle("string", () => {
        // deno-lint-ignore no-throw-literal
        throw "thrown as it is";
      });
      server.handle("nothing", () => {
        // deno-lint-ignore no-throw-literal
        throw undefined;
      });
      server.handle("surrogate", () => {
        throw new Error("half of an emoji \ud83d");
      });
    },
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  const errors = [];
  for (
    const [index, name] of [
      "plain",
      "rejects",
      "coded",
      "string",
      "nothing",
      "absent",
    ].entries()
  ) {
    errors.push(withoutId((await rawCall(client, index + 1, { name })).error));
  }
  assert.deepEqual(errors, [
    { code: "function_failed", message: "No such thing" },
    { code: "function_failed", message: "Not a thing" },
    {
      code: "limit",
      message: "Full",
      path: "/seats",
      data: { seats: 3 },
      outcome: "notApplied",
    },
    { code: "function_failed", message: "thrown as it is" },
    { code: "function_failed", message: "undefined" },
    {
      code: "function_missing",
      message: 'No function is named "absent"',
      outcome: "notApplied",
    },
  ]);
  const { error } = await rawCall(client, 9, { name: "surrogate" });
  assert.equal(error?.message, "half of an emoji \ufffd");
});

/** An error without the id under which it was logged, which is another each time. */
function withoutId(error: ErrorBody | undefined): ErrorBody | undefined {
  if (!error) return undefined;
  const { id: _, ...rest } = error;
  return rest;
}

/** Things that are thrown and cannot be passed on as they are. */
const HOSTILE_ERRORS: [
  name: string,
  error: unknown,
  expected: ErrorBody,
][] = [
  ["half of an emoji", new Error("cut \ud83d"), {
    code: "function_failed",
    message: "cut \ufffd",
  }],
  ["no text", Object.create(null), {
    code: "function_failed",
    message: "What was thrown cannot be shown",
  }],
  ["a number as message", Object.assign(new Error(), { message: 5 }), {
    code: "function_failed",
    message: "5",
  }],
  ["a symbol", Symbol("s"), { code: "function_failed", message: "Symbol(s)" }],
  ["a long message", new Error("x".repeat(1e6)), {
    code: "function_failed",
    message: "x".repeat(4_096),
  }],
  [
    "data that is not JSON",
    // The type forbids it, callers in JavaScript do not know.
    new HeadwaterError("limit", "Full", {
      data: { when: new Date(0), big: 1n } as never,
      path: "/\udc00",
    }),
    { code: "limit", message: "Full", path: "/\ufffd" },
  ],
];

for (const [name, thrown, expected] of HOSTILE_ERRORS) {
  Deno.test(`an error that a recipe or a function throws harms nobody: ${name}`, async () => {
    await using kv = await tempKvPath();
    const define = (server: Server) => {
      const store = server.createStore("Fragile", { n: 0 });
      server.handle("throws", () => Promise.reject(thrown));
      server.handle("recipe", async () => {
        await store.update(() => {
          throw thrown;
        });
      });
      server.handle("once", () => Promise.reject(thrown), { once: true });
      server.handle(
        "add",
        async () => (await store.update((draft) => ++draft.n)).value,
      );
    };
    {
      await using app = await startApp({ kv: kv.path, define });
      await using client = await RawClient.connect(app.port);
      await client.hello();
      await rawSubscribe(client, "Fragile");
      for (const [index, call] of ["throws", "once", "recipe"].entries()) {
        const answer = await rawCall(client, index + 1, { name: call });
        const error = withoutId(answer.error);
        const isRefusal = call === "recipe";
        const code = isRefusal && expected.code === "function_failed"
          ? "refused"
          : expected.code;
        // A write that was refused is known not to have been made.
        const outcome = isRefusal ? { outcome: "notApplied" } : {};
        assert.deepEqual(error, { ...expected, code, ...outcome }, call);
      }
      assert.equal(await callValue(client, 4, "add"), 1);
    }
    // The refusal is in the log: it must be readable for ever.
    await using app = await startApp({ kv: kv.path, define });
    assert.deepEqual(await app.server.store("Fragile")?.get(), { n: 1 });
  });
}

Deno.test("a function knows who calls, and has ids and a time that are the same when it runs again", async () => {
  const contexts: CallContext[] = [];
  const seen: unknown[] = [];
  await using app = await startApp({
    define: (server) =>
      server.handle("look", (args, context) => {
        contexts.push(context);
        seen.push([
          args,
          context.id(),
          context.id(),
          context.now,
          context.callId,
        ]);
        // Too large to be kept, so that it runs again.
        return "x".repeat(70_000);
      }),
  });
  const before = Date.now();
  await using client = await RawClient.connect(app.port);
  const { clientId } = await client.hello();
  sendCall(client, 1, { name: "look", args: { a: 1 }, elapsedMs: 1_000 });
  await client.next("res");
  sendCall(client, 1, {
    name: "look",
    args: { a: 1 },
    elapsedMs: 1_000,
    resent: true,
  });
  await client.next("res");
  sendCall(client, 2, { name: "look", elapsedMs: 1e15 });
  await client.next("res");
  assert.deepEqual(seen[1], seen[0]);
  const [context, , ahead] = contexts;
  assert.equal(context?.clientId, clientId);
  assert.equal(context?.namespace, "default");
  assert.equal(context?.user, null);
  assert.equal(context?.signal.aborted, false);
  assert.ok(
    context!.now >= before + 1_000 && context!.now <= Date.now() + 1_000,
  );
  assert.ok(
    ahead!.now <= Date.now() + 5_000,
    "a client's clock may not run far ahead",
  );
  const [, first, second] = seen[0] as [unknown, string, string]; // as pushed above
  assert.notEqual(first, second);
  assert.notEqual((seen[2] as unknown[])[1], first); // as pushed above
});

Deno.test("a function may return nothing, null, or take no arguments", async () => {
  const received: unknown[] = [];
  await using app = await startApp({
    define: (server) => {
      server.handle("nothing", (args) => void received.push(args));
      server.handle("null", () => null);
      server.handle(
        "undefined property",
        () => ({ there: 1, absent: undefined, zero: -0 }),
      );
    },
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  const nothing = await rawCall(client, 1, { name: "nothing" });
  assert.deepEqual(nothing, { type: "res", id: 1 });
  assert.deepEqual(received, [undefined]);
  assert.equal(await callValue(client, 2, "null"), null);
  assert.deepEqual(await callValue(client, 3, "undefined property"), {
    there: 1,
    zero: 0,
  });
});

Deno.test("a function that runs longer than its connection ends in peace, and its answer is kept", async () => {
  const gate = Promise.withResolvers<void>();
  const running = Promise.withResolvers<void>();
  let runs = 0;
  await using bench = await openServerBench({
    define: (server) =>
      server.handle("long", async () => {
        runs++;
        running.resolve();
        await gate.promise;
        return "late";
      }),
  });
  const lost = bench.connect();
  const { session } = await lost.hello();
  lost.deliver({ type: "rpc", id: 1, oldest: 1, elapsedMs: 0, name: "long" });
  await running.promise;
  lost.hangUp();
  // It comes back while the call still runs, and asks again.
  const back = bench.connect();
  await back.hello({ session });
  back.deliver({
    type: "rpc",
    id: 1,
    oldest: 1,
    elapsedMs: 0,
    name: "long",
    resent: true,
  });
  gate.resolve();
  assert.equal((await back.next("res")).value, "late");
  assert.equal(runs, 1);
  assert.deepEqual(lost.frames.map(({ type }) => type), ["welcome"]);
});

Deno.test("a write of a function is numbered by its call through awaits, timers and Promise.all", async () => {
  let runs = 0;
  await using app = await startApp({
    define: (server) => {
      const numbers = server.createStore("Numbers", { n: 0 });
      server.handle("many", async () => {
        runs++;
        await new Promise((resolve) => setTimeout(resolve, 1));
        const add = () => numbers.update((draft) => ++draft.n);
        const both = await Promise.all([add(), Promise.resolve().then(add)]);
        const third = await add();
        // Too large to be kept, so that it runs again.
        return {
          values: [...both, third].map(({ value }) => value),
          filler: "x".repeat(70_000),
        };
      });
    },
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  await rawSubscribe(client, "Numbers");
  const first = await callValue(client, 1, "many");
  assert.deepEqual((first as { values: number[] }).values, [1, 2, 3]); // as returned above
  const again = await rawCall(client, 1, { name: "many", resent: true });
  assert.deepEqual(again.value, first);
  assert.equal(runs, 2);
  assert.deepEqual(app.server.store("Numbers")?.peek(), { n: 3 });
});

Deno.test("handle() with once refuses an answer that is too large to be kept", async () => {
  await using app = await startApp({
    define: (server) =>
      server.handle("large", () => "x".repeat(70_000), { once: true }),
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  const { error } = await rawCall(client, 1, { name: "large" });
  assert.equal(error?.code, "limit");
});

Deno.test("handle() with once keeps an error as well: it is not tried again", async () => {
  let runs = 0;
  using kv = await Deno.openKv(":memory:");
  const define = (
    server: {
      handle: Awaited<ReturnType<typeof startApp>>["server"]["handle"];
    },
  ) =>
    server.handle("fails", () => {
      runs++;
      throw new Error(`Run ${runs}`);
    }, { once: true });
  let session: string;
  {
    await using app = await startApp({ kv, define });
    await using client = await RawClient.connect(app.port);
    ({ session } = await client.hello());
    assert.equal(
      (await rawCall(client, 1, { name: "fails" })).error?.message,
      "Run 1",
    );
  }
  await using app = await startApp({ kv, define });
  await using client = await RawClient.connect(app.port);
  await client.hello({ session });
  const { error } = await rawCall(client, 1, { name: "fails", resent: true });
  assert.deepEqual(withoutId(error), {
    code: "function_failed",
    message: "Run 1",
  });
});

Deno.test("handle() refuses a name twice, and names that are none", async () => {
  await using bench = await openServerBench();
  assert.throws(
    () => bench.server.handle("echo", () => 1),
    /TypeError.*"echo".*already/,
  );
  for (const name of ["", "\ud800", "x".repeat(201)]) {
    assert.throws(() => bench.server.handle(name, () => 1), HeadwaterError);
  }
});

Deno.test("a call in a session that has expired is not run, and its outcome is told", async () => {
  let runs = 0;
  await using app = await startApp({
    limits: { sessionMs: 60 },
    define: (server) => server.handle("count", () => ++runs),
  });
  await using client = await RawClient.connect(app.port);
  await client.hello();
  assert.equal(await callValue(client, 1, "count"), 1);
  let id = 2;
  const refused = await until(async () => {
    const { error } = await rawCall(client, id++, { name: "count" });
    return error;
  });
  assert.deepEqual([refused.code, refused.outcome], ["unknown", "notApplied"]);
  const ran = runs;
  const again = await rawCall(client, 1, { name: "count", resent: true });
  assert.deepEqual([again.error?.code, again.error?.outcome], [
    "unknown",
    "unknown",
  ]);
  assert.equal(runs, ran);
  // A fresh session on the same connection takes calls again.
  await client.hello();
  assert.equal(await callValue(client, 1, "count"), ran + 1);
});
