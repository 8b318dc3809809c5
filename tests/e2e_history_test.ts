/** A store's past over real sockets, a real file and several servers: authors, times, and going back. */
import assert from "node:assert/strict";
import { applyJsonPatch } from "../protocol/json_patch.ts";
import { applyPatch } from "../protocol/patch.ts";
import type { Json } from "../protocol/value.ts";
import { createServer, type HistoryPage, type Server } from "../server/mod.ts";
import {
  callValue,
  connectClient,
  rawCall,
  rawSubscribe,
  sendCall,
  startApp,
} from "./_app.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";

interface Doc {
  title: string;
  lines: string[];
}

/** A document with a past, and what a user interface needs of it. */
function defineDoc(server: Server) {
  const doc = server.createStore<Doc>("Doc", { title: "", lines: [] }, {
    history: { versions: 30 },
  });
  server.handle("doc.add", async ({ line }: { line: string }) => {
    const { version } = await doc.update((draft) => {
      draft.lines.push(line);
    });
    return version;
  });
  server.handle("doc.drop", async () => {
    await doc.update((draft) => {
      if (draft.lines.length === 0) throw new Error("There is no line");
      draft.lines.pop();
    });
  });
  server.handle(
    "doc.history",
    async (range: { from?: number; limit?: number } | null) =>
      await doc.history(range ?? {}),
  );
  server.handle(
    "doc.at",
    (moment: number | { timeMs: number }) => doc.at(moment),
  );
  server.handle(
    "doc.diff",
    ({ a, b }: { a: number; b: number }) => doc.diff(a, b),
  );
  server.handle(
    "doc.restore",
    async ({ version }: { version: number }) =>
      (await doc.restore(version)).version,
  );
  return doc;
}

async function start(kv: string) {
  const holder: { doc?: ReturnType<typeof defineDoc> } = {};
  const app = await startApp({
    kv,
    define: (server) => {
      holder.doc = defineDoc(server);
    },
  });
  return Object.assign(app, { doc: holder.doc! }); // define() has run
}

Deno.test("history() tells which client changed what and when, also on the server that comes next", async () => {
  await using kv = await tempKvPath();
  const began = Date.now();
  let ids: string[];
  let before: HistoryPage;
  {
    await using app = await start(kv.path);
    const ann = connectClient(app.port);
    const ben = connectClient(app.port);
    try {
      await ann.call("doc.add", { line: "one" });
      await ben.call("doc.add", { line: "two" });
      await assert.rejects(
        (async () => {
          for (;;) await ann.call("doc.drop");
        })(),
        { code: "refused", message: "There is no line" },
      );
      await app.doc.update((draft) => {
        draft.title = "by the server";
      });
      ids = [ann.clientId!, ben.clientId!]; // they are connected
      before = await ann.call("doc.history") as unknown as HistoryPage;
    } finally {
      ann.destroy();
      ben.destroy();
    }
  }
  const [ann, ben] = ids;
  assert.deepEqual(
    before.entries.map(({ version, author, patch }) => ({
      version,
      author,
      patch,
    })).slice(1),
    [
      { version: 2, author: ann, patch: add(0, "one") },
      { version: 3, author: ben, patch: add(1, "two") },
      { version: 4, author: ann, patch: drop(1) },
      { version: 5, author: ann, patch: drop(0) },
      // Its number is used up, and so is its version.
      { version: 6, author: before.entries[5]?.author, patch: [] },
      {
        version: 7,
        author: undefined,
        patch: [{ op: "replace", path: "/title", value: "by the server" }],
      },
    ],
  );
  assert.deepEqual(before.entries[5]?.refused, {
    code: "refused",
    message: "There is no line",
  });
  let previous = began;
  for (const { timeMs } of before.entries) {
    assert.ok(timeMs >= previous && timeMs <= Date.now());
    previous = timeMs;
  }
  await using app = await start(kv.path);
  assert.deepEqual(await app.doc.history(), before);
  assert.deepEqual(await app.doc.at(3), { title: "", lines: ["one", "two"] });
  assert.deepEqual(
    await app.doc.at({ timeMs: before.entries[6]!.timeMs }),
    { title: "by the server", lines: [] },
  );
  const patch = await app.doc.diff(3, 7);
  const three = { title: "", lines: ["one", "two"] };
  assert.deepEqual(applyJsonPatch(three, patch), await app.doc.get());
});

Deno.test("restore() in a function reaches subscribers of all servers as what differs, before its answer", async () => {
  await using kv = await tempKvPath();
  await using first = await start(kv.path);
  await using second = await start(kv.path);
  await using writer = await RawClient.connect(first.port);
  await writer.hello();
  await using reader = await RawClient.connect(second.port);
  await reader.hello();
  for (let id = 1; id <= 20; id++) {
    await callValue(writer, id, "doc.add", { line: `line ${id}`.padEnd(500) });
  }
  await until(async () => (await second.doc.get()).lines.length === 20);
  const snap = await rawSubscribe(reader, "Doc");
  assert.ok(snap.type === "snap");
  const there = await rawSubscribe(writer, "Doc");
  sendCall(writer, 21, { name: "doc.restore", args: { version: 16 } });
  const own = await writer.next("patch");
  const { value } = await writer.next("res");
  assert.equal(value, 22);
  assert.deepEqual([own.from, own.version], [21, 22]);
  const patch = await reader.next("patch");
  assert.equal(patch.version, 22);
  assert.equal(patch.patch.length, 5);
  assert.ok(patch.patch.every(({ op }) => op === "remove"));
  const state = applyPatch(snap.state, patch.patch);
  assert.deepEqual(state, await second.doc.at(16));
  assert.equal(there.epoch, (await second.doc.history()).epoch);
});

Deno.test("restore() in a call that is sent again to another server applies once", async () => {
  await using kv = await tempKvPath();
  await using first = await start(kv.path);
  await using second = await start(kv.path);
  await using client = await RawClient.connect(first.port);
  const { session } = await client.hello();
  for (let id = 1; id <= 5; id++) {
    await callValue(client, id, "doc.add", { line: `${id}` });
  }
  const call = { name: "doc.restore", args: { version: 3 }, oldest: 6 };
  const once = await rawCall(client, 6, call);
  assert.equal(once.value, 7);
  const args = { line: "afterwards" };
  await rawCall(client, 7, { name: "doc.add", args, oldest: 6 });
  await using again = await RawClient.connect(second.port);
  await again.hello({ session });
  const twice = await rawCall(again, 6, { ...call, resent: true });
  assert.equal(twice.value, 7);
  assert.deepEqual((await second.doc.get()).lines, ["1", "2", "afterwards"]);
  assert.equal((await second.doc.history()).newest, 8);
});

Deno.test("what is out of reach is told to the caller of a function, with what is not", async () => {
  await using kv = await tempKvPath();
  await using app = await start(kv.path);
  await using client = await RawClient.connect(app.port);
  await client.hello();
  let id = 0;
  for (let n = 0; n < 60; n++) {
    await callValue(client, ++id, "doc.add", { line: `${n}`.padEnd(4_000) });
  }
  await until(async () => (await app.doc.history()).oldest > 10);
  const { oldest, newest } = await app.doc.history();
  for (const name of ["doc.at", "doc.restore"]) {
    const args = name === "doc.at" ? 2 : { version: 2 };
    const { error } = await rawCall(client, ++id, { name, args });
    assert.equal(error?.code, "limit");
    assert.equal(
      error.message,
      `Cannot read version 2 of store "Doc": the oldest version that is kept is ${
        oldest - 1
      }, the newest ${newest}`,
    );
  }
  const { error } = await rawCall(client, ++id, {
    name: "doc.history",
    args: { from: 5 },
  });
  assert.deepEqual(error?.data, { from: 5, oldest, newest: newest + 1 });
  // All that is kept is there, and right.
  for (let version = oldest - 1; version <= newest; version++) {
    const { lines } = await app.doc.at(version);
    assert.equal(lines.length, version - 1);
  }
});

function add(index: number, value: string) {
  return [{ op: "add", path: `/lines/${index}`, value }];
}

function drop(index: number) {
  return [{ op: "remove", path: `/lines/${index}` }];
}

Deno.test("history() names the user behind each write, also on the server that comes next", async () => {
  await using kv = await tempKvPath();
  const open = () => {
    const server = createServer({
      kv: kv.path,
      authenticate: (_, { token = "" }) =>
        token === "7" ? 7 : { id: token, role: "guest" },
    });
    const notes = server.createStore("Notes", { lines: [] as string[] }, {
      write: true,
    });
    return { server, notes };
  };
  let known: unknown;
  {
    const { server, notes } = open();
    await using _ = server;
    server.handle("add", async (line: string) => {
      await notes.update((draft) => void draft.lines.push(line));
    });
    await server.listen({ port: 0, host: "127.0.0.1" });
    using ann = connectClient(server.port, { token: "ann" });
    using seven = connectClient(server.port, { token: "7" });
    await ann.call("add", "by a call");
    const store = seven.subscribe<{ lines: string[] }>("Notes");
    await store.ready();
    await store.update((draft) => void draft.lines.push("by a write"));
    const add = (line: string, user: Json) =>
      notes.update((draft) => void draft.lines.push(line), { as: { user } });
    await add("on behalf of", { id: "ben" });
    await add("of one without an id", { role: "guest" });
    await add("of one whose id is too long", "x".repeat(257));
    await add("of one whose id is not", "x".repeat(256));
    await notes.update((draft) => void draft.lines.push("of nobody"));
    const { entries } = await notes.history({ from: 2 });
    assert.deepEqual(
      entries.map(({ author, userId }) => [author, userId]),
      [
        [ann.clientId, "ann"],
        [seven.clientId, "7"],
        [undefined, "ben"],
        [undefined, undefined],
        [undefined, undefined],
        [undefined, "x".repeat(256)],
        [undefined, undefined],
      ],
    );
    known = entries;
  }
  const { server, notes } = open();
  await using _ = server;
  assert.deepEqual((await notes.history({ from: 2 })).entries, known);
});
