/**
 * What a client says that cannot connect, and how it goes on after a refusal. A real
 * server, real sockets.
 */
import assert from "node:assert/strict";
import {
  type ClientEvents,
  createClient,
  type HeadwaterError,
} from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { until, within as inTime } from "./_harness.ts";

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "an answer" });

/** A server that takes one token, which may change. */
async function start() {
  const tokens = { good: "1" };
  const shown: (string | undefined)[] = [];
  const server = createServer({
    kv: ":memory:",
    authenticate: (_, { token }) => {
      shown.push(token);
      return token === tokens.good ? { id: "ada" } : null;
    },
  });
  server.createStore("Note", { text: "" });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const url = `ws://127.0.0.1:${server.port}`;
  return {
    server,
    tokens,
    shown,
    url,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** A port where nobody listens. */
function deadUrl(): string {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  listener.close();
  return `ws://127.0.0.1:${port}/`;
}

Deno.test('Client.on("reconnecting") tells why: what the runtime said, or the server, or a token function', async () => {
  const causes: ClientEvents["reconnecting"]["cause"][] = [];
  const dead = createClient(deadUrl(), { reconnectDelayMs: 1 });
  dead.on("reconnecting", ({ cause }) => causes.push(cause));
  await until(() => causes.length > 0);
  dead.destroy();
  assert.equal(causes[0]?.code, 1006);
  assert.notEqual(causes[0]?.reason, "");

  await using test = await start();
  causes.length = 0;
  const client = createClient(test.url, {
    token: () => Promise.reject(new Error("the cookie is gone")),
    reconnectDelayMs: 1,
  });
  const errors: Error[] = [];
  client.on("error", (error) => errors.push(error));
  client.on("reconnecting", ({ cause }) => causes.push(cause));
  await until(() => causes.length > 0);
  client.destroy();
  assert.deepEqual(causes[0], { code: 1006, reason: "the cookie is gone" });
  assert.equal(errors[0]?.message, "the cookie is gone");
});

Deno.test("call() that times out without a connection says what is missing", async () => {
  const url = deadUrl();
  const unreached = createClient(url, { rpcTimeoutMs: 20 });
  await assert.rejects(within(unreached.call("f")), {
    code: "timeout",
    message: `RPC timeout: not connected to ${url}`,
    outcome: "notSent",
  });
  unreached.destroy();
  const idle = createClient(undefined, { rpcTimeoutMs: 20 });
  await assert.rejects(within(idle.call("f")), {
    code: "timeout",
    message: "RPC timeout: call connect(url) first",
    outcome: "notSent",
  });
  idle.destroy();
});

Deno.test("ClientOptions.token is asked once more where what it gave is refused; a second refusal in a row is final", async () => {
  await using test = await start();
  const given = ["old", "1", "old", "older", "never"];
  const client = createClient(test.url, {
    token: () => given.shift() ?? "",
    // The time of a test: were the second try to wait for it, the test would fail.
    reconnectDelayMs: 60_000,
    reconnectMaxMs: 60_000,
  });
  const errors: HeadwaterError[] = [];
  client.on("error", (error) => errors.push(error as HeadwaterError));
  await within(client.ready());
  assert.deepEqual(test.shown, ["old", "1"]);
  assert.equal(errors.length, 0);
  client.destroy();

  const refused = createClient(test.url, {
    token: () => given.shift() ?? "",
    reconnectDelayMs: 60_000,
    reconnectMaxMs: 60_000,
  });
  refused.on("error", (error) => errors.push(error as HeadwaterError));
  await assert.rejects(within(refused.ready()), { code: "closed" });
  assert.equal(refused.status, "closed");
  assert.deepEqual(test.shown, ["old", "1", "old", "older"]);
  assert.equal(errors.length, 1);
  refused.destroy();
});

Deno.test("ClientOptions.token that is no function is refused for good at once", async () => {
  await using test = await start();
  const client = createClient(test.url, { token: "wrong" });
  await assert.rejects(within(client.ready()), { code: "closed" });
  assert.deepEqual(test.shown, ["wrong"]);
  client.destroy();
});

Deno.test("setToken() connects a client again that was closed by a refusal, and resolves when it is taken", async () => {
  await using test = await start();
  const client = createClient(test.url, { token: "wrong" });
  const note = client.subscribe("Note");
  await assert.rejects(within(client.ready()), { code: "closed" });
  await assert.rejects(within(client.setToken("wrong, too")), {
    code: "closed",
  });
  await within(client.setToken("1"));
  assert.equal(client.status, "connected");
  await within(note.ready());
  client.destroy();
  // Not one that was ended otherwise.
  await within(client.setToken("1"));
  assert.equal(client.status, "closed");
});

Deno.test("ClientOptions.token that gives no text is an error, and asked again", async () => {
  await using test = await start();
  const given: unknown[] = [undefined, 5, "1"];
  const client = createClient(test.url, {
    token: () => given.shift() as string,
    reconnectDelayMs: 1,
  });
  const messages: string[] = [];
  client.on("error", ({ message }) => messages.push(message));
  await within(client.ready());
  assert.deepEqual(messages, [
    "Cannot connect: the token function gave undefined, not a string",
    "Cannot connect: the token function gave 5, not a string",
  ]);
  client.destroy();
});
