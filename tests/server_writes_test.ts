/** The frames of clients' writes, frame by frame: what is taken, refused, and shown. */
import assert from "node:assert/strict";
import type { ClientWrite, MutateFrame } from "../protocol/frames.ts";
import type { Patch } from "../protocol/patch.ts";
import { createServer } from "../server/mod.ts";
import type { ServerOptions, StoreOptions } from "../server/mod.ts";
import { RawClient, tempKvPath, until } from "./_harness.ts";

interface List {
  items: string[];
  title: string;
}

async function start(
  options: StoreOptions<List> = {},
  { kv = ":memory:" }: Pick<ServerOptions, "kv"> = {},
) {
  const server = createServer({ kv });
  const initial: List = { items: ["a", "b"], title: "" };
  const list = server.createStore("List", initial, { write: true, ...options });
  await server.listen({ port: 0, host: "127.0.0.1" });
  await list.init();
  return { server, list, [Symbol.asyncDispose]: () => server.close() };
}

/** A peer that follows the list. */
async function follow(port: number, hello: { session?: string } = {}) {
  const peer = await RawClient.connect(port);
  const { session } = await peer.hello({ own: true, ...hello });
  peer.send({ type: "sub", name: "List" });
  const snap = await peer.next("snap");
  return { peer, session, epoch: snap.epoch, base: snap.version };
}

const push = (text: string, at: number): Patch => [
  { op: "add", path: ["items", at], value: text },
];
const title = (value: string): Patch => [
  { op: "replace", path: ["title"], value },
];

function write(
  { epoch, base }: { epoch: string; base: number },
  patch: Patch,
  after: number[] = [],
): ClientWrite {
  return { name: "List", epoch, base, after, patch };
}

function mut(
  id: number,
  writes: ClientWrite[],
  fields: Partial<MutateFrame> = {},
): MutateFrame {
  return { type: "mut", id, oldest: 1, elapsedMs: 0, writes, ...fields };
}

async function answer(peer: RawClient, id: number) {
  for (;;) {
    const frame = await peer.next("res");
    if (frame.id === id) return frame;
  }
}

Deno.test("a write is answered in the message that shows it, and own names it there", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  const other = await follow(app.server.port);
  await using __ = other.peer;
  peer.send(mut(1, [write(base, push("c", 2))]));
  const { value } = await answer(peer, 1);
  assert.deepEqual(value, [["List", base.base + 1]]);
  const message = peer.messages.find(({ frames }) =>
    frames.some(({ type }) => type === "res")
  );
  assert.deepEqual(message?.frames.map(({ type }) => type), [
    "own",
    "patch",
    "res",
  ]);
  assert.deepEqual(message?.frames[0], {
    type: "own",
    name: "List",
    calls: [1],
  });
  await other.peer.next("patch");
  assert.equal(
    other.peer.frames.some(({ type }) => type === "own"),
    false,
    "it is nobody else's",
  );
});

Deno.test("who did not ask for own gets none", async () => {
  await using app = await start();
  await using peer = await RawClient.connect(app.server.port);
  await peer.hello();
  peer.send({ type: "sub", name: "List" });
  const snap = await peer.next("snap");
  const base = { epoch: snap.epoch, base: snap.version };
  peer.send(mut(1, [write(base, push("c", 2))]));
  await answer(peer, 1);
  assert.equal(peer.frames.some(({ type }) => type === "own"), false);
});

Deno.test("writes on top of each other are taken in one go; without the one before it is a rebase", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  peer.send(
    mut(1, [write(base, push("c", 2))]),
    mut(2, [write(base, push("d", 3), [1])]),
    mut(3, [write(base, push("e", 4), [1, 2])]),
    // This one stands on a write that never came.
    mut(5, [write(base, push("f", 5), [1, 2, 3, 4])]),
  );
  const answers = await Promise.all([1, 2, 3, 5].map(async (id, n) => {
    while (peer.frames.filter(({ type }) => type === "res").length <= n) {
      await peer.nextFrame();
    }
    return peer.frames.find((frame) => frame.type === "res" && frame.id === id);
  }));
  assert.deepEqual(
    answers.map((frame) => frame?.type === "res" ? frame.error?.code : frame),
    [undefined, undefined, undefined, "rebase"],
  );
  assert.deepEqual((await app.list.get()).items, ["a", "b", "c", "d", "e"]);
});

Deno.test("what others wrote to another place lets a write through, to the same it does not", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  await app.list.update((draft) => void (draft.title = "foreign"));
  peer.send(mut(1, [write(base, push("c", 2))]));
  assert.equal((await answer(peer, 1)).error, undefined);
  peer.send(mut(2, [write(base, title("mine"))]));
  const { error } = await answer(peer, 2);
  assert.equal(error?.code, "rebase");
  assert.equal(error?.outcome, "notApplied");
  // The number is free: under it comes what the write has become.
  const now = { ...base, base: base.base + 2 };
  peer.send(mut(2, [write(now, title("mine"))]));
  assert.equal((await answer(peer, 2)).error, undefined);
  assert.deepEqual(await app.list.get(), {
    items: ["a", "b", "c"],
    title: "mine",
  });
});

Deno.test("an exact write conflicts with whatever is foreign, and the answer comes behind that", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  await app.list.update((draft) => void (draft.title = "foreign"));
  peer.send(mut(1, [write(base, push("c", 2))], { exact: true }));
  const { error } = await answer(peer, 1);
  assert.equal(error?.code, "conflict");
  assert.deepEqual(error?.data, { version: base.base + 1 });
  const types = peer.frames.map(({ type }) => type);
  assert.ok(types.indexOf("patch") < types.indexOf("res"));
});

Deno.test("a base that is not remembered is a rebase; another epoch is a life that is over", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  const later = { ...base, base: base.base + 1_000 };
  peer.send(mut(1, [write(later, push("c", 2))]));
  assert.equal((await answer(peer, 1)).error?.code, "rebase");
  const other = { ...base, epoch: "another" };
  peer.send(mut(2, [write(other, push("c", 2))]));
  const { error } = await answer(peer, 2);
  assert.deepEqual(error, {
    code: "store_deleted",
    message: 'Cannot write to store "List": it was deleted; subscribe again',
    outcome: "notApplied",
  });
});

Deno.test("a write that is sent again, to another server too, applies once and has the same version", async () => {
  await using kv = await tempKvPath();
  await using one = await start({}, { kv: kv.path });
  await using two = await start({}, { kv: kv.path });
  const first = await follow(one.server.port);
  await using _ = first.peer;
  first.peer.send(mut(1, [write(first, push("c", 2))]));
  const { value } = await answer(first.peer, 1);
  for (const { server } of [one, two]) {
    await using peer = await RawClient.connect(server.port);
    await peer.hello({ session: first.session, own: true });
    peer.send({ type: "sub", name: "List" });
    await peer.next("snap");
    // On the old base: it is found by its number before that matters.
    peer.send(mut(1, [write(first, push("c", 2))], { resent: true }));
    assert.deepEqual((await answer(peer, 1)).value, value);
    const own = peer.frames.find(({ type }) => type === "own");
    assert.deepEqual(own, { type: "own", name: "List", calls: [1] });
  }
  assert.deepEqual((await two.list.get()).items, ["a", "b", "c"]);
});

Deno.test("a refusal that may be with two servers is said again, though it could be made now", async () => {
  let isOpen = false;
  await using app = await start({
    intercept: (updates) => isOpen ? updates : null,
  });
  const first = await follow(app.server.port);
  first.peer.send(mut(1, [write(first, title("x"))], { resent: true }));
  assert.equal((await answer(first.peer, 1)).error?.code, "refused");
  await first.peer[Symbol.asyncDispose]();
  isOpen = true;
  await using other = await start({}, { kv: ":memory:" });
  await using peer = await RawClient.connect(app.server.port);
  await peer.hello({ session: first.session });
  peer.send(mut(1, [write(first, title("x"))], { resent: true }));
  assert.equal((await answer(peer, 1)).error?.code, "refused");
  assert.equal((await app.list.get()).title, "");
  // One that was sent for the first time leaves no record: nobody else has it.
  isOpen = false;
  const before = (await app.list.update(() => {})).version;
  peer.send(mut(2, [write(first, title("x"))]));
  assert.equal((await answer(peer, 2)).error?.code, "refused");
  assert.equal((await app.list.update(() => {})).version, before);
  assert.ok(other);
});

Deno.test("writes of one client are made in the order in which they came, opened stores or not", async () => {
  await using app = await start();
  const log = app.server.createStore("Log:*", { lines: [] as number[] }, {
    write: true,
  });
  log.onCreate(async () => {
    await new Promise((resolve) => setTimeout(resolve, 30));
  });
  await using peer = await RawClient.connect(app.server.port);
  await peer.hello();
  const line = (n: number): ClientWrite => ({
    name: "Log:a",
    epoch: "",
    base: 0,
    after: [],
    patch: [{ op: "add", path: ["lines", n], value: n }],
  });
  // Without a base that is known they are rebased, in order, once the store is there.
  peer.send(...[0, 1, 2].map((n) => mut(n + 1, [line(n)])));
  for (const id of [1, 2, 3]) {
    const frame = await peer.next("res");
    assert.equal(frame.id, id);
    assert.equal(frame.error?.code, "rebase");
  }
});

Deno.test("a hostile write is refused, and nothing of it is there", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  const hostile: [Patch, string][] = [
    [[{ op: "replace", path: [], value: 5 }], "bad_value"],
    [[{ op: "replace", path: [], value: [] }], "bad_value"],
    [[{ op: "remove", path: ["items", 9] }], "bad_patch"],
    [[{ op: "add", path: ["nothing", "x"], value: 1 }], "bad_patch"],
    [[{ op: "remove", path: [] }], "bad_patch"],
    [[{ op: "add", path: ["items", "x"], value: 1 }], "bad_patch"],
  ];
  let id = 0;
  for (const [patch, code] of hostile) {
    peer.send(mut(++id, [write(base, patch)]));
    const { error } = await answer(peer, id);
    assert.equal(error?.code, code, JSON.stringify(patch));
    assert.equal(error?.outcome, "notApplied");
  }
  // A batch with one of them takes nothing of the others.
  peer.send(mut(++id, [write(base, title("x")), write(base, hostile[2]![0])]));
  assert.equal((await answer(peer, id)).error?.code, "bad_patch");
  peer.send(mut(++id, [{ ...write(base, title("x")), name: "Nope" }]));
  assert.equal((await answer(peer, id)).error?.code, "store_missing");
  assert.deepEqual(await app.list.get(), { items: ["a", "b"], title: "" });
  await until(() => app.list.subscriberCount() === 1);
});

Deno.test("what an own write has become counts, and what was written before it in other places", async () => {
  await using app = await start({
    intercept: (updates) =>
      updates.title === "louder" ? { title: "LOUDER" } : updates,
  });
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  // The interceptor makes another patch of the first: nobody knows what the second rests on.
  peer.send(
    mut(1, [write(base, title("louder"))]),
    mut(2, [write(base, push("c", 2), [1])]),
  );
  assert.equal((await answer(peer, 1)).error, undefined);
  assert.equal((await answer(peer, 2)).error?.code, "rebase");
  const now = { ...base, base: base.base + 1 };
  peer.send(mut(2, [write(now, push("c", 2))]));
  assert.equal((await answer(peer, 2)).error, undefined);
  // [a, b, c]: an insert at 1 that the own removal of the first item does not know of.
  await app.list.update((draft) => void draft.items.splice(2, 0, "x"));
  const then = { ...base, base: base.base + 2 };
  peer.send(
    mut(3, [write(then, [{ op: "remove", path: ["items", 0] }])]),
    mut(4, [
      write(then, [{ op: "replace", path: ["items", 1], value: "C" }], [3]),
    ]),
  );
  assert.equal((await answer(peer, 3)).error, undefined);
  assert.equal((await answer(peer, 4)).error?.code, "rebase");
  assert.deepEqual((await app.list.get()).items, ["b", "x", "c"]);
});

Deno.test("a patch on what never was there is refused with a word on why that may be", async () => {
  await using app = await start();
  const { peer, ...base } = await follow(app.server.port);
  await using _ = peer;
  // As made on top of a write that has not been sent.
  peer.send(mut(1, [write(base, push("d", 3))]));
  const { error } = await answer(peer, 1);
  assert.equal(error?.code, "bad_patch");
  assert.equal(error.outcome, "notApplied");
  assert.match(
    error.message,
    /^Cannot write to store "List": the patch does not fit version \d+; what it was made on top of may have been refused \(Cannot apply add/,
  );
});
