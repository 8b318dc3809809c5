import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { within } from "./_harness.ts";

async function start() {
  const server = createServer({
    kv: ":memory:",
    authenticate: (_, { token }) => token ?? null,
  });
  const rooms = server.createStore("Room:*", { n: 0 }, {
    read: ({ user }) => user === "ada",
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const url = `ws://127.0.0.1:${server.port}`;
  return { rooms, url, [Symbol.asyncDispose]: () => server.close() };
}

function ended(handle: { ended(): Promise<Error> }) {
  return within(handle.ended(), { describe: () => "the end of a handle" });
}

Deno.test("ended() tells why nothing comes any more, also of a handle with a state", async () => {
  await using server = await start();
  using client = createClient(server.url, { token: "ada" });
  const [deleted, left, destroyed] = ["1", "2", "3"].map((key) =>
    client.subscribe(`Room:${key}`)
  );
  assert.ok(deleted && left && destroyed);
  const others = client.subscribe("Room:1");
  const endings = [deleted, others, left, destroyed].map(ended);
  await Promise.all([deleted.ready(), left.ready(), destroyed.ready()]);
  await server.rooms.delete("1");
  left.unsubscribe();
  assert.equal((await endings[0] as { code?: string }).code, "store_deleted");
  assert.equal((await endings[1] as { code?: string }).code, "store_deleted");
  assert.match(
    (await endings[2])?.message ?? "",
    /"Room:2": the handle is unsubscribed/,
  );
  client.destroy();
  assert.equal((await endings[3])?.message, "Disconnected");
  assert.deepEqual(deleted.getState(), { n: 0 });
  // Asked for when it is known already.
  assert.equal(await ended(deleted), await endings[0]);
  assert.equal((await ended(left)).message, (await endings[2])?.message);
});

Deno.test("ended() tells of a store that may not be seen, and waits where it may", async () => {
  await using server = await start();
  using client = createClient(server.url, { token: "bob" });
  using other = createClient(server.url, { token: "ada" });
  const seen = other.subscribe("Room:1");
  let isOver = false;
  seen.ended().then(() => isOver = true);
  const error = await ended(client.subscribe("Room:1"));
  assert.equal((error as { code?: string }).code, "forbidden");
  await seen.ready();
  assert.equal(isOver, false);
});
