import assert from "node:assert/strict";
import type { HeadwaterError, SubscriptionHandle } from "../client/mod.ts";
import { settle } from "./_fake_clock.ts";
import {
  idleClient,
  nextSocket,
  openClient,
  patch,
  redial,
  resume,
  snap,
} from "./_fake_socket.ts";

interface Todos {
  items: string[];
  title?: string;
}

const TOKEN = { epoch: "e1", version: 1, writer: "w1" };

Deno.test("subscribe() works before connecting; every handle shares one subscription on the wire", async () => {
  const { client, network } = idleClient();
  const seen: string[] = [];
  const first = client.subscribe<Todos>(
    "Todos",
    (state) => seen.push(`first ${state.items}`),
  );
  client.connect("ws://test/");
  const second = client.subscribe<Todos>(
    "Todos",
    (state) => seen.push(`second ${state.items}`),
  );
  const { socket } = network;
  socket.accept();
  socket.welcome();
  await settle();
  const third = client.subscribe<Todos>(
    "Todos",
    (state) => seen.push(`third ${state.items}`),
  );
  await settle();
  assert.deepEqual(socket.frames.slice(1), [{ type: "sub", name: "Todos" }]);
  assert.deepEqual([first.hasData(), first.getState(), first.version], [
    false,
    undefined,
    undefined,
  ]);

  socket.deliver(snap({ state: { items: ["a"] } }));
  assert.deepEqual(seen, ["first a", "second a", "third a"]);
  for (const handle of [first, second, third]) {
    await handle.ready();
    assert.deepEqual(handle.getState(), { items: ["a"] });
    assert.equal(handle.getServerState(), first.getState());
    assert.equal(handle.version, 1);
    assert.equal(handle.name, "Todos");
  }
});

Deno.test("subscribe() names stores as the server does: in normal form C", async () => {
  const { client, socket } = await openClient();
  const handle = client.subscribe("Cafe\u0301");
  await settle();
  assert.deepEqual(socket.take(), [{ type: "sub", name: "Caf\u00e9" }]);
  socket.deliver(snap({ name: "Caf\u00e9", state: 1 }));
  assert.equal(handle.getState(), 1);
});

Deno.test("subscribe() refuses a name that no store can have", async () => {
  const { client, socket } = await openClient();
  assert.throws(() => client.subscribe(""), { code: "bad_name" });
  assert.throws(() => client.subscribe("a\nb"), { code: "bad_name" });
  assert.throws(() => client.subscribe("x".repeat(1_000_000)), {
    code: "limit",
  });
  await settle();
  assert.deepEqual(socket.take(), []);
});

Deno.test("subscribe() shows a late handle the present state, in a microtask and once", async () => {
  const { client, socket } = await openClient();
  client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(snap({ state: { items: ["a"] } }));

  const seen: (Todos | undefined)[] = [];
  const late: SubscriptionHandle<Todos> = client.subscribe<Todos>(
    "Todos",
    () => seen.push(late.getState()),
  );
  assert.deepEqual(late.getState(), { items: ["a"] });
  assert.deepEqual(seen, []);
  await Promise.resolve();
  assert.deepEqual(seen, [{ items: ["a"] }]);

  const both: number[] = [];
  const handle = client.subscribe<Todos>(
    "Todos",
    () => both.push(handle.version!),
  );
  socket.deliver(patch(2, ["items"], []));
  await settle();
  assert.deepEqual(
    both,
    [2],
    "the message came first, so the microtask has nothing to add",
  );

  const never: unknown[] = [];
  client.subscribe("Todos", (state) => never.push(state)).unsubscribe();
  await settle();
  assert.deepEqual(never, []);
});

Deno.test("unsubscribe() of the last handle sends unsub; what still comes is ignored; subscribing again works", async () => {
  const { client, socket, errors } = await openClient();
  const seen: unknown[] = [];
  const first = client.subscribe<Todos>("Todos", (state) => seen.push(state));
  const second = client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(snap({ state: { items: ["a"] } }));
  socket.take();

  first.unsubscribe();
  first.unsubscribe();
  await settle();
  assert.deepEqual(socket.take(), []);
  socket.deliver(patch(2, ["items"], ["b"]));
  assert.deepEqual(first.getState(), { items: ["a"] });
  assert.deepEqual([first.version, first.isStale, first.hasData()], [
    1,
    true,
    true,
  ]);
  assert.deepEqual(second.getState(), { items: ["b"] });
  assert.equal(seen.length, 1);

  second.unsubscribe();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "unsub", name: "Todos" }, {
    type: "ping",
  }]);
  socket.deliver(
    patch(3, ["items"], ["c"]),
    snap({ version: 4, state: { items: ["d"] } }),
  );
  socket.deliver({ type: "del", name: "Todos" });
  socket.deliver({
    type: "err",
    name: "Todos",
    error: { code: "unavailable", message: "Not now" },
  });
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.deepEqual(errors, []);
  assert.deepEqual(second.getState(), { items: ["b"] });

  const third = client.subscribe<Todos>("Todos");
  await settle();
  assert.deepEqual(socket.take(), [{ type: "sub", name: "Todos" }]);
  assert.equal(third.hasData(), false);
  socket.deliver({ type: "pong" });
  socket.deliver(snap({ version: 5, state: { items: ["e"] } }));
  socket.deliver(patch(6, ["items"], ["f"]));
  assert.deepEqual(third.getState(), { items: ["f"] });
});

Deno.test("unsubscribe() while offline leaves nothing to ask for", async () => {
  const bench = await openClient();
  const handle = bench.client.subscribe("Todos");
  const gone = bench.client.subscribe("Gone");
  await settle();
  bench.socket.hangUp(1006);
  gone.unsubscribe();
  const socket = await nextSocket(bench);
  socket.welcome();
  await settle();
  assert.deepEqual(socket.frames.slice(1), [{ type: "sub", name: "Todos" }]);
  assert.equal(handle.hasData(), false);
});

Deno.test("subscribe() in the tick in which the connection is lost asks once, on the next one", async () => {
  const bench = await openClient();
  bench.client.subscribe("Todos");
  bench.socket.hangUp(1006);
  const socket = await nextSocket(bench);
  socket.welcome();
  await settle();
  assert.deepEqual(bench.socket.take(), []);
  assert.deepEqual(socket.frames.slice(1), [{ type: "sub", name: "Todos" }]);
});

Deno.test("A gap is asked about once, with the token of what is there", async () => {
  const { client, socket } = await openClient();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(snap({ state: { items: ["a"] } }));
  socket.take();

  socket.deliver(patch(3, ["items"], ["c"]), patch(4, ["items"], ["d"]));
  socket.deliver(patch(5, ["items"], ["e"]));
  await settle();
  assert.deepEqual(socket.take(), [{
    type: "sub",
    name: "Todos",
    token: TOKEN,
  }]);
  assert.deepEqual(handle.getState(), { items: ["a"] });
  assert.equal(handle.isStale, true);

  socket.deliver(
    resume({
      version: 5,
      patch: [{ op: "replace", path: ["items"], value: ["e"] }],
    }),
    patch(6, ["items"], ["f"]),
  );
  assert.deepEqual(handle.getState(), { items: ["f"] });
  assert.equal(handle.isStale, false);
});

Deno.test("A patch for a number that is not known is ignored", async () => {
  const { client, socket, errors } = await openClient();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(patch(1, ["items"], ["early"]));
  socket.deliver(snap({ state: { items: ["a"] } }));
  socket.take();
  socket.deliver(patch(2, ["items"], ["b"], { store: 9 }));
  await settle();
  assert.deepEqual(handle.getState(), { items: ["a"] });
  assert.deepEqual(socket.take(), []);
  assert.deepEqual(errors, []);
});

Deno.test("A store that gets another number is known by that alone", async () => {
  const { client, socket } = await openClient();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(snap({ state: { items: [] } }));
  socket.deliver(snap({ store: 2, version: 2, state: { items: [] } }));
  socket.deliver(patch(3, ["items"], ["by 2"], { store: 2 }));
  socket.deliver(patch(4, ["items"], ["by 1"], { store: 1 }));
  assert.deepEqual(handle.getState(), { items: ["by 2"] });
});

Deno.test("A patch that cannot be applied costs the token, fires an error, and asks for a snapshot", async () => {
  const { client, socket, errors, clock } = await openClient();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  socket.deliver(snap({ state: { items: ["a"] } }));
  socket.take();

  socket.deliver(patch(2, ["missing"], 1), patch(3, ["items"], ["c"]));
  await settle();
  assert.equal(errors.length, 1);
  assert.equal((errors[0] as HeadwaterError).code, "bad_patch");
  assert.deepEqual(socket.take(), [{ type: "sub", name: "Todos" }]);
  assert.deepEqual(handle.getState(), { items: ["a"] });

  socket.deliver(snap({ version: 3, state: { items: ["c"] } }));
  assert.deepEqual(handle.getState(), { items: ["c"] });

  // Broken again at once: the fault is not a passing one, and it is not asked in a circle.
  socket.deliver(patch(4, ["missing"], 1));
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(handle.isStale, true);
  await clock.advance(2_000);
  assert.deepEqual(socket.take(), [{ type: "sub", name: "Todos" }]);

  socket.deliver(
    snap({ version: 5, state: { items: [] } }),
    patch(6, ["items"], ["f"]),
  );
  socket.deliver(patch(7, ["missing"], 1));
  await settle();
  assert.deepEqual(
    socket.take(),
    [{ type: "sub", name: "Todos" }],
    "a patch has been applied in between",
  );
});

Deno.test("A resume that does not fit is not applied and asked about again", async () => {
  const bench = await openClient();
  const handle = bench.client.subscribe<Todos>("Todos");
  await settle();
  bench.socket.deliver(snap({ state: { items: ["a"] } }));
  const socket = await redial(bench);
  socket.welcome();
  await settle();
  assert.deepEqual(socket.take().slice(1), [{
    type: "sub",
    name: "Todos",
    token: TOKEN,
  }]);
  const ops = [{ op: "replace", path: ["items"], value: ["wrong"] }] as const;
  socket.deliver(resume({ epoch: "e2", from: 1, version: 2, patch: ops }));
  await settle();
  assert.deepEqual(socket.take(), [{
    type: "sub",
    name: "Todos",
    token: TOKEN,
  }]);
  socket.deliver(resume({ from: 3, version: 4, patch: ops }));
  await settle();
  assert.deepEqual(socket.take(), [], "the second time it waits");
  await bench.clock.advance(2_000);
  assert.deepEqual(socket.take(), [{
    type: "sub",
    name: "Todos",
    token: TOKEN,
  }]);
  assert.deepEqual(handle.getState(), { items: ["a"] });
});

Deno.test("A store that is missing rejects ready(), fires an error and ends the subscription", async () => {
  const { client, socket, errors, clock } = await openClient({}, {
    heartbeatMs: 0,
  });
  const handle = client.subscribe("Nope");
  const ready = handle.ready();
  await settle();
  socket.take();
  socket.deliver({
    type: "err",
    name: "Nope",
    error: { code: "store_missing", message: "No store Nope" },
  });
  await assert.rejects(ready, {
    code: "store_missing",
    message: "No store Nope",
  });
  await assert.rejects(handle.ready(), { code: "store_missing" });
  assert.deepEqual(errors.map((error) => error.message), ["No store Nope"]);
  assert.deepEqual([handle.hasData(), handle.isStale], [false, true]);

  handle.unsubscribe();
  await clock.advance(60_000);
  assert.deepEqual(socket.take(), []);
  client.subscribe("Nope");
  await settle();
  assert.deepEqual(
    socket.take(),
    [{ type: "sub", name: "Nope" }],
    "by a new handle it may be asked for again",
  );
});

for (const code of ["store_unreadable", "unavailable"] as const) {
  Deno.test(`A store that is ${code} keeps its state and is asked for again with back-off`, async () => {
    const { client, socket, errors, clock } = await openClient({}, {
      heartbeatMs: 0,
    });
    const error = { code, message: "Not at the moment" };
    const handle = client.subscribe<Todos>("Todos");
    const ready = handle.ready();
    await settle();
    socket.take();

    socket.deliver({ type: "err", name: "Todos", error });
    await assert.rejects(ready, { code });
    const again = handle.ready();
    await clock.advance(749);
    assert.deepEqual(socket.take(), []);
    await clock.advance(1);
    assert.deepEqual(socket.take(), [{ type: "sub", name: "Todos" }]);
    socket.deliver({ type: "err", name: "Todos", error });
    await assert.rejects(again, { code });
    await clock.advance(1_499);
    assert.deepEqual(socket.take(), []);
    await clock.advance(1);
    assert.deepEqual(socket.take(), [{ type: "sub", name: "Todos" }]);
    socket.deliver(snap({ state: { items: ["a"] } }));
    await handle.ready();
    assert.equal(errors.length, 2);

    socket.deliver({ type: "err", name: "Todos", error });
    assert.deepEqual(handle.getState(), { items: ["a"] });
    assert.deepEqual([handle.hasData(), handle.isStale], [true, true]);
    await handle.ready();
    await clock.advance(750);
    assert.deepEqual(socket.take(), [{
      type: "sub",
      name: "Todos",
      token: TOKEN,
    }]);
    socket.deliver(resume({}));
    assert.equal(handle.isStale, false);
  });
}

Deno.test("A deleted store fires storeDeleted; its handles stop and keep the last state", async () => {
  const bench = await openClient();
  const { client, socket, errors } = bench;
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => deleted.push(name));
  let changes = 0;
  const handle = client.subscribe<Todos>("Todos", () => changes++);
  const waiting = client.subscribe("Empty");
  const ready = waiting.ready();
  await settle();
  socket.deliver(snap({ state: { items: ["a"] } }));

  socket.deliver(
    patch(2, ["items"], ["last"]),
    { type: "del", name: "Todos" },
    {
      type: "del",
      name: "Other",
    },
  );
  socket.deliver({ type: "del", name: "Empty" });
  await assert.rejects(ready, { code: "store_deleted" });
  assert.deepEqual(deleted, ["Todos", "Empty"]);
  socket.deliver(patch(3, ["items"], ["after"]));
  assert.deepEqual(handle.getState(), { items: ["last"] });
  assert.deepEqual([handle.hasData(), handle.isStale, changes], [
    true,
    true,
    2,
  ]);
  await handle.ready();

  const again = await redial(bench);
  again.welcome();
  await settle();
  assert.deepEqual(
    again.frames.slice(1),
    [],
    "it is not asked for on the next connection",
  );
  client.subscribe("Todos");
  await settle();
  assert.deepEqual(again.frames.slice(1), [{ type: "sub", name: "Todos" }]);
  assert.deepEqual(errors, []);
});

Deno.test("After a reconnect every store is asked for with its token, and goes on from there", async () => {
  const bench = await openClient();
  const { client } = bench;
  const seen: unknown[] = [];
  const todos = client.subscribe<Todos>("Todos", (state) => seen.push(state));
  const empty = client.subscribe("Empty");
  await settle();
  bench.socket.deliver(
    snap({ version: 7, writer: "w7", state: { items: ["a"] } }),
  );
  bench.socket.hangUp(1006);
  assert.equal(todos.isStale, true);
  assert.deepEqual(todos.getState(), { items: ["a"] });

  const socket = await nextSocket(bench);
  socket.deliver(patch(8, ["items"], ["before the welcome"]));
  socket.welcome();
  await settle();
  assert.deepEqual(socket.messages.slice(1), [[
    {
      type: "sub",
      name: "Todos",
      token: { epoch: "e1", version: 7, writer: "w7" },
    },
    { type: "sub", name: "Empty" },
  ]]);
  socket.deliver(patch(8, ["items"], ["by an old number"]));
  socket.deliver(
    resume({
      store: 5,
      from: 7,
      version: 9,
      patch: [{ op: "add", path: ["items", 1], value: "b" }],
    }),
    patch(10, ["items", 0], "A", { store: 5 }),
    snap({ store: 6, name: "Empty", state: null }),
  );
  assert.deepEqual(todos.getState(), { items: ["A", "b"] });
  assert.deepEqual(seen, [{ items: ["a"] }, { items: ["A", "b"] }]);
  assert.equal(empty.getState(), null);
  assert.equal(todos.isStale, false);
});

Deno.test("isStale and lastSyncedAt tell when the state was last known to be current", async () => {
  const bench = await openClient();
  const { client, clock, socket } = bench;
  const handle = client.subscribe("Todos");
  await settle();
  assert.deepEqual([handle.isStale, handle.lastSyncedAt], [true, undefined]);
  const start = clock.now();
  socket.deliver(snap({ state: 1 }));
  assert.deepEqual([handle.isStale, handle.lastSyncedAt], [false, start]);
  await clock.advance(5_000);
  socket.deliver({ type: "pong" });
  assert.equal(
    handle.lastSyncedAt,
    start + 5_000,
    "that the server speaks shows that nothing is missing",
  );
  await clock.advance(1_000);
  socket.deliver(patch(9, [], 9));
  assert.deepEqual(
    [handle.isStale, handle.lastSyncedAt],
    [true, start + 5_000],
    "a gap",
  );
  socket.deliver(snap({ version: 9, state: 9 }));
  assert.deepEqual([handle.isStale, handle.lastSyncedAt], [
    false,
    start + 6_000,
  ]);

  const again = await redial(bench);
  again.welcome();
  assert.deepEqual([handle.isStale, handle.lastSyncedAt], [
    true,
    start + 6_000,
  ]);
  handle.unsubscribe();
  again.deliver({ type: "pong" });
  assert.deepEqual([handle.isStale, handle.lastSyncedAt], [
    true,
    start + 6_000,
  ]);
});
