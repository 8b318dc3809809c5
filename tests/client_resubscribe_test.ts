/** A store that is subscribed again while answers to the subscription before are on their way. */
import assert from "node:assert/strict";
import type { Client } from "../client/mod.ts";
import { decodeDown } from "../protocol/codec.ts";
import type { DownFrame, UpFrame } from "../protocol/frames.ts";
import { PartJoiner } from "../protocol/parts.ts";
import { settle } from "./_fake_clock.ts";
import { openClient, patch, redial, resume, snap } from "./_fake_socket.ts";
import { openServerBench } from "./_server_bench.ts";
import { until } from "./_waiting.ts";

interface Todos {
  items: string[];
}

const SUB: UpFrame = { type: "sub", name: "Todos" };
const UNSUB: UpFrame = { type: "unsub", name: "Todos" };
const PING: UpFrame = { type: "ping" };
const PONG: DownFrame = { type: "pong" };

const OLD = snap({ state: { items: ["old"] } });
const NEW = snap({ version: 2, state: { items: ["new"] } });
const NOT_NOW: DownFrame = {
  type: "err",
  name: "Todos",
  error: { code: "unavailable", message: "Not now" },
};
const MISSING: DownFrame = {
  type: "err",
  name: "Todos",
  error: { code: "store_missing", message: "No store Todos" },
};

/** Leaves the store and subscribes to it again, before anything of it has come. */
async function resubscribe(client: Client) {
  client.subscribe<Todos>("Todos").unsubscribe();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  return handle;
}

Deno.test("unsubscribe() and subscribe() in one tick have the barrier between them on the wire", async () => {
  const { client, socket } = await openClient();
  const handle = await resubscribe(client);
  assert.deepEqual(socket.messages.slice(1), [[SUB, UNSUB, PING, SUB]]);
  socket.deliver(OLD, PONG);
  assert.deepEqual([handle.hasData(), handle.isStale], [false, true]);
  socket.deliver(NEW, patch(3, ["items"], ["newer"]));
  assert.deepEqual(handle.getState(), { items: ["newer"] });
  assert.equal(handle.isStale, false);
});

Deno.test("A snapshot of the subscription before does not make the next one live: calls show their writes", async () => {
  const { client, socket } = await openClient();
  const first = client.subscribe<Todos>("Todos");
  await settle();
  first.unsubscribe();
  const call = client.call("add");
  await settle();
  const seen: unknown[] = [];
  const handle = client.subscribe<Todos>(
    "Todos",
    (state) => seen.push(state.items),
  );
  await settle();
  const [sent] = socket.takeCalls();
  // The server has handled the unsub when it answers: nothing holds the answer back.
  socket.deliver(OLD);
  socket.deliver(PONG, { type: "res", id: sent!.id, value: 2 });
  assert.equal(await call, 2);
  assert.deepEqual([handle.getState(), handle.isStale], [undefined, true]);
  assert.deepEqual(first.getState(), undefined);

  socket.deliver(NEW);
  await handle.ready();
  assert.deepEqual([seen, handle.isStale], [[["new"]], false]);
  assert.deepEqual(socket.take(), []);
});

Deno.test("A resume of the subscription before is no gap of the next one", async () => {
  const bench = await openClient();
  const first = bench.client.subscribe<Todos>("Todos");
  await settle();
  bench.socket.deliver(OLD);
  const socket = await redial(bench);
  socket.welcome();
  await settle();
  first.unsubscribe();
  const handle = bench.client.subscribe<Todos>("Todos");
  await settle();
  const token = { epoch: "e1", version: 1, writer: "w1" };
  assert.deepEqual(socket.take().slice(1), [
    { ...SUB, token },
    UNSUB,
    PING,
    SUB,
  ]);
  socket.deliver(resume({}));
  await settle();
  assert.deepEqual(socket.take(), [], "it is not asked for once more");
  assert.deepEqual([handle.hasData(), handle.isStale], [false, true]);
  socket.deliver(PONG, NEW);
  assert.deepEqual(handle.getState(), { items: ["new"] });
});

Deno.test("A deletion that the subscription before was told of does not end the next one", async () => {
  const { client, socket } = await openClient();
  const deleted: string[] = [];
  client.on("storeDeleted", (name) => deleted.push(name));
  const handle = await resubscribe(client);
  socket.deliver({ type: "del", name: "Todos" });
  socket.deliver(PONG);
  socket.deliver(NEW);
  await handle.ready();
  assert.deepEqual([handle.getState()?.items, deleted], [["new"], []]);

  socket.deliver({ type: "del", name: "Todos" });
  assert.deepEqual([handle.isStale, deleted], [true, ["Todos"]]);
});

for (const stale of [NOT_NOW, MISSING]) {
  Deno.test(`An error of the subscription before is none of the next one: ${stale.error.code}`, async () => {
    const { client, socket, clock, errors } = await openClient({}, {
      heartbeatMs: 0,
    });
    const handle = await resubscribe(client);
    const ready = handle.ready();
    socket.take();
    socket.deliver(stale);
    await clock.advance(60_000);
    assert.deepEqual([socket.take(), errors], [[], []]);
    socket.deliver(PONG, NEW);
    await ready;
    assert.deepEqual(handle.getState(), { items: ["new"] });

    socket.deliver(stale);
    assert.deepEqual([handle.isStale, errors.length], [true, 1]);
    handle.unsubscribe();
  });
}

Deno.test("After several cycles only the answer behind the last barrier counts", async () => {
  const { client, socket } = await openClient();
  const handles = [];
  for (let cycle = 0; cycle < 3; cycle++) {
    handles.push(client.subscribe<Todos>("Todos"));
    await settle();
    handles.at(-1)!.unsubscribe();
    await settle();
  }
  const last = client.subscribe<Todos>("Todos");
  await settle();
  assert.deepEqual(
    socket.take(),
    [SUB, UNSUB, PING, SUB, UNSUB, PING, SUB, UNSUB, PING, SUB],
  );
  for (let cycle = 0; cycle < 3; cycle++) {
    socket.deliver(OLD);
    assert.equal(last.hasData(), false, `answer ${cycle}`);
    socket.deliver(PONG);
  }
  socket.deliver(NEW);
  assert.deepEqual(last.getState(), { items: ["new"] });
  assert.deepEqual(handles.map((handle) => handle.hasData()), [
    false,
    false,
    false,
  ]);
});

Deno.test("Barriers of several stores are passed one by one, each by its own pong", async () => {
  const { client, socket } = await openClient();
  const names = ["A", "B"];
  for (const name of names) client.subscribe(name).unsubscribe();
  const [a, b] = names.map((name) => client.subscribe(name));
  await settle();
  const both = (state: string) =>
    names.map((name, index) => snap({ name, store: index + 1, state }));
  socket.deliver(PONG, ...both("one"));
  assert.deepEqual([a!.getState(), b!.getState()], ["one", undefined]);
  socket.deliver(PONG, ...both("two"));
  assert.deepEqual([a!.getState(), b!.getState()], ["one", "two"]);
});

Deno.test("The pong of a heartbeat is not taken for that of a barrier behind it", async () => {
  const { client, socket, clock } = await openClient({}, {
    heartbeatMs: 10_000,
  });
  const first = client.subscribe<Todos>("Todos");
  await settle();
  await clock.advance(10_000);
  first.unsubscribe();
  const handle = client.subscribe<Todos>("Todos");
  await settle();
  assert.deepEqual(socket.take(), [SUB, PING, UNSUB, PING, SUB]);
  socket.deliver(PONG);
  socket.deliver(OLD);
  assert.equal(handle.hasData(), false);
  socket.deliver(PONG);
  socket.deliver(NEW);
  assert.deepEqual(handle.getState(), { items: ["new"] });
});

Deno.test("A heartbeat behind a barrier does not keep it closed", async () => {
  const { client, socket, clock, wake } = await openClient({}, {
    heartbeatMs: 10_000,
  });
  const handle = await resubscribe(client);
  wake();
  assert.deepEqual(socket.take(), [SUB, UNSUB, PING, SUB, PING]);
  socket.deliver(OLD, PONG);
  assert.equal(handle.hasData(), false);
  socket.deliver(NEW, PONG);
  assert.deepEqual(handle.getState(), { items: ["new"] });
  await clock.advance(9_999);
  assert.equal(socket.closedWith, undefined);
});

Deno.test("A barrier does not outlive its connection, sent or not", async () => {
  for (const isSent of [true, false]) {
    const bench = await openClient();
    const { client } = bench;
    const first = client.subscribe<Todos>("Todos");
    await settle();
    first.unsubscribe();
    if (isSent) await settle();
    const handle = client.subscribe<Todos>("Todos");
    const socket = await redial(bench);
    socket.welcome();
    await settle();
    assert.deepEqual(socket.take().slice(1), [SUB]);
    socket.deliver(NEW);
    assert.deepEqual(handle.getState(), { items: ["new"] });

    // Nor does its place among the pings: the first pong here is that of the first ping here.
    handle.unsubscribe();
    const again = client.subscribe<Todos>("Todos");
    await settle();
    socket.deliver(OLD, PONG, NEW);
    assert.deepEqual(again.getState(), { items: ["new"] });
  }
});

Deno.test("Server sends a pong behind all that the subscription before has got, also where that waits in parts", async () => {
  await using bench = await openServerBench({
    limits: { outboxBytes: 64 * 1024 },
  });
  await bench.entries.update((draft) => {
    draft.items.push("x".repeat(40_000));
  });
  const socket = bench.connect();
  socket.deliver({ type: "hello", protocol: 1, parts: true });
  await until(() => socket.messages.length > 0);
  socket.isHeld = true;
  socket.deliver({ type: "sub", name: "Entries" });
  await until(() => socket.messages.length > 1);
  socket.deliver(
    { type: "unsub", name: "Entries" },
    PING,
    { type: "sub", name: "Entries" },
  );
  await settle();
  const types = () => readAll(socket.messages).map(({ type }) => type);
  assert.deepEqual(types(), ["welcome"], "the snapshot has begun, no more");
  socket.drain();
  await until(() => types().length === 4, {
    describe: () => types().join(" "),
  });
  assert.deepEqual(types(), ["welcome", "snap", "pong", "snap"]);
});

/** What a client reads from these messages, joined where they are parts. */
function readAll(messages: readonly Uint8Array[]): DownFrame[] {
  const joiner = new PartJoiner();
  return messages.flatMap((bytes) => {
    const message = joiner.isExpecting ? joiner.take(bytes) : bytes;
    const frames = message ? decodeDown(message) : [];
    const [first] = frames;
    if (first?.type !== "parts") return frames;
    joiner.expect(first.bytes);
    return [];
  });
}
