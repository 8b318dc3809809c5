import assert from "node:assert/strict";
import { encodeFrame } from "../protocol/codec.ts";
import { CLOSE, PROTOCOL_VERSION } from "../protocol/frames.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { type HeldSocket, openServerBench } from "./_server_bench.ts";
import { until } from "./_waiting.ts";

const HELLO = { type: "hello", protocol: PROTOCOL_VERSION } as const;

Deno.test("Connection ends with 4002 where no hello comes within the deadline, not before", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { helloMs: 700 },
  });
  const silent = bench.connect();
  const polite = bench.connect();
  await polite.hello();
  await clock.advance(699);
  assert.equal(silent.code(), undefined);
  await clock.advance(1);
  assert.equal(silent.code(), CLOSE.helloTimeout);
  assert.match(silent.reason(), /700 ms/);
  assert.equal(polite.code(), undefined);
});

for (
  const frame of [
    { type: "ping" },
    { type: "sub", name: "Entries" },
    { type: "unsub", name: "Entries" },
    {
      type: "rpc",
      id: 1,
      oldest: 1,
      elapsedMs: 0,
      name: "entries.add",
      args: { label: "a" },
    },
  ] as const
) {
  Deno.test(`Connection ends with 4000 at "${frame.type}" before hello, and does nothing`, async () => {
    await using bench = await openServerBench();
    const socket = bench.connect();
    socket.deliver(frame, HELLO);
    assert.equal(socket.code(), CLOSE.badFrame);
    assert.equal(
      socket.reason(),
      `Expected a hello, got "${frame.type}"`,
    );
    await settle();
    assert.deepEqual(socket.messages, []);
    assert.deepEqual((await bench.entries.get()).items, []);
    assert.equal((await bench.server.health())["connections"], 0);
  });
}

Deno.test("Connection handles what follows a hello in the same message", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  socket.deliver(HELLO, { type: "sub", name: "Entries" }, { type: "ping" });
  await socket.next("snap");
  assert.deepEqual(socket.frames.map(({ type }) => type).sort(), [
    "pong",
    "snap",
    "welcome",
  ]);
  assert.equal(
    socket.frames[0]?.type,
    "welcome",
    "nothing comes before the welcome",
  );
});

Deno.test("Connection says hello again for a fresh session, and keeps its subscriptions", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  const first = await socket.hello();
  socket.deliver({ type: "sub", name: "Entries" });
  await socket.next("snap");
  const second = await socket.hello({ identity: first.session });
  assert.equal(second.clientId, first.clientId);
  assert.notEqual(second.session, first.session);
  assert.equal(second.resumed, false);
  await bench.entries.update((draft) => void draft.items.push("a"));
  await socket.next("patch");
  assert.equal(socket.code(), undefined);
});

Deno.test("Connection ends with 4001 at another protocol version", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect();
  socket.deliver({ type: "hello", protocol: PROTOCOL_VERSION + 1 });
  await until(() => socket.closedWith);
  assert.equal(socket.code(), CLOSE.badVersion);
  assert.match(
    socket.reason(),
    new RegExp(`protocol ${PROTOCOL_VERSION}, not 2`),
  );
});

Deno.test("Connection ends with 4000 at a text message", async () => {
  await using bench = await openServerBench();
  for (const isWelcomed of [false, true]) {
    const socket = bench.connect();
    if (isWelcomed) await socket.hello();
    socket.deliver("hello");
    assert.equal(socket.code(), CLOSE.badFrame);
  }
});

Deno.test("Connection ends with 4004 at a message over the limit, and takes one at it", async () => {
  await using bench = await openServerBench({
    limits: { messageBytes: 1_000 },
  });
  const frame = (bytes: number) => {
    const call = (text: string) =>
      encodeFrame({
        type: "rpc",
        id: 1,
        oldest: 1,
        elapsedMs: 0,
        name: "echo",
        args: text,
      });
    // A text of such a length has a head of three bytes.
    return call("x".repeat(bytes - call("x".repeat(300)).byteLength + 300));
  };
  const socket = bench.connect();
  assert.equal((await socket.hello()).messageBytes, 1_000);
  assert.equal(frame(1_000).byteLength, 1_000);
  socket.deliver(frame(1_000));
  await socket.next("res");
  socket.deliver(frame(1_001));
  assert.deepEqual(socket.closedWith, {
    code: CLOSE.tooBig,
    reason:
      "Cannot take the message: 1001 is over the limit messageBytes of 1000",
  });
});

Deno.test("Connection ends with 4005 where more waits in its inbox than may", async () => {
  const gate = Promise.withResolvers<void>();
  await using bench = await openServerBench({
    limits: { callsPerConnection: 1, inboxBytes: 4_000 },
    define: (server) => server.handle("slow", () => gate.promise),
  });
  const socket = bench.connect();
  const other = bench.connect();
  await other.subscribe("Entries");
  await socket.hello();
  const call = (id: number, name: string) =>
    ({
      type: "rpc",
      id,
      oldest: 1,
      elapsedMs: 0,
      name,
      args: "x".repeat(900),
    }) as const;
  socket.deliver(call(1, "slow"));
  for (let id = 2; id <= 6; id++) {
    assert.equal(socket.code(), undefined, `closed before call ${id}`);
    socket.deliver(call(id, "echo"));
  }
  assert.equal(socket.code(), CLOSE.flooding);
  assert.match(socket.reason(), /inboxBytes of 4000/);
  await bench.entries.update((draft) => void draft.items.push("others go on"));
  await other.next("patch");
  gate.resolve();
});

Deno.test("Connection counts what small messages cost beside their bytes", async () => {
  const gate = Promise.withResolvers<void>();
  await using bench = await openServerBench({
    limits: { callsPerConnection: 1, inboxBytes: 10_000 },
    define: (server) => server.handle("slow", () => gate.promise),
  });
  const socket = bench.connect();
  await socket.hello();
  socket.deliver({ type: "rpc", id: 1, oldest: 1, elapsedMs: 0, name: "slow" });
  let pings = 0;
  for (; pings < 1_000 && socket.code() === undefined; pings++) {
    socket.deliver({ type: "ping" });
  }
  assert.equal(socket.code(), CLOSE.flooding);
  assert.ok(pings < 200, `${pings} messages were taken`);
  gate.resolve();
});

Deno.test("Connection runs so many calls at once and no more, the others in order behind them", async () => {
  const running: number[] = [];
  const gates = new Map<number, () => void>();
  await using bench = await openServerBench({
    limits: { callsPerConnection: 3 },
    define: (server) =>
      server.handle("slow", (n: number) => {
        running.push(n);
        return new Promise<void>((resolve) => gates.set(n, resolve));
      }),
  });
  const socket = bench.connect();
  await socket.hello();
  socket.deliver(
    ...[1, 2, 3, 4, 5].map((id) =>
      ({
        type: "rpc",
        id,
        oldest: 1,
        elapsedMs: 0,
        name: "slow",
        args: id,
      }) as const
    ),
  );
  await until(() => running.length >= 3);
  await settle();
  assert.deepEqual(running, [1, 2, 3]);
  gates.get(2)?.();
  await until(() => running.length >= 4);
  assert.deepEqual(running, [1, 2, 3, 4]);
  for (const n of [1, 3, 4]) gates.get(n)?.();
  await until(() => running.length === 5);
  gates.get(5)?.();
  await until(() =>
    socket.frames.filter(({ type }) => type === "res").length === 5
  );
});

Deno.test("Connection ends with 4009 after two and a half heartbeats of silence, by one timer for all", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({ clock, heartbeatMs: 1_000 });
  const sockets = [bench.connect(), bench.connect()];
  for (const socket of sockets) {
    assert.equal((await socket.hello()).heartbeatMs, 1_000);
  }
  const [silent, living] = sockets;
  for (let ms = 0; ms < 2_500; ms += 500) {
    assert.equal(silent?.code(), undefined, `closed after ${ms} ms`);
    living?.deliver({ type: "ping" });
    await clock.advance(500);
  }
  await clock.advance(500);
  assert.equal(silent?.code(), CLOSE.silent);
  assert.equal(living?.code(), undefined);
  assert.equal((await bench.server.health())["connections"], 1);
});

Deno.test("Connection may be silent for ever where there is no heartbeat", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({ clock, heartbeatMs: 0 });
  const socket = bench.connect();
  assert.equal((await socket.hello()).heartbeatMs, 0);
  await clock.advance(120_000);
  assert.equal(socket.code(), undefined);
});

Deno.test("Connection's inbox stands while its outbox is full: answers do not grow", async () => {
  const clock = new FakeClock();
  let runs = 0;
  await using bench = await openServerBench({
    clock,
    limits: { outboxBytes: 10_000, inboxBytes: 100_000 },
    define: (server) =>
      server.handle("big", () => {
        runs++;
        return "x".repeat(2_000);
      }),
  });
  const socket = bench.connect();
  await socket.hello();
  socket.isHeld = true;
  for (let id = 1; id <= 100; id++) {
    socket.deliver({ type: "rpc", id, oldest: id, elapsedMs: 0, name: "big" });
    await settle();
  }
  await settle();
  assert.ok(
    runs < 10,
    `${runs} calls were run for a client that does not read`,
  );
  assert.ok(
    socket.bufferedBytes < 20_000,
    `${socket.bufferedBytes} bytes wait`,
  );
  assert.equal(socket.code(), undefined);
  socket.drain();
  await clock.advance(20);
  await until(async () => {
    await clock.advance(20);
    return runs === 100;
  });
  await until(() =>
    socket.frames.filter(({ type }) => type === "res").length === 100
  );
});

Deno.test("Connection that stalls is evicted with 4008, and nothing of it is left", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { outboxBytes: 10_000, stallMs: 2_000 },
  });
  const slow = bench.connect("10.0.0.1");
  const quick = bench.connect("10.0.0.1");
  await slow.subscribe("Big");
  await quick.subscribe("Big");
  // The snapshots are taken.
  await clock.advance(20);
  slow.isHeld = true;
  for (let n = 0; n < 30; n++) {
    await bench.big.update((draft) => {
      draft.title = `${n}`.padEnd(1_000);
    });
  }
  await until(async () => {
    await clock.advance(20);
    return quick.frames.some((frame) =>
      frame.type === "patch" && frame.version === 31
    );
  });
  assert.equal(bench.big.subscriberCount(), 2);
  assert.ok(slow.bufferedBytes <= 12_000, `${slow.bufferedBytes} bytes wait`);
  await clock.advance(2_100);
  assert.equal(slow.code(), undefined, "it was heard not long ago");
  await clock.advance(2_000);
  assert.equal(slow.code(), CLOSE.tooSlow);
  assert.equal(quick.code(), undefined);
  assert.equal(bench.big.subscriberCount(), 1);
  assert.equal((await bench.server.health())["connections"], 1);
});

Deno.test("Connection that is slow gets one delta once it reads again, in place of every patch", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { outboxBytes: 10_000 },
  });
  const slow = bench.connect();
  await slow.subscribe("Big");
  await clock.advance(20);
  slow.isHeld = true;
  slow.bufferedBytes = 10_001;
  const before = slow.messages.length;
  for (let n = 1; n <= 50; n++) {
    await bench.big.update((draft) => {
      draft.rows[n % 2]!.text = `${n}`;
    });
  }
  await settle();
  assert.equal(
    slow.messages.length,
    before,
    "it is sent something while it does not read",
  );
  slow.drain();
  await clock.advance(20);
  const patch = await slow.next("patch");
  assert.equal(slow.messages.length, before + 1);
  assert.deepEqual([patch.from, patch.version], [1, 51]);
  assert.deepEqual(
    patch.patch.map((step) => "value" in step && step.value).sort(),
    ["49", "50"],
    "what was overwritten meanwhile is left out",
  );
});

Deno.test("Connection that is slow gets one snapshot where that is shorter than what it missed", async () => {
  const clock = new FakeClock();
  await using bench = await openServerBench({
    clock,
    limits: { outboxBytes: 10_000 },
  });
  const slow = bench.connect();
  const { version } = await slow.subscribe("Entries");
  await clock.advance(20);
  slow.isHeld = true;
  slow.bufferedBytes = 10_001;
  const before = slow.messages.length;
  for (let n = 1; n <= 30; n++) {
    const label = `${n}`.padEnd(20_000);
    await bench.entries.update((draft) => {
      draft.items = [label];
    });
  }
  slow.drain();
  await clock.advance(20);
  await until(() => slow.messages.length > before);
  const frames = slow.frames.slice(2);
  assert.equal(frames.length, 1);
  const [frame] = frames;
  assert.ok(frame?.type === "snap" || frame?.type === "patch");
  assert.equal(frame.version, version + 30);
  assert.ok(
    slow.messages.at(-1)!.byteLength < 25_000,
    `${slow.messages.at(-1)!.byteLength} bytes`,
  );
});

Deno.test("Connections that are slow are held to the server's budget together, and each is right in the end", async () => {
  const clock = new FakeClock();
  const count = 60;
  const bytes = 50_000;
  const budget = 1024 * 1024;
  await using bench = await openServerBench({
    clock,
    limits: { outboxTotalBytes: budget },
  });
  const quick = bench.connect();
  const slow = Array.from({ length: count }, () => bench.connect());
  for (const socket of [quick, ...slow]) await socket.subscribe("Entries");
  for (const socket of slow) socket.isHeld = true;
  const waiting = () =>
    slow.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0);
  for (let n = 1; n <= 20; n++) {
    await bench.entries.update((draft) => {
      draft.items = [`${n}`.padEnd(bytes)];
    });
    await clock.advance(20);
  }
  // By their own bounds alone they would hold 60 times 256 KiB. One frame each may be over the budget.
  const most = budget + count * (bytes + 100);
  assert.ok(waiting() <= most, `${waiting()} bytes wait, ${most} are allowed`);
  const newest = ({ frames }: HeldSocket) =>
    frames.findLast(({ type }) => type === "patch");
  const expected = newest(quick);
  assert.equal(
    expected?.type === "patch" && expected.version,
    21,
    "who reads gets everything",
  );
  for (const socket of slow) socket.drain();
  await until(async () => {
    await clock.advance(20);
    return slow.every((socket) => newest(socket)?.type === "patch");
  });
  for (const socket of slow) {
    const last = socket.frames.at(-1);
    assert.ok(last?.type === "patch" || last?.type === "snap");
    assert.equal(last.version, 21);
  }
});

Deno.test("Connection ends once, however often it is told that the socket is gone", async () => {
  await using bench = await openServerBench();
  const socket = bench.connect("10.0.0.1");
  await socket.subscribe("Entries");
  socket.hangUp();
  socket.hangUp();
  socket.deliver({ type: "ping" });
  await settle();
  assert.equal((await bench.server.health())["connections"], 0);
  assert.equal(bench.entries.subscriberCount(), 0);
  const next = bench.connect("10.0.0.1");
  await next.subscribe("Entries");
  assert.equal((await bench.server.health())["connections"], 1);
});

Deno.test("Connections from one address are limited, loopback only where that is set", async () => {
  const cases: [
    address: string,
    limits: { connectionsPerAddress?: number },
    allowed: number,
  ][] = [
    ["10.0.0.1", { connectionsPerAddress: 2 }, 2],
    ["127.0.0.1", { connectionsPerAddress: 2 }, 2],
    ["::1", { connectionsPerAddress: 2 }, 2],
    ["127.0.0.1", {}, 300],
    ["::1", {}, 300],
    ["::ffff:127.0.0.1", {}, 300],
    ["10.0.0.1", {}, 256],
  ];
  for (const [address, limits, allowed] of cases) {
    await using bench = await openServerBench({ limits });
    const sockets = Array.from({ length: 300 }, () => bench.connect(address));
    const refused = sockets.filter(({ closedWith }) =>
      closedWith !== undefined
    );
    assert.equal(
      300 - refused.length,
      allowed,
      `${address} with ${JSON.stringify(limits)}`,
    );
    for (const { closedWith } of refused) {
      assert.equal(closedWith?.code, CLOSE.full);
    }
    // Another address is not affected, and who leaves makes room.
    assert.equal(bench.connect("10.0.0.9").code(), undefined);
    sockets[0]!.hangUp();
    assert.equal(bench.connect(address).code(), undefined);
  }
});

Deno.test("Connections are limited altogether by 4013", async () => {
  await using bench = await openServerBench({ limits: { connections: 2 } });
  const [first, second, third] = [
    bench.connect(),
    bench.connect(),
    bench.connect(),
  ];
  assert.equal(first.code(), undefined);
  assert.equal(second.code(), undefined);
  assert.equal(third.code(), CLOSE.full);
  second.hangUp();
  assert.equal(bench.connect().code(), undefined);
});

Deno.test("Connection answers what runs before the server goes away, and is told 1001", async () => {
  const gate = Promise.withResolvers<string>();
  await using bench = await openServerBench({
    define: (server) => server.handle("slow", () => gate.promise),
  });
  const socket = bench.connect();
  await socket.hello();
  socket.deliver({ type: "rpc", id: 1, oldest: 1, elapsedMs: 0, name: "slow" });
  await settle();
  const closing = bench.server.close();
  const late = bench.connect();
  assert.equal(late.code(), CLOSE.goingAway);
  socket.deliver({ type: "rpc", id: 2, oldest: 1, elapsedMs: 0, name: "echo" });
  await settle();
  assert.equal(socket.code(), undefined);
  gate.resolve("done");
  await closing;
  const results = socket.frames.filter(({ type }) => type === "res");
  assert.deepEqual(
    results,
    [{ type: "res", id: 1, value: "done" }],
    "what comes while it drains is not begun",
  );
  assert.equal(socket.code(), CLOSE.goingAway);
});

Deno.test("Connection does not wait longer than the grace for a call that hangs, and its signal fires", async () => {
  const clock = new FakeClock();
  const hanging = Promise.withResolvers<void>();
  let signal: AbortSignal | undefined;
  await using bench = await openServerBench({
    clock,
    define: (server) =>
      server.handle("hangs", (_, context) => {
        signal = context.signal;
        return hanging.promise;
      }),
  });
  const socket = bench.connect();
  await socket.hello();
  socket.deliver({
    type: "rpc",
    id: 1,
    oldest: 1,
    elapsedMs: 0,
    name: "hangs",
  });
  await until(() => signal);
  const closing = bench.server.close();
  await clock.advance(1_999);
  assert.equal(socket.code(), undefined);
  await clock.advance(1);
  await closing;
  assert.equal(socket.code(), CLOSE.goingAway);
  assert.equal(signal?.aborted, true);
  hanging.resolve();
});
