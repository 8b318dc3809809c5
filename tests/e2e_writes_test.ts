/** What clients write: over real sockets, with a real KV. */
import assert from "node:assert/strict";
import { type Client, createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import type { StoreOptions } from "../server/mod.ts";
import { startProxy, until, within as inTime } from "./_harness.ts";

interface Board {
  items: { id: string; text: string; done: boolean }[];
  title: string;
}

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "a write" });

const item = (id: string) => ({ id, text: id, done: false });

/** A server with a board that clients may write. */
async function startBoard(options: StoreOptions<Board> = {}) {
  const server = createServer({ kv: ":memory:" });
  const initial: Board = { items: [item("a"), item("b")], title: "Board" };
  const board = server.createStore("Board", initial, {
    write: true,
    ...options,
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const url = `ws://127.0.0.1:${server.port}`;
  return {
    server,
    board,
    url,
    /** A client whose board is here, and everything that it was shown. */
    connect: async (to = url) => {
      const client = createClient(to, { reconnectDelayMs: 20 });
      const seen: Board[] = [];
      const handle = client.subscribe<Board>("Board", (state) => {
        seen.push(state);
      });
      await within(handle.ready());
      return { client, handle, seen, [Symbol.dispose]: () => client.destroy() };
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const idsOf = (state: Board | undefined) => state?.items.map(({ id }) => id);

Deno.test("handle.update() shows at once, resolves when committed, and reaches the others", async () => {
  await using app = await startBoard();
  using one = await app.connect();
  using two = await app.connect();
  const written = one.handle.update((draft) => {
    draft.items.push(item("c"));
  });
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "c"]);
  assert.deepEqual(idsOf(one.handle.getServerState()), ["a", "b"]);
  const before = one.handle.version!;
  assert.deepEqual(await within(written), { version: before + 1 });
  assert.deepEqual(idsOf(one.handle.getServerState()), ["a", "b", "c"]);
  assert.deepEqual(idsOf(await app.board.get()), ["a", "b", "c"]);
  await until(() => idsOf(two.handle.getState())?.length === 3);
  assert.equal(one.client.unackedCount, 0);
});

Deno.test("handle.set() and merge() replace all, and some, of the state", async () => {
  await using app = await startBoard();
  using one = await app.connect();
  await within(one.handle.merge({ title: "Merged" }));
  assert.equal((await app.board.get()).title, "Merged");
  await within(one.handle.set({ items: [], title: "Set" }));
  assert.deepEqual(await app.board.get(), { items: [], title: "Set" });
});

Deno.test("a store takes no writes of clients unless it says so", async () => {
  for (const write of [undefined, false, () => false] as const) {
    // Undefined is as if nothing had been given.
    await using app = await startBoard({ write } as StoreOptions<Board>);
    using one = await app.connect();
    const errors: Error[] = [];
    one.client.on("error", (error) => errors.push(error));
    const written = one.handle.update((draft) => void (draft.title = "No"));
    assert.equal(one.handle.getState()?.title, "No");
    await assert.rejects(within(written), {
      code: "forbidden",
      outcome: "notApplied",
      message: typeof write === "function"
        ? 'Cannot write to store "Board": this client may not'
        : 'Cannot write to store "Board": clients may not write to it',
    });
    assert.equal(one.handle.getState()?.title, "Board", "it is taken back");
    assert.deepEqual(
      one.handle.getState(),
      one.handle.getServerState(),
    );
    assert.equal(errors.length, 1);
  }
});

Deno.test("write may depend on who writes, and on the store", async () => {
  const asked: unknown[] = [];
  await using app = await startBoard({
    write: (context) => {
      asked.push(context);
      return true;
    },
  });
  using one = await app.connect();
  await within(one.handle.merge({ title: "x" }));
  assert.deepEqual(asked, [{
    user: null,
    clientId: one.client.clientId,
    namespace: "default",
    name: "Board",
    key: null,
  }]);
});

Deno.test("what is written offline is sent in order, once, when there is a connection", async () => {
  await using app = await startBoard();
  await using proxy = await startProxy(app.server.port);
  using one = await app.connect(`ws://127.0.0.1:${proxy.port}`);
  proxy.refuse(true);
  proxy.cut();
  await until(() => one.client.status !== "connected");
  const writes = ["c", "d", "e"].map((id) =>
    one.handle.update((draft) => void draft.items.push(item(id)))
  );
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "c", "d", "e"]);
  assert.equal(one.client.unackedCount, 3);
  await app.board.update((draft) => void draft.items.push(item("foreign")));
  proxy.refuse(false);
  await within(Promise.all(writes));
  assert.deepEqual(idsOf(await app.board.get()), [
    "a",
    "b",
    "foreign",
    "c",
    "d",
    "e",
  ]);
  assert.deepEqual(
    one.handle.getState(),
    one.handle.getServerState(),
  );
});

Deno.test("two clients splice one list, and each hits what it meant", async () => {
  await using app = await startBoard();
  await app.board.set({
    title: "",
    items: ["a", "b", "c", "d", "e", "f"].map(item),
  });
  using one = await app.connect();
  using two = await app.connect();
  const removeBy = (id: string) => (draft: Board) => {
    const at = draft.items.findIndex((other) => other.id === id);
    if (at >= 0) draft.items.splice(at, 1);
  };
  // At once, on the same version: the second to come would hit another item.
  const writes = [
    one.handle.update(removeBy("a")),
    two.handle.update(removeBy("d")),
    one.handle.update((draft) => void (draft.items[0]!.done = true)),
    two.handle.update((draft) => {
      draft.items.find(({ id }) => id === "f")!.done = true;
    }),
  ];
  await within(Promise.all(writes));
  const state = await app.board.get();
  assert.deepEqual(idsOf(state), ["b", "c", "e", "f"]);
  assert.deepEqual(
    state.items.filter(({ done }) => done).map(({ id }) => id),
    ["b", "f"],
  );
  await until(() =>
    JSON.stringify(two.handle.getState()) === JSON.stringify(state)
  );
});

Deno.test("expectVersion refuses a write behind another's, with the version, and the client has it", async () => {
  await using app = await startBoard();
  await using proxy = await startProxy(app.server.port);
  using one = await app.connect(`ws://127.0.0.1:${proxy.port}`);
  proxy.stall();
  await app.board.update((draft) => void (draft.title = "Foreign"));
  const written = one.handle.update(
    (draft) => void (draft.items[0]!.done = true),
    { policy: "expectVersion" },
  );
  assert.equal(one.handle.getState()?.items[0]?.done, true);
  proxy.resume();
  const error = await within(written.then(() => undefined, (error) => error));
  assert.equal(error.code, "conflict");
  const version = (error.data as { version: number }).version;
  assert.equal(one.handle.version, version, "it is in step already");
  assert.deepEqual(one.handle.getState(), await app.board.get());
  // And the same goes through on what there is now.
  await within(one.handle.update(
    (draft) => void (draft.items[0]!.done = true),
    { policy: "expectVersion" },
  ));
  assert.equal((await app.board.get()).items[0]?.done, true);
});

Deno.test("no write is ever shown twice, whatever comes first", async () => {
  await using app = await startBoard();
  await app.board.set({ title: "", items: [] });
  using one = await app.connect();
  using two = await app.connect();
  const clients = [one, two];
  const writes: Promise<unknown>[] = [];
  for (let n = 0; n < 60; n++) {
    const { handle } = clients[n % 2]!;
    const id = `${n % 2}:${n}`;
    writes.push(handle.update((draft) => void draft.items.push(item(id))));
    if (n % 7 === 0) await writes[n];
  }
  await within(Promise.all(writes));
  const ids = idsOf(await app.board.get())!;
  assert.equal(ids.length, 60);
  assert.equal(new Set(ids).size, 60);
  for (const { seen, handle } of clients) {
    for (const state of seen) {
      const shown = idsOf(state)!;
      assert.equal(new Set(shown).size, shown.length, "shown twice");
    }
    await until(() => handle.getServerState()?.items.length === 60);
    assert.deepEqual(idsOf(handle.getState()), ids);
  }
  // Each client's own are in the order in which it made them.
  for (const which of ["0", "1"]) {
    const own = ids.filter((id) => id.startsWith(which));
    assert.deepEqual(
      own,
      [...own].sort((a, b) => Number(a.slice(2)) - Number(b.slice(2))),
    );
  }
});

Deno.test("a recipe that throws writes nothing, at first and when it runs again", async () => {
  await using app = await startBoard();
  await using proxy = await startProxy(app.server.port);
  using one = await app.connect(`ws://127.0.0.1:${proxy.port}`);
  assert.throws(
    () => one.handle.update(() => void raise("at first")),
    /at first/,
  );
  assert.equal(one.client.unackedCount, 0);
  proxy.stall();
  await app.board.update((draft) => void draft.items.splice(0, 2));
  const written = one.handle.update((draft) => {
    if (draft.items.length === 0) raise("nothing left");
    draft.items[0]!.done = true;
  });
  const behind = one.handle.update((draft) => void (draft.title = "behind"));
  proxy.resume();
  await assert.rejects(within(written), /nothing left/);
  await within(behind);
  assert.deepEqual(await app.board.get(), { items: [], title: "behind" });
  assert.deepEqual(one.handle.getState(), { items: [], title: "behind" });
});

function raise(message: string): never {
  throw new Error(message);
}

Deno.test("a write before the state is here is refused with a way out", async () => {
  await using app = await startBoard();
  using client: Client = createClient(app.url);
  const handle = client.subscribe<Board>("Board");
  assert.throws(() => handle.merge({ title: "x" }), {
    code: "refused",
    message:
      'Cannot write to store "Board": its state is not here yet; await ready() before',
  });
  await within(handle.ready());
  await within(handle.merge({ title: "x" }));
});

Deno.test("intercept() sees who writes what, and changes, takes or drops it", async () => {
  const seen: unknown[] = [];
  await using app = await startBoard({
    intercept: (updates, { clientId, state, next, name, user }) => {
      seen.push({
        updates,
        clientId,
        user,
        name,
        from: state.title,
        to: next.title,
      });
      if (updates.title === "drop") return null;
      if (updates.title === "throw") raise("Not this");
      return updates.title === "change" ? { title: "changed" } : updates;
    },
  });
  using one = await app.connect();
  const { clientId } = one.client;
  await within(one.handle.merge({ title: "take" }));
  assert.deepEqual(seen.pop(), {
    updates: { title: "take" },
    clientId,
    user: null,
    name: "Board",
    from: "Board",
    to: "take",
  });
  await within(one.handle.merge({ title: "change" }));
  assert.equal((await app.board.get()).title, "changed");
  assert.equal(one.handle.getState()?.title, "changed");
  for (
    const [title, message] of [["drop", /dropped/], [
      "throw",
      /Not this/,
    ]] as const
  ) {
    await assert.rejects(within(one.handle.merge({ title })), {
      code: "refused",
      message,
    });
    await assert.rejects(
      app.board.update((draft) => void (draft.title = title)),
      message,
    );
    assert.equal(one.handle.getState()?.title, "changed");
  }
  assert.equal(
    (seen.at(-1) as { clientId: unknown }).clientId,
    undefined,
    "the server's own",
  );
  await app.board.update((draft) => void (draft.title = "for"), {
    as: { clientId: "k3f9", user: { id: 7 } },
  });
  assert.deepEqual(
    seen.at(-1),
    {
      updates: { title: "for" },
      clientId: "k3f9",
      user: { id: 7 },
      name: "Board",
      from: "changed",
      to: "for",
    },
  );
});

Deno.test("batch() takes effect as one, or not at all", async () => {
  await using app = await startBoard();
  const notes = app.server.createStore("Notes", { lines: [] as string[] }, {
    write: true,
    intercept: (updates) => updates.lines?.includes("no") ? null : updates,
  });
  using one = await app.connect();
  const lines = one.client.subscribe<{ lines: string[] }>("Notes");
  await within(lines.ready());
  await within(one.client.batch(() => {
    one.handle.update((draft) => void draft.items.push(item("c")));
    one.handle.update((draft) => void (draft.items[2]!.done = true));
    lines.update((draft) => void draft.lines.push("yes"));
  }));
  assert.deepEqual((await app.board.get()).items[2], {
    ...item("c"),
    done: true,
  });
  assert.deepEqual(await notes.get(), { lines: ["yes"] });
  const refused = one.client.batch(() => {
    one.handle.update((draft) => void (draft.title = "never"));
    lines.update((draft) => void draft.lines.push("no"));
  });
  assert.equal(one.handle.getState()?.title, "never");
  await assert.rejects(within(refused), /dropped/);
  assert.equal(one.handle.getState()?.title, "Board");
  assert.deepEqual(lines.getState(), { lines: ["yes"] });
  assert.equal((await app.board.get()).title, "Board");
  assert.throws(
    () =>
      one.client.batch(() => {
        for (let n = 0; n <= 100; n++) one.handle.merge({ title: `${n}` });
      }),
    { code: "limit", message: /101 is over the limit writesPerBatch of 100/ },
  );
  assert.equal(one.handle.getState()?.title, "Board");
});

Deno.test("an optimistic call shows at once, and its guess goes with what it stood for", async () => {
  await using app = await startBoard();
  const gate = Promise.withResolvers<void>();
  app.server.handle("add", async ({ id }: { id: string }) => {
    await app.board.update((draft) => void draft.items.push(item(id)));
    // The state comes long before the answer.
    await gate.promise;
  });
  app.server.handle("fail", () => raise("No"));
  using one = await app.connect();
  const add = (state: Board) => ({
    ...state,
    items: [...state.items, item("guess")],
  });
  const called = one.client.call("add", { id: "c" }, {
    store: "Board",
    optimistic: add,
  });
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "guess"]);
  await until(() => idsOf(one.handle.getServerState())?.length === 3);
  gate.resolve();
  await within(called);
  for (const state of one.seen) {
    assert.ok(idsOf(state)!.length <= 3, "the guess and the effect at once");
  }
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "c"]);
  const failed = one.client.call("fail", {}, { optimistic: { Board: add } });
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "c", "guess"]);
  await assert.rejects(within(failed), /No/);
  assert.deepEqual(idsOf(one.handle.getState()), ["a", "b", "c"]);
});

Deno.test("1,000 queued writes are rebased over 1,000 foreign ones, and each takes effect once", async () => {
  await using app = await startBoard();
  await app.board.set({ title: "", items: [] });
  await using proxy = await startProxy(app.server.port);
  using one = await app.connect(`ws://127.0.0.1:${proxy.port}`);
  proxy.refuse(true);
  proxy.cut();
  await until(() => one.client.status !== "connected");
  const writes = Array.from(
    { length: 1_000 },
    (_, n) =>
      one.handle.update((draft) => void draft.items.push(item(`own ${n}`))),
  );
  await Promise.all(
    Array.from(
      { length: 1_000 },
      (_, n) =>
        app.board.update((draft) =>
          void draft.items.push(item(`foreign ${n}`))
        ),
    ),
  );
  const began = performance.now();
  proxy.refuse(false);
  await inTime(Promise.all(writes), { ms: 20_000, describe: () => "writes" });
  const ms = performance.now() - began;
  const ids = idsOf(await app.board.get())!;
  assert.equal(ids.length, 2_000);
  assert.equal(new Set(ids).size, 2_000);
  assert.deepEqual(one.handle.getState(), await app.board.get());
  // Less than a second where nothing else runs; many times that would be a step for each pair.
  assert.ok(ms < 10_000, `${ms} ms`);
});

for (const mode of ["offline", "stalled"] as const) {
  Deno.test(`a write on top of an own one that moved items hits what it meant, behind a foreign insert (${mode})`, async () => {
    await using app = await startBoard();
    await app.board.set({ title: "", items: [..."abcde"].map(item) });
    await using proxy = await startProxy(app.server.port);
    using one = await app.connect(`ws://127.0.0.1:${proxy.port}`);
    if (mode === "stalled") proxy.stall();
    else {
      proxy.refuse(true);
      proxy.cut();
      await until(() => one.client.status !== "connected");
    }
    const writes = [
      one.handle.update((draft) => void draft.items.shift()),
      one.handle.update((draft) => {
        draft.items.find(({ id }) => id === "e")!.done = true;
      }),
    ];
    // By its place in the old list it is behind the item, by that in the new one before it.
    await app.board.update((draft) => {
      draft.items.splice(4, 0, item("x"));
    });
    if (mode === "stalled") proxy.resume();
    else proxy.refuse(false);
    await within(Promise.all(writes));
    const { items } = await app.board.get();
    assert.equal(items.map(({ id }) => id).join(""), "bcdxe");
    assert.deepEqual(items.filter(({ done }) => done).map(({ id }) => id), [
      "e",
    ]);
    assert.deepEqual(one.handle.getState()!.items, items);
  });
}
