/** Clients that leave at awkward moments, and writes whose answers are lost. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { startProxy, until, within as inTime } from "./_harness.ts";

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "it" });

Deno.test({
  name:
    "server.close() ends, whatever moment of the handshake clients have left at",
  // Deno's own upgrade of a peer that has left never ends, and may keep its socket.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    // Of 1,200 such clients with the server in another process neither has seen it: a
    // socket of Deno whose other end is in the same process, and reset, may reject so.
    using _ = ignoringResets();
    for (let round = 0; round < 10; round++) {
      const server = createServer({ kv: ":memory:" });
      await server.listen({ port: 0, host: "127.0.0.1" });
      const proxy = await startProxy(server.port);
      for (let ticks = 0; ticks < 3; ticks++) {
        const client = createClient(`ws://127.0.0.1:${proxy.port}`);
        for (let tick = 0; tick < ticks; tick++) {
          await new Promise((resolve) => setTimeout(resolve));
        }
        client.destroy();
      }
      await proxy[Symbol.asyncDispose]();
      await within(server.close());
    }
  },
});

/** Passes over a rejection that nobody can handle, until it is disposed of. */
function ignoringResets(): Disposable {
  const onRejection = (event: PromiseRejectionEvent) => {
    if (/^TypeError: Connection reset/.test(event.reason)) {
      event.preventDefault();
    }
  };
  addEventListener("unhandledrejection", onRejection);
  return {
    [Symbol.dispose]: () =>
      removeEventListener("unhandledrejection", onRejection),
  };
}

/** A client and a store, with a proxy between them. */
async function startPair() {
  const server = createServer({ kv: ":memory:" });
  const counter = server.createStore("Counter", { n: 0, note: "" }, {
    write: true,
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const client = createClient(`ws://127.0.0.1:${proxy.port}`, {
    reconnectDelayMs: 20,
  });
  const handle = client.subscribe<{ n: number; note: string }>("Counter");
  await within(handle.ready());
  return {
    counter,
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

Deno.test("a write whose answer was lost is asked for again, though the resumed state shows it already", async () => {
  await using pair = await startPair();
  const { handle, counter, proxy, client } = pair;
  proxy.stall();
  const write = () => handle.update((draft) => void draft.n++);
  const both = [write(), write()];
  await until(async () => (await counter.get()).n === 2);
  proxy.cut();
  proxy.resume();
  assert.deepEqual(await within(Promise.all(both)), [
    { version: 2 },
    { version: 3 },
  ]);
  assert.equal(client.status, "connected");
  assert.equal(handle.getState()?.n, 2);
});

Deno.test("expectVersion is refused where others have written while the client was offline", async () => {
  await using pair = await startPair();
  const { handle, counter, proxy, client } = pair;
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status !== "connected");
  const own = handle.update((draft) => void draft.n++);
  const exact = handle.update((draft) => void (draft.note = "mine"), {
    policy: "expectVersion",
  });
  await counter.update((draft) => void (draft.n += 10));
  proxy.refuse(false);
  await within(own);
  await assert.rejects(within(exact), { code: "conflict" });
  assert.deepEqual(await counter.get(), { n: 11, note: "" });
  assert.deepEqual(handle.getState(), { n: 11, note: "" });
});

Deno.test("expectVersion is taken behind own writes, as long as nobody else has written", async () => {
  await using pair = await startPair();
  const { handle, counter, proxy, client } = pair;
  proxy.refuse(true);
  proxy.cut();
  await until(() => client.status !== "connected");
  const own = [1, 2].map(() => handle.update((draft) => void draft.n++));
  const exact = handle.update((draft) => void (draft.note = "mine"), {
    policy: "expectVersion",
  });
  proxy.refuse(false);
  await within(Promise.all([...own, exact]));
  assert.deepEqual(await counter.get(), { n: 2, note: "mine" });
});
