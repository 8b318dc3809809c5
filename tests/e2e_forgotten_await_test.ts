/**
 * What code that the server runs has begun, and does not wait for. A rejection that
 * nobody handles would end the process, and so the test.
 */
import assert from "node:assert/strict";
import { createServer } from "../server/mod.ts";
import { connectClient } from "./_app.ts";
import { until } from "./_harness.ts";

function start() {
  const server = createServer({ kv: ":memory:" });
  const list = server.createStore("List", { items: [] as string[] });
  const rooms = server.createStore("Room:*", { n: 0 });
  const failing = () =>
    list.update(() => {
      throw new Error("no such item");
    });
  const told: [string, string | undefined][] = [];
  server.on("error", ({ message }, clientId) => {
    told.push([message, clientId]);
  });
  return {
    server,
    list,
    rooms,
    failing,
    told,
    listen: async () => {
      await server.listen({ port: 0, host: "127.0.0.1" });
      return connectClient(server.port);
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const unheeded = (what: string, reason = "no such item") =>
  `What ${what} began and did not wait for failed: ${reason}`;

Deno.test("a write that a function did not wait for ends no process; the server is told of it", async () => {
  await using at = await start();
  const { server, failing, list, told } = at;
  const begun: Record<string, () => unknown> = {
    update: () => void failing(),
    then: () => void failing().then(() => "done"),
    "late in the call": async () => {
      failing();
      await list.update((draft) => void draft.items.push("in time"));
    },
    transaction: () =>
      void server.transaction((tx) => {
        tx(list).update(() => {
          throw new Error("no such item");
        });
      }),
    "after the call": () =>
      void queueMicrotask(() =>
        void list.init().then(() => setTimeout(() => void failing()))
      ),
  };
  for (const [name, run] of Object.entries(begun)) server.handle(name, run);
  server.handle("heeded", async () => {
    const late = failing();
    await list.init();
    await late.catch(() => {});
    await Promise.allSettled([failing(), failing()]);
    await assert.rejects(failing());
    setTimeout(async () => {
      await failing().catch(() => {});
      told.push(["heeded", undefined]);
    });
  });
  using client = await at.listen();
  for (const name of Object.keys(begun)) {
    await client.call(name);
    await until(() => told.length > 0);
    assert.deepEqual(told.splice(0), [
      [unheeded(`function "${name}"`), client.clientId],
    ]);
  }
  await client.call("heeded");
  await until(() => told.length > 0);
  assert.deepEqual(told, [["heeded", undefined]]);
  assert.equal(await client.call("update"), undefined);
});

Deno.test("so it is in hooks and listeners, and with what a deletion or creation is refused for", async () => {
  await using at = await start();
  const { server, rooms, failing, told } = at;
  rooms.onCreate(() => void failing())
    .onTerminate((key) => {
      if (key === "a") void failing();
      else throw new Error("not now");
    })
    .onIdle(() => void failing());
  server.on("subscribe", () => void failing());
  server.on("storeCreated", () => Promise.resolve(void failing()));
  using client = await at.listen();
  const next = async (...expected: string[]) => {
    await until(() => told.length >= expected.length);
    const messages = told.splice(0).map(([message]) => message);
    assert.deepEqual(messages.toSorted(), expected.toSorted());
  };
  const handle = client.subscribe("Room:a");
  await handle.ready();
  await next(
    unheeded('onCreate of store "Room:a"'),
    unheeded('a listener of "subscribe"'),
    // That, and the one of the list.
    unheeded('a listener of "storeCreated"'),
    unheeded('a listener of "storeCreated"'),
  );
  handle.unsubscribe();
  await next(unheeded('onIdle of store "Room:a"'));
  await rooms.delete("a");
  await next(unheeded('onTerminate of store "Room:a"'));
  server.handle("delete", () => {
    server.deleteStore("Room:b");
    rooms.delete("b");
    rooms.create("b", { initial: { n: () => 1 } as never });
  });
  await rooms.init("b");
  await until(() => told.length > 0);
  told.splice(0);
  await client.call("delete");
  await until(() => told.length >= 5);
  const messages = new Set(told.map(([message]) => message));
  const what = 'function "delete"';
  assert.ok(messages.has(unheeded(what, "not now")));
  assert.ok(
    [...messages].some((text) => /"delete" began .* function/.test(text)),
    [...messages].join("\n"),
  );
});

Deno.test("a write outside of all that is its author's: it rejects as any promise", async () => {
  await using at = await start();
  const late = at.failing();
  assert.equal(late.constructor, Promise);
  await assert.rejects(late, /no such item/);
});
