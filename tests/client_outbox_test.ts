import assert from "node:assert/strict";
import { HeadwaterError, LimitError } from "../client/mod.ts";
import type { CallFrame } from "../protocol/frames.ts";
import { settle } from "./_fake_clock.ts";
import {
  idleClient,
  nextSocket,
  openClient,
  patch,
  redial,
  snap,
} from "./_fake_socket.ts";

/** What became of a promise so far. */
async function fate(promise: Promise<unknown>): Promise<unknown> {
  let found: unknown = "pending";
  promise.then(
    (value) => found = value,
    (error: HeadwaterError) =>
      found = `${error.message} (${error.code}, ${error.outcome})`,
  );
  await settle();
  return found;
}

/** The numbers of calls. */
function ids(calls: readonly CallFrame[]): number[] {
  return calls.map((call) => call.id);
}

Deno.test("call() resolves with the result, and with undefined where there is none", async () => {
  const { client, socket } = await openClient();
  const a = client.call<{ sum: number }>("add", { by: 2 });
  const b = client.call("nothing");
  await settle();
  assert.deepEqual(socket.take(), [
    {
      type: "rpc",
      id: 1,
      name: "add",
      args: { by: 2 },
      oldest: 1,
      elapsedMs: 0,
    },
    { type: "rpc", id: 2, name: "nothing", oldest: 1, elapsedMs: 0 },
  ]);
  assert.equal(client.unackedCount, 2);
  socket.deliver({ type: "res", id: 2 }, {
    type: "res",
    id: 1,
    value: { sum: 2 },
  });
  assert.deepEqual(await a, { sum: 2 });
  assert.equal(await b, undefined);
  assert.equal(client.unackedCount, 0);
});

Deno.test("call() rejects with what the function threw", async () => {
  const { client, socket } = await openClient();
  const call = client.call("pay");
  await settle();
  socket.deliver({
    type: "res",
    id: 1,
    error: {
      code: "function_failed",
      message: "Card declined",
      data: { retry: false },
      path: "/card",
    },
  });
  await assert.rejects(call, (error) => {
    assert(error instanceof HeadwaterError);
    assert.deepEqual(
      [error.code, error.message, error.data, error.path],
      ["function_failed", "Card declined", { retry: false }, "/card"],
    );
    return true;
  });
});

Deno.test("call() takes its arguments as they are at that moment", async () => {
  const { client, socket } = await openClient();
  const args = { list: [1], gone: undefined };
  void client.call("a", args);
  args.list.push(2);
  await settle();
  assert.deepEqual(socket.takeCalls()[0]!.args, { list: [1] });
});

Deno.test("call() rejects what cannot be shared, and sends nothing", async () => {
  const { client, socket } = await openClient();
  await assert.rejects(client.call("a", { at: new Date() }), {
    code: "bad_value",
    path: "/at",
  });
  await assert.rejects(client.call(""), { code: "bad_name" });
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(client.unackedCount, 0);
});

Deno.test("All frames of one tick leave in one message, subscriptions before calls", async () => {
  const { client, socket } = await openClient();
  const before = socket.messages.length;
  void client.call("a");
  client.subscribe("Todos");
  void client.call("b");
  await settle();
  assert.deepEqual(
    socket.messages.slice(before).map((message) =>
      message.map(({ type }) => type)
    ),
    [["sub", "rpc", "rpc"]],
  );
});

Deno.test("call() before connecting is sent after the welcome", async () => {
  const { client, network } = idleClient();
  const call = client.call("a");
  client.connect("ws://test/");
  network.socket.accept();
  void client.call("b");
  await settle();
  assert.deepEqual(network.socket.frames, [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
  }]);
  network.socket.welcome();
  await settle();
  assert.deepEqual(ids(network.socket.takeCalls()), [1, 2]);
  network.socket.deliver({ type: "res", id: 1, value: 7 });
  assert.equal(await call, 7);
});

Deno.test("oldest is the lowest call that is still awaited", async () => {
  const { client, socket } = await openClient();
  for (const name of ["a", "b", "c"]) void client.call(name);
  await settle();
  socket.deliver({ type: "res", id: 2 });
  void client.call("d");
  await settle();
  socket.deliver({ type: "res", id: 1 });
  void client.call("e");
  await settle();
  socket.deliver({ type: "res", id: 3 }, { type: "res", id: 4 }, {
    type: "res",
    id: 5,
  });
  void client.call("f");
  await settle();
  assert.deepEqual(
    socket.takeCalls().map(({ id, oldest }) => [id, oldest]),
    [[1, 1], [2, 1], [3, 1], [4, 1], [5, 3], [6, 6]],
  );
});

Deno.test("A call's result is given after the patches of its message and the listeners of the state", async () => {
  const { client, socket } = await openClient();
  const log: string[] = [];
  const handle = client.subscribe<number>(
    "Counter",
    (state) => log.push(`listener ${state}`),
  );
  await settle();
  socket.deliver(snap({ name: "Counter", state: 0 }));
  client.on("note", () => log.push(`event ${handle.getState()}`));
  const call = client.call("add").then((value) =>
    log.push(`result ${value} ${handle.getState()}`)
  );
  await settle();
  socket.deliver(
    { type: "res", id: 1, value: "done" },
    { type: "evt", channel: "note" },
    patch(2, [], 1),
    patch(3, [], 2),
  );
  log.push("message applied");
  await call;
  assert.deepEqual(log, [
    "listener 0",
    "listener 2",
    "event 2",
    "message applied",
    "result done 2",
  ]);
});

Deno.test("After a resumed session unanswered calls are sent again in order, under the same numbers", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity });
  const { client, clock } = bench;
  await clock.advance(1_500);
  const calls = ["a", "b", "c"].map((name) => client.call(name, { name }));
  await settle();
  const first = bench.socket.takeCalls();
  bench.socket.deliver({ type: "res", id: 2, value: "b" });
  const late = client.call("d"); // would be sent at the end of this tick
  bench.socket.hangUp(1006);

  const socket = await nextSocket(bench);
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    session: "session-1",
  }]);
  socket.deliver({
    type: "res",
    id: 1,
    value: "not an answer to anything on this connection",
  });
  socket.welcome({ resumed: true });
  await settle();
  assert.deepEqual(socket.takeCalls(), [
    { ...first[0], resent: true },
    { ...first[2], resent: true },
    { type: "rpc", id: 4, name: "d", oldest: 1, elapsedMs: 1_500 },
  ]);
  assert.deepEqual(first.map((call) => call.elapsedMs), [1_500, 1_500, 1_500]);
  for (const id of [4, 3, 1]) socket.deliver({ type: "res", id, value: id });
  assert.deepEqual(await Promise.all([...calls, late]), [1, "b", 3, 4]);
});

Deno.test("A call is sent again after a second loss as well, and once per connection", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity });
  void bench.client.call("a");
  void bench.client.call("b");
  await settle();
  let socket = await redial(bench);
  socket.welcome({ resumed: true });
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1, 2]);
  void bench.client.call("c");
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [3]);
  socket = await redial(bench); // lost again before the welcome
  socket = await redial(bench);
  socket.welcome({ resumed: true });
  await settle();
  assert.deepEqual(socket.takeCalls().map(({ id, resent }) => [id, resent]), [
    [1, true],
    [2, true],
    [
      3,
      true,
    ],
  ]);
});

Deno.test("Without the session, calls that were sent are unknown and the others are numbered anew", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity });
  const { client } = bench;
  const sent = client.call("sent");
  await settle();
  bench.socket.hangUp(1006);
  const waiting = client.call("waiting", { n: 1 });
  const socket = await nextSocket(bench);
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    session: "session-1",
  }]);
  socket.welcome({ resumed: false, session: "session-2" });
  assert.equal(
    await fate(sent),
    'Cannot tell whether "sent" took effect: its session is over (unknown, unknown)',
  );
  assert.deepEqual(socket.takeCalls(), [
    {
      type: "rpc",
      id: 1,
      name: "waiting",
      args: { n: 1 },
      oldest: 1,
      elapsedMs: 0,
    },
  ]);
  socket.deliver({ type: "res", id: 1, value: "fine" });
  assert.equal(await waiting, "fine");
});

Deno.test("The hello names the session only if answers are awaited, and the identity otherwise", async () => {
  const bench = await openClient();
  assert.deepEqual(bench.socket.frames[0], {
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
  });
  const call = bench.client.call("a");
  await settle();
  bench.socket.deliver({ type: "res", id: 1 });
  await call;
  const socket = await redial(bench);
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    identity: "session-1",
  }]);
  socket.welcome({ session: "session-2" });
  void bench.client.call("b");
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1]);
  assert.equal(bench.client.clientId, "client-1");
});

Deno.test("A session that is resumed although its calls have timed out meanwhile goes on counting", async () => {
  const bench = await openClient({ rpcTimeoutMs: 10_000 }, { heartbeatMs: 0 });
  const call = bench.client.call("a");
  await settle();
  bench.socket.hangUp(1006);
  await bench.clock.advance(750);
  const { socket } = bench.network;
  await bench.clock.advance(4_000);
  socket.accept();
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    session: "session-1",
  }]);
  await bench.clock.advance(5_250);
  assert.equal(await fate(call), "RPC timeout (timeout, unknown)");
  socket.welcome({ resumed: true });
  void bench.client.call("b");
  await settle();
  // Number 1 is taken in that session: the server would give the answer to the first call.
  assert.deepEqual(ids(socket.takeCalls()), [2]);
});

Deno.test("A call times out with what is known of it, is not sent again and not awaited", async () => {
  const bench = await openClient({ rpcTimeoutMs: 10_000 }, { heartbeatMs: 0 });
  const { client, clock } = bench;
  const sent = client.call("sent");
  await clock.advance(9_000);
  const later = client.call("later");
  await clock.advance(999);
  assert.equal(await fate(sent), "pending");
  await clock.advance(1);
  assert.equal(await fate(sent), "RPC timeout (timeout, unknown)");
  assert.equal(await fate(later), "pending");
  assert.equal(client.unackedCount, 1);

  void client.call("next");
  await settle();
  assert.deepEqual(
    bench.socket.takeCalls().map(({ id, oldest }) => [id, oldest]),
    [[1, 1], [2, 1], [3, 2]],
  );
  bench.socket.deliver({ type: "res", id: 1, value: "too late" });
  assert.equal(client.unackedCount, 2);

  bench.socket.hangUp(1006);
  const offline = client.call("offline");
  await clock.advance(10_000);
  assert.equal(
    await fate(offline),
    "RPC timeout: not connected to ws://test/ (timeout, notSent)",
  );
  assert.equal(client.unackedCount, 0);
  bench.network.socket.accept();
  bench.network.socket.welcome({ resumed: true });
  await settle();
  assert.deepEqual(bench.network.socket.takeCalls(), []);
});

Deno.test("destroy() rejects every call with what is known of it", async () => {
  const { client, clock } = await openClient();
  const sent = client.call("sent");
  await settle();
  const waiting = client.call("waiting");
  client.destroy();
  const after = client.call("after");
  assert.equal(await fate(sent), "Disconnected (disconnected, unknown)");
  assert.equal(await fate(waiting), "Disconnected (disconnected, notSent)");
  assert.equal(await fate(after), "Disconnected (disconnected, notSent)");
  assert.equal(client.unackedCount, 0);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("A loss without reconnect rejects every call", async () => {
  const { client, socket, clock } = await openClient({ reconnect: false });
  const sent = client.call("sent");
  await settle();
  socket.hangUp(1006);
  assert.equal(await fate(sent), "Disconnected (disconnected, unknown)");
  assert.equal(
    await fate(client.call("after")),
    "Disconnected (disconnected, notSent)",
  );
  assert.equal(client.status, "closed");
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("A call over the server's message limit is refused and takes no number", async () => {
  const { client, socket } = await openClient({}, { messageBytes: 200 });
  const calls = [
    client.call("a"),
    client.call("big", "x".repeat(200)),
    client.call("c"),
  ];
  await assert.rejects(calls[1]!, (error) => {
    assert(error instanceof LimitError);
    assert.deepEqual([error.limit, error.allowed, error.outcome], [
      "messageBytes",
      200,
      "notApplied",
    ]);
    assert(error.actual > 200);
    return true;
  });
  assert.deepEqual(socket.takeCalls().map(({ id, name }) => [id, name]), [[
    1,
    "a",
  ], [2, "c"]]);
});

Deno.test("A call that was sent and is too big for the next server has an unknown outcome", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity });
  const call = bench.client.call("big", "x".repeat(500));
  await settle();
  const socket = await redial(bench);
  socket.welcome({ resumed: true, messageBytes: 200 });
  assert.match(
    String(await fate(call)),
    /^Cannot tell whether "big" took effect.*\(unknown, unknown\)$/,
  );
  assert.deepEqual(socket.takeCalls(), []);
});

Deno.test("Calls in flight are bounded in bytes; the rest follow as answers come", async () => {
  const { client, socket } = await openClient({}, { messageBytes: 1_000 });
  const calls = Array.from(
    { length: 20 },
    (_, n) => client.call("a", "x".repeat(450 + n)),
  );
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1, 2, 3, 4]);
  assert(socket.sizes.every((size) => size <= 1_000));
  for (let id = 1; id <= 20; id++) {
    socket.deliver({ type: "res", id, value: id });
    await settle();
  }
  assert.deepEqual(
    await Promise.all(calls),
    Array.from({ length: 20 }, (_, n) => n + 1),
  );
});

Deno.test("Calls in flight are bounded anew on the next connection", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity }, {
    messageBytes: 1_000,
  });
  for (let n = 0; n < 6; n++) void bench.client.call("a", "x".repeat(450));
  await settle();
  assert.deepEqual(ids(bench.socket.takeCalls()), [1, 2, 3, 4]);
  const socket = await redial(bench);
  socket.welcome({ resumed: true, messageBytes: 1_000 });
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1, 2, 3, 4]);
  socket.deliver({ type: "res", id: 1 });
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [5]);
});

Deno.test("call() refuses more than 10,000 calls without an answer", async () => {
  const { client } = idleClient();
  const calls = Array.from({ length: 10_000 }, () => client.call("a"));
  await assert.rejects(client.call("a"), {
    name: "LimitError",
    limit: "pendingRequests",
    allowed: 10_000,
  });
  assert.equal(client.unackedCount, 10_000);
  client.destroy();
  const fates = new Set(
    await Promise.all(
      calls.map((call) => call.catch(({ message }) => message)),
    ),
  );
  assert.deepEqual(fates, new Set(["Disconnected"]));
});

const LIFE_MS = 100_000;

Deno.test("A session past half its life is renewed on the live connection before the next call", async () => {
  const { client, socket, clock } = await openClient({}, {
    sessionMs: LIFE_MS,
    heartbeatMs: 0,
  });
  let connected = 0;
  client.on("connected", () => connected++);
  const first = client.call("a");
  await settle();
  socket.deliver({ type: "res", id: 1 });
  await first;
  await clock.advance(LIFE_MS / 2 - 1);
  const young = client.call("b");
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1, 2]);
  socket.deliver({ type: "res", id: 2 });
  await young;

  await clock.advance(1);
  const call = client.call("c");
  await clock.advance(500);
  const handle = client.subscribe("Todos");
  await settle();
  assert.deepEqual(socket.take(), [
    {
      type: "hello",
      protocol: 1,
      parts: true,
      own: true,
      identity: "session-1",
    },
    { type: "sub", name: "Todos" },
  ]);
  assert.equal(client.status, "connected");
  socket.welcome({ session: "session-2", sessionMs: LIFE_MS, heartbeatMs: 0 });
  await settle();
  const [sent] = socket.takeCalls();
  assert.deepEqual([sent!.name, sent!.elapsedMs, sent!.oldest], [
    "c",
    0,
    sent!.id,
  ]);
  socket.deliver({ type: "res", id: sent!.id, value: "done" });
  assert.equal(await call, "done");
  assert.equal(connected, 0, "it is the same connection");

  await clock.advance(700);
  void client.call("d");
  await settle();
  assert.equal(socket.takeCalls()[0]!.elapsedMs, 700);
  handle.unsubscribe();
});

Deno.test("A late answer to a call of the session before is not taken for that of another call", async () => {
  const { client, socket, clock } = await openClient({}, {
    sessionMs: LIFE_MS,
    heartbeatMs: 0,
  });
  const slow = client.call("slow");
  await clock.advance(LIFE_MS / 2);
  assert.equal(await fate(slow), "RPC timeout (timeout, unknown)");
  const call = client.call("quick");
  await settle();
  socket.welcome({ session: "session-2", sessionMs: LIFE_MS, heartbeatMs: 0 });
  await settle();
  const { id } = socket.takeCalls().at(-1)!;
  socket.deliver({ type: "res", id: 1, value: "of slow" });
  socket.deliver({ type: "res", id, value: "of quick" });
  assert.equal(await call, "of quick");
});

Deno.test("A session is not renewed while answers are awaited; past three quarters new calls wait", async () => {
  const { client, socket, clock } = await openClient(
    { rpcTimeoutMs: Infinity },
    {
      sessionMs: LIFE_MS,
      heartbeatMs: 0,
    },
  );
  void client.call("long");
  await clock.advance(LIFE_MS * 0.6);
  void client.call("b");
  await settle();
  assert.deepEqual(ids(socket.takeCalls()), [1, 2]);
  await clock.advance(LIFE_MS * 0.15);
  void client.call("c");
  await settle();
  assert.deepEqual(socket.take(), []);
  socket.deliver({ type: "res", id: 2 });
  await settle();
  assert.deepEqual(socket.take(), []);
  socket.deliver({ type: "res", id: 1 });
  await settle();
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    identity: "session-1",
  }]);
  socket.welcome({ session: "session-2", sessionMs: LIFE_MS });
  await settle();
  assert.deepEqual(socket.takeCalls().map(({ name }) => name), ["c"]);
});

Deno.test("A call older than its session's life is not sent again", async () => {
  const bench = await openClient({ rpcTimeoutMs: Infinity }, {
    sessionMs: LIFE_MS,
    heartbeatMs: 0,
  });
  const { client, clock } = bench;
  const old = client.call("old");
  await clock.advance(LIFE_MS * 0.7);
  const young = client.call("young");
  await settle();
  await clock.advance(LIFE_MS * 0.3);
  const socket = await redial(bench);
  assert.match(
    String(await fate(old)),
    /^Cannot tell whether "old" took effect.*\(unknown, unknown\)$/,
  );
  assert.deepEqual(socket.take(), [{
    type: "hello",
    protocol: 1,
    parts: true,
    own: true,
    session: "session-1",
  }]);
  socket.welcome({ resumed: true });
  await settle();
  assert.deepEqual(
    socket.takeCalls().map(({ id, name, oldest }) => [id, name, oldest]),
    [[2, "young", 2]],
  );
  assert.equal(await fate(young), "pending");
});

Deno.test("A signal stops waiting, and sending where that has not happened yet", async () => {
  const { client, socket } = await openClient();
  const stop = new AbortController();
  const sent = client.call("sent", undefined, { signal: stop.signal });
  await settle();
  const waiting = client.call("waiting", undefined, { signal: stop.signal });
  const other = client.call("other");
  stop.abort(new Error("stopped"));
  await assert.rejects(sent, { message: "stopped" });
  await assert.rejects(waiting, { message: "stopped" });
  await assert.rejects(
    client.call("never", undefined, { signal: stop.signal }),
    { message: "stopped" },
  );
  assert.deepEqual(
    socket.takeCalls().map(({ id, name, oldest }) => [id, name, oldest]),
    [
      [1, "sent", 1],
      [2, "other", 2],
    ],
  );
  socket.deliver({ type: "res", id: 1 }, { type: "res", id: 2, value: 2 });
  assert.equal(await other, 2);
});
