/** Codes of errors that are words between server and client, thrown by an application. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import {
  createServer,
  defineApp,
  type ErrorCode,
  HeadwaterError,
} from "../server/mod.ts";
import { until, within } from "./_harness.ts";

const RESERVED: readonly ErrorCode[] = [
  "aborted",
  "bad_frame",
  "disconnected",
  "function_missing",
  "rebase",
  "timeout",
];
const OWN: readonly ErrorCode[] = [
  "refused",
  "forbidden",
  "invalid",
  "limit",
  "conflict",
  "bad_value",
  "unavailable",
];

/** A contract whose mutator does what it is given. */
function contract(touch: () => void) {
  return defineApp({
    stores: { Counter: { initial: { n: 0 } } },
    mutators: {
      touch: {
        store: "Counter",
        run: (draft) => {
          touch();
          draft.n++;
        },
      },
    },
  });
}

/** A server all of whose code throws an error of one code. */
async function start(code: ErrorCode) {
  let runs = 0;
  const fail = () => {
    // A loop is to end in a failure, and not to go on.
    if (++runs > 20) throw new Error("It was run again and again");
    throw new HeadwaterError(code, "Not today", { data: { code } });
  };
  const server = createServer({ kv: ":memory:", app: contract(fail) });
  const counter = server.createStore("Counter", {
    write: true,
    intercept: (updates, { clientId }) => {
      if (clientId !== undefined && updates.n === 100) fail();
      return updates;
    },
  });
  const errors: Error[] = [];
  server.on("error", (error) => void errors.push(error));
  server.handle("fail", fail);
  server.handle("recipe", () => counter.update(fail));
  await server.listen({ port: 0, host: "127.0.0.1" });
  const client = createClient(`ws://127.0.0.1:${server.port}`, {
    app: contract(() => {}),
  });
  const store = client.subscribe("Counter");
  await store.ready();
  return {
    errors,
    failures: [
      () => client.call("fail"),
      () => client.call("recipe"),
      () => client.mutate("touch", undefined),
      () => store.update((draft) => void (draft.n = 100)),
    ],
    runs: () => runs,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await server.close();
    },
  };
}

async function codeOf(failing: Promise<unknown>): Promise<[string, string]> {
  const settled = failing.then(
    () => assert.fail("it did not fail"),
    (error) => error,
  );
  const error = await within(settled, { describe: () => "the failure" });
  assert.ok(error instanceof HeadwaterError, String(error));
  return [error.code, error.message];
}

for (const code of RESERVED) {
  Deno.test(`HeadwaterError "${code}" of an application is an ordinary failure to the caller`, async () => {
    await using app = await start(code);
    const told = [];
    for (const failing of app.failures) told.push(await codeOf(failing()));
    assert.deepEqual(told, [
      ["function_failed", "Not today"],
      ["refused", "Not today"],
      ["refused", "Not today"],
      ["refused", "Not today"],
    ]);
    assert.equal(app.runs(), 4);
    // The author of the function is told, as of any error.
    await until(() =>
      app.errors.some(({ message }) => message === "Not today")
    );
  });
}

for (const code of OWN) {
  Deno.test(`HeadwaterError "${code}" of an application reaches the caller as it is`, async () => {
    await using app = await start(code);
    for (const failing of app.failures) {
      assert.deepEqual(await codeOf(failing()), [code, "Not today"]);
    }
  });
}
