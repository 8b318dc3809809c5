/** Undo, redo and listeners of a client's handle, over real sockets. */
import assert from "node:assert/strict";
import { createClient } from "../client/mod.ts";
import { createServer } from "../server/mod.ts";
import { until, within as inTime } from "./_harness.ts";

interface Board {
  cards: { id: string; text: string; done?: boolean }[];
  title: string;
  note?: string;
}

const within = <T>(promise: Promise<T>) =>
  inTime(promise, { describe: () => "a write" });

const card = (id: string) => ({ id, text: id });

async function start() {
  const server = createServer({ kv: ":memory:" });
  /** Whether the server refuses every write. */
  const rules = { refuse: false };
  const initial: Board = { cards: ["a", "b", "c"].map(card), title: "Plan" };
  const board = server.createStore("Board", initial, {
    write: true,
    intercept: (updates) =>
      rules.refuse || updates.note === "refused" ? null : updates,
  });
  await server.listen({ port: 0, host: "127.0.0.1" });
  const client = createClient(`ws://127.0.0.1:${server.port}`);
  const handle = client.subscribe<Board>("Board");
  await within(handle.ready());
  return {
    rules,
    board,
    client,
    handle,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await server.close();
    },
  };
}

const ids = (state: Board | undefined) =>
  state?.cards.map(({ id }) => id).join("");

Deno.test("undo() and redo() go back and forth through one's own changes", async () => {
  await using app = await start();
  const { handle } = app;
  assert.equal(handle.canUndo, false);
  assert.equal(await handle.undo(), undefined);
  await within(handle.update((draft) => void draft.cards.push(card("d"))));
  await within(handle.update((draft) => void draft.cards.splice(1, 1)));
  await within(handle.merge({ title: "New", note: "n" }));
  await within(handle.update((draft) => void (draft.cards[0]!.done = true)));
  const states = [handle.getState()];
  while (handle.canUndo) {
    const undone = handle.undo();
    states.push(handle.getState());
    await within(undone);
  }
  assert.deepEqual(states.map(ids), ["acd", "acd", "acd", "abcd", "abc"]);
  assert.deepEqual(states.map((state) => state?.title), [
    "New",
    "New",
    "Plan",
    "Plan",
    "Plan",
  ]);
  assert.deepEqual(states[1]?.cards[0], card("a"));
  assert.equal("note" in states[2]!, false);
  assert.deepEqual(await app.board.get(), {
    cards: ["a", "b", "c"].map(card),
    title: "Plan",
  });
  while (handle.canRedo) await within(handle.redo());
  assert.deepEqual(handle.getState(), states[0]);
  assert.deepEqual(await app.board.get(), states[0]);
  // A new change ends what could be made again.
  await within(handle.undo());
  assert.ok(handle.canRedo);
  await within(handle.merge({ title: "Other" }));
  assert.equal(handle.canRedo, false);
});

Deno.test("undo() leaves what others wrote since, wherever it has moved", async () => {
  await using app = await start();
  const { handle, board } = app;
  await within(handle.update((draft) => void (draft.cards[2]!.done = true)));
  await within(handle.update((draft) => void draft.cards.push(card("d"))));
  await board.update((draft) => {
    draft.cards.unshift(card("x"));
    draft.title = "Theirs";
    draft.cards.find(({ id }) => id === "c")!.text = "their text";
  });
  await until(() => ids(handle.getState()) === "xabcd");
  await within(handle.undo());
  assert.equal(ids(await board.get()), "xabc");
  await within(handle.undo());
  const state = await board.get();
  assert.equal(state.title, "Theirs");
  assert.deepEqual(state.cards[3], { id: "c", text: "their text" });
});

Deno.test("undo() refuses where others changed the same, and goes on with what was before", async () => {
  await using app = await start();
  const { handle, board } = app;
  await within(handle.update((draft) => void draft.cards.pop()));
  await within(handle.merge({ title: "Mine" }));
  await board.update((draft) => void (draft.title = "Theirs"));
  await until(() => handle.getState()?.title === "Theirs");
  await assert.rejects(handle.undo(), {
    code: "conflict",
    message: "Cannot take the change back: others have changed the same since",
  });
  assert.equal(handle.getState()?.title, "Theirs");
  assert.ok(handle.canUndo);
  await within(handle.undo());
  assert.equal(ids(handle.getState()), "abc");
  assert.equal(handle.canUndo, false);
});

Deno.test("undo() that is refused leaves as much to take back, and an update of nothing is none", async () => {
  await using app = await start();
  const { handle } = app;
  await within(handle.update(() => {}));
  assert.equal(handle.canUndo, false);
  await within(handle.merge({ title: "Mine" }));
  app.rules.refuse = true;
  await assert.rejects(within(handle.undo()), { code: "refused" });
  assert.equal(handle.getState()?.title, "Mine");
  assert.deepEqual([handle.canUndo, handle.canRedo], [true, false]);
  app.rules.refuse = false;
  await within(handle.undo());
  assert.equal(handle.getState()?.title, "Plan");
  app.rules.refuse = true;
  await assert.rejects(within(handle.redo()), { code: "refused" });
  assert.deepEqual([handle.canUndo, handle.canRedo], [false, true]);
});

Deno.test("undo() takes a batch back as one, and forgets what was refused", async () => {
  await using app = await start();
  const { handle, client } = app;
  await within(client.batch(() => {
    handle.merge({ title: "Batch" });
    handle.update((draft) => void draft.cards.pop());
  }));
  assert.equal(ids(handle.getState()), "ab");
  await within(handle.undo());
  assert.deepEqual(handle.getState(), {
    cards: ["a", "b", "c"].map(card),
    title: "Plan",
  });
  assert.equal(handle.canUndo, false);
  await assert.rejects(within(handle.merge({ note: "refused" })));
  assert.equal(handle.canUndo, false);
});

Deno.test("listen() tells what has changed, with its values before", async () => {
  await using app = await start();
  const { handle, board } = app;
  const told: unknown[] = [];
  const tell = (name: string) => (now: unknown, before: unknown) =>
    void told.push([name, now, before]);
  handle.listen("all", tell("all"));
  handle.listen("title", tell("title"), { properties: ["title", "note"] });
  const off = handle.listen("count", tell("count"), {
    selector: (state) => state.cards.length,
  });
  handle.listen("ids", tell("ids"), {
    selector: (state) => state.cards.map(({ id }) => id),
    equals: (a, b) => a.join() === b.join(),
  });
  await board.update((draft) => void (draft.note = "n"));
  await until(() => told.length >= 2);
  assert.deepEqual(told.splice(0), [
    ["all", { note: "n" }, { note: undefined }],
    ["title", { note: "n" }, { note: undefined }],
  ]);
  await board.update((draft) => void draft.cards.shift());
  await until(() => told.length >= 3);
  const before = ["a", "b", "c"].map(card);
  assert.deepEqual(told.splice(0), [
    ["all", { cards: before.slice(1) }, { cards: before }],
    ["count", 2, 3],
    ["ids", ["b", "c"], ["a", "b", "c"]],
  ]);
  off();
  assert.equal(handle.unlisten("all"), true);
  assert.equal(handle.unlisten("all"), false);
  // The same id replaces, and one that throws stops no other.
  const errors: Error[] = [];
  app.client.on("error", (error) => errors.push(error));
  handle.listen("title", () => {
    throw new Error("listener");
  });
  handle.listen("last", tell("last"), { properties: ["title"] });
  await within(handle.merge({ title: "Own" }));
  assert.deepEqual(told.splice(0), [
    ["last", { title: "Own" }, { title: "Plan" }],
  ]);
  assert.deepEqual(errors.map(({ message }) => message), ["listener"]);
  assert.throws(
    () =>
      handle.listen("both", () => {}, {
        properties: ["title"],
        selector: (state) => state.title,
      }),
    /name properties or a selector, not both/,
  );
});

Deno.test("listen() compares what is selected with what was told, so that small steps add up", async () => {
  await using app = await start();
  const { handle } = app;
  const told: number[][] = [];
  handle.listen("far", (now, before) => void told.push([now, before ?? -1]), {
    selector: (state: Board) => state.cards.length,
    equals: (a: number, b: number) => Math.abs(a - b) < 2,
  });
  for (const id of ["d", "e", "f", "g"]) {
    await within(handle.update((draft) => void draft.cards.push(card(id))));
  }
  await until(() => told.length === 2);
  assert.deepEqual(told, [[5, 3], [7, 5]]);
});

Deno.test("listen() tells nothing that every object has, and refuses what it cannot use", async () => {
  await using app = await start();
  const handle = app.client.subscribe<Record<string, unknown>>("Board");
  await within(handle.ready());
  const told: unknown[] = [];
  handle.listen("all", (...args) => void told.push(args));
  await within(handle.merge({ toString: "text" }));
  await until(() => told.length > 0);
  assert.deepEqual(told, [[{ toString: "text" }, { toString: undefined }]]);
  const wrong: [object, RegExp][] = [
    [{ properties: "note" }, /properties must be an array/],
    [{ selector: "note" }, /its selector must be a function, not "note"/],
    [{ equals: 5 }, /its equals must be a function, not 5/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => handle.listen("wrong", () => {}, options), {
      name: "TypeError",
      message,
    });
  }
});
