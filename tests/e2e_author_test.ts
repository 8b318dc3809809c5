/**
 * Whose a write is: what is queued as one user is not committed as another. A real
 * server, real sockets, a proxy that fails.
 */
import assert from "node:assert/strict";
import {
  type ClientOptions,
  createClient,
  defineApp,
  type HeadwaterError,
} from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { startProxy, until, within as inTime } from "./_harness.ts";
import { MemoryDisk } from "./_memory_storage.ts";

interface Note {
  lines: { by: string; text: string }[];
}

const app = defineApp({
  stores: { Note: { initial: { lines: [] } as Note } },
  mutators: {
    sign: {
      store: "Note",
      run: (draft: Note, text: string, { user }) => {
        const { id } = user as { id: string };
        draft.lines.push({ by: id, text });
      },
    },
  },
});

const USERS: Readonly<Record<string, { id: string }>> = {
  a: { id: "ada" },
  "a again": { id: "ada" },
  b: { id: "bob" },
};

const line = (text: string) => (draft: Note) =>
  void draft.lines.push({ by: "", text });
const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "an answer" });

/** A server that puts the writer's id into each line, behind a proxy. */
async function start() {
  const server = createServer({
    app,
    kv: ":memory:",
    authenticate: (_, { token = "" }) => USERS[token],
  });
  const note = server.createStore("Note", { write: true });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const proxy = await startProxy(server.port);
  const ends: (() => void)[] = [];
  return {
    note,
    proxy,
    open: (token: string, options: ClientOptions<typeof app> = {}) => {
      const client = createClient<typeof app>(`ws://127.0.0.1:${proxy.port}`, {
        app,
        token,
        reconnectDelayMs: 20,
        reconnectMaxMs: 40,
        ...options,
      });
      const errors: HeadwaterError[] = [];
      client.on("error", (error) => errors.push(error as HeadwaterError));
      const handle = client.subscribe("Note");
      ends.push(() => client.destroy());
      return { client, handle, errors };
    },
    goOffline: async (client: { readonly status: string }) => {
      proxy.refuse(true);
      proxy.cut();
      await until(() => client.status === "reconnecting");
    },
    [Symbol.asyncDispose]: async () => {
      for (const end of ends) end();
      await proxy[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

const AS_ANOTHER = 'Cannot write to store "Note": it was made as another user';

Deno.test("setToken() of another user refuses what was written offline as the one before, and takes it back", async () => {
  await using test = await start();
  const { client, handle, errors } = test.open("a");
  await within(handle.ready());
  await test.goOffline(client);
  const written = handle.update(line("ada's"));
  const batched = client.batch(() => void handle.update(line("hers, too")));
  assert.equal(handle.getState()?.lines.length, 2);
  const taken = client.setToken("b");
  test.proxy.refuse(false);
  const refusal = {
    code: "forbidden",
    message: AS_ANOTHER,
    outcome: "notSent",
  };
  await assert.rejects(within(written), refusal);
  await assert.rejects(within(batched), refusal);
  await within(taken);
  assert.deepEqual(handle.getState(), { lines: [] });
  assert.deepEqual(errors.map(({ message }) => message), [
    AS_ANOTHER,
    AS_ANOTHER,
  ]);
  // What bob writes from now on is his.
  await within(handle.update(line("bob's")));
  assert.deepEqual(await test.note.get(), {
    lines: [{ by: "", text: "bob's" }],
  });
});

Deno.test("setToken() of another user leaves it open what became of a write that was sent", async () => {
  await using test = await start();
  const { client, handle } = test.open("a");
  await within(handle.ready());
  test.proxy.stall();
  const written = handle.update(line("sent"));
  await until(async () => (await test.note.get()).lines.length === 1);
  await test.goOffline(client);
  test.proxy.resume();
  client.setToken("b").catch(() => {});
  test.proxy.refuse(false);
  await assert.rejects(within(written), {
    code: "forbidden",
    message: AS_ANOTHER,
    outcome: "unknown",
  });
  await until(() => handle.getServerState()?.lines.length === 1);
  assert.equal(handle.getState()?.lines.length, 1);
});

Deno.test("setToken() of the same user sends what was written offline", async () => {
  await using test = await start();
  const { client, handle, errors } = test.open("a");
  await within(handle.ready());
  await test.goOffline(client);
  const written = client.mutate("sign", "still ada's");
  const taken = client.setToken("a again");
  test.proxy.refuse(false);
  await within(written);
  await within(taken);
  assert.deepEqual(errors, []);
  assert.deepEqual((await test.note.get()).lines, [
    { by: "ada", text: "still ada's" },
  ]);
});

Deno.test("mutate() before the first welcome goes with whoever comes first", async () => {
  await using test = await start();
  test.proxy.refuse(true);
  const { client, errors } = test.open("a");
  const written = client.mutate("sign", "early");
  client.setToken("b").catch(() => {});
  test.proxy.refuse(false);
  await within(written);
  assert.deepEqual(errors, []);
  assert.deepEqual((await test.note.get()).lines, [{
    by: "bob",
    text: "early",
  }]);
});

Deno.test("ClientOptions.storage of another user is dropped, with one error", async () => {
  await using test = await start();
  const disk = new MemoryDisk();
  const first = test.open("a", { storage: disk.openPage() });
  await within(first.handle.ready());
  await test.goOffline(first.client);
  first.handle.update(line("kept"));
  first.client.mutate("sign", "kept, too");
  first.client.destroy();
  await until(() => disk.records.has("state:Note") && disk.records.size === 5, {
    describe: () => [...disk.records.keys()].join(),
  });
  const second = test.open("b", { storage: disk.openPage() });
  await until(() => second.handle.getState()?.lines.length === 2);
  test.proxy.refuse(false);
  await within(second.client.ready());
  await until(() =>
    second.client.unackedCount === 0 &&
    second.handle.getState()?.lines.length === 0
  );
  assert.deepEqual(second.errors.map(({ message }) => message), [
    "Cannot use what was kept over a reload: it is another user's, and is dropped (writes: 2, states: 1)",
  ]);
  await until(() =>
    ![...disk.records.keys()].some((key) => key.startsWith("write:"))
  );
  await until(() => disk.records.get("user")?.includes("bob"));
  assert.deepEqual(await test.note.get(), { lines: [] });
  // Nothing of it comes back.
  await within(second.client.mutate("sign", "bob's"));
  assert.deepEqual((await test.note.get()).lines, [
    { by: "bob", text: "bob's" },
  ]);
});

Deno.test("ClientOptions.storage of another user is not shown to a tab that waits for it, once the server has said so", async () => {
  await using test = await start();
  const disk = new MemoryDisk();
  const first = test.open("a", { storage: disk.openPage() });
  await within(first.handle.ready());
  await within(first.client.mutate("sign", "one"));
  await until(() => disk.records.get("state:Note")?.includes("one"));
  const second = test.open("b", { storage: disk.openPage() });
  await within(second.client.ready());
  await until(() => second.handle.isStale === false);
  assert.deepEqual(second.errors, []);
  first.client.destroy();
  await until(() => disk.records.get("user")?.includes("bob"));
  assert.equal(second.errors.length, 1);
});

Deno.test("ClientOptions.storage keeps the user: what is kept is shown with it before any connection", async () => {
  await using test = await start();
  const disk = new MemoryDisk();
  const first = test.open("a", { storage: disk.openPage() });
  await within(first.handle.ready());
  await test.goOffline(first.client);
  first.client.mutate("sign", "kept");
  first.client.destroy();
  const second = test.open("a", { storage: disk.openPage() });
  const signed = (text: string) => ({ by: "ada", text });
  await until(() => second.handle.getState()?.lines.length === 1);
  second.client.mutate("sign", "new");
  assert.deepEqual(second.handle.getState()?.lines, [
    signed("kept"),
    signed("new"),
  ]);
  test.proxy.refuse(false);
  await until(() => second.client.unackedCount === 0);
  assert.deepEqual((await test.note.get()).lines, [
    signed("kept"),
    signed("new"),
  ]);
  assert.deepEqual(second.errors, []);
});

Deno.test("ClientOptions.storage tells of a mutator that throws where it is run again", async () => {
  await using test = await start();
  const disk = new MemoryDisk();
  const first = test.open("a", { storage: disk.openPage() });
  await within(first.handle.ready());
  await test.goOffline(first.client);
  first.client.mutate("sign", "kept");
  first.client.destroy();
  await until(() => disk.records.has("user"));
  // As an older version of this package has left it.
  disk.records.delete("user");
  const second = test.open("a", { storage: disk.openPage() });
  await until(() => second.errors.length > 0);
  assert.match(
    second.errors[0]!.message,
    /^Cannot show what was kept over a reload: mutator "sign" on store "Note" throws: /,
  );
});
