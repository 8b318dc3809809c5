import assert from "node:assert/strict";
import type { CloseCause } from "../client/backoff.ts";
import { Connection } from "../client/connection.ts";
import { ConnectionMachine, toStatus } from "../client/connection_state.ts";
import { Heartbeat } from "../client/heartbeat.ts";
import { encodeFrame, joinFrames } from "../protocol/codec.ts";
import { HeadwaterError } from "../protocol/errors.ts";
import type { DownFrame } from "../protocol/frames.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { FakeNetwork } from "./_fake_socket.ts";

function open() {
  const clock = new FakeClock();
  const network = new FakeNetwork();
  const messages: (readonly DownFrame[])[] = [];
  const ends: [CloseCause, unknown][] = [];
  let opened = 0;
  let welcomed = () => {};
  const connection = new Connection({
    url: "ws://test/",
    WebSocket: network.WebSocket,
    clock,
  }, {
    opened: () => void opened++,
    welcomed: () => welcomed(),
    message: (frames) => void messages.push(frames),
    ended: (cause, error) => void ends.push([cause, error]),
  });
  connection.open();
  const onWelcome = (run: () => void) => welcomed = run;
  return {
    clock,
    network,
    messages,
    ends,
    connection,
    onWelcome,
    opened: () => opened,
  };
}

Deno.test("Connection offers the subprotocol and asks for array buffers", () => {
  const { network } = open();
  assert.equal(network.socket.url, "ws://test/");
  assert.equal(network.socket.protocol, "headwater.v1");
  assert.equal(network.socket.binaryType, "arraybuffer");
});

Deno.test("Connection ends if the socket does not open in 10 s", async () => {
  const { clock, network, ends } = open();
  await clock.advance(9_999);
  assert.deepEqual(ends, []);
  await clock.advance(1);
  assert.deepEqual(ends, [[
    { code: 1006, reason: "no welcome within 10000 ms" },
    undefined,
  ]]);
  assert(network.socket.closedWith);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Connection ends if the server does not welcome in 10 s", async () => {
  const { clock, network, ends, connection } = open();
  await clock.advance(6_000);
  network.socket.accept();
  connection.sayHello({ type: "hello", protocol: 1 });
  await clock.advance(3_999);
  assert.deepEqual(ends, []);
  await clock.advance(1);
  assert.equal(ends.length, 1);
});

Deno.test("Connection expects a welcome to each later hello as well", async () => {
  const { clock, network, ends, connection } = open();
  network.socket.accept();
  network.socket.welcome({ heartbeatMs: 0 });
  await clock.advance(60_000);
  connection.sayHello({ type: "hello", protocol: 1 });
  await clock.advance(10_000);
  assert.equal(ends.length, 1);
});

Deno.test("Connection ends once, and is deaf afterwards", async () => {
  const { network, ends, messages, connection, opened, clock } = open();
  const { socket } = network;
  socket.accept();
  socket.hangUp(1006);
  socket.hangUp(1000);
  socket.deliver({ type: "pong" });
  socket.welcome();
  socket.accept();
  connection.send([encodeFrame({ type: "ping" })]);
  connection.close();
  await settle();
  assert.deepEqual(ends, [[{ code: 1006, reason: "" }, undefined]]);
  assert.deepEqual(messages, []);
  assert.equal(opened(), 1);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Connection says nothing of an end that its owner wanted", async () => {
  const { network, ends, connection, clock } = open();
  network.socket.accept();
  network.socket.welcome();
  connection.close();
  network.socket.hangUp(1000);
  await clock.advance(100_000);
  assert.deepEqual(ends, []);
  assert.deepEqual(network.socket.closedWith, { code: 1000, reason: "" });
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Connection is deaf to the rest of a message whose welcome made its owner close it", () => {
  const { network, messages, connection, onWelcome } = open();
  network.socket.accept();
  onWelcome(() => connection.close());
  network.socket.welcome();
  assert.deepEqual(messages, []);
});

Deno.test("Connection ends later, not at once, if the socket cannot be made", async () => {
  const clock = new FakeClock();
  const network = new FakeNetwork();
  network.failure = new Error("no sockets left");
  const ends: unknown[] = [];
  const connection = new Connection({
    url: "ws://test/",
    WebSocket: network.WebSocket,
    clock,
  }, {
    opened: () => {},
    welcomed: () => {},
    message: () => {},
    ended: (...args) => void ends.push(args),
  });
  connection.open();
  assert.deepEqual(ends, []);
  await settle();
  assert.deepEqual(ends, [[
    { code: 1006, reason: "the socket cannot be made" },
    network.failure,
  ]]);
});

Deno.test("Connection ends if the socket takes nothing any more", async () => {
  const { ends, connection } = open();
  connection.send([encodeFrame({ type: "ping" })]); // the fake throws: it is not open
  assert.deepEqual(ends, []);
  await settle();
  assert.equal(ends.length, 1);
});

for (
  const [what, data] of [
    ["text", "hello"],
    ["no MessagePack", new Uint8Array([0xc1]).buffer],
    ["nothing", new ArrayBuffer(0)],
    ["a frame that is none", new Uint8Array([0x81, 0xa1, 0x74, 0x20]).buffer],
  ] as const
) {
  Deno.test(`Connection ends on a message that is ${what}`, () => {
    const { network, ends, messages } = open();
    network.socket.accept();
    network.socket.deliverData(data);
    assert.deepEqual(messages, []);
    assert.equal(ends.length, 1);
    assert.equal(ends[0]![0].code, 1002);
    assert(ends[0]![1] instanceof Error);
  });
}

Deno.test("Connection takes views as well as buffers", () => {
  const { network, messages } = open();
  network.socket.accept();
  const pong = encodeFrame({ type: "pong" });
  const wide = new Uint8Array([0, ...pong, 0]);
  network.socket.deliverData(wide.subarray(1, 1 + pong.length));
  assert.deepEqual(messages, [[{ type: "pong" }]]);
});

/** A message as the messages that a server sends in its place. */
function inParts(message: Uint8Array, bytes: number): Uint8Array[] {
  const count = Math.ceil(message.length / bytes);
  return [
    encodeFrame({ type: "parts", bytes: message.length }),
    ...Array.from(
      { length: count },
      (_, n) => message.slice(n * bytes, (n + 1) * bytes),
    ),
  ];
}

Deno.test("Connection asks for parts, joins them, and reads what comes before and behind them", () => {
  const { network, messages, connection } = open();
  const { socket } = network;
  socket.accept();
  connection.sayHello({ type: "hello", protocol: 1 });
  assert.deepEqual(socket.frames, [
    { type: "hello", protocol: 1, parts: true, own: true },
  ]);
  socket.welcome();
  const long = [
    { type: "res", id: 1, value: "first ".repeat(100) },
    { type: "res", id: 2, value: "second ".repeat(100) },
  ] as const;
  const bytes = joinFrames(long.map((frame) => encodeFrame(frame)));
  for (const size of [1, 7, 500, bytes.length]) {
    messages.length = 0;
    socket.deliver({ type: "pong" });
    const parts = inParts(bytes, size);
    for (const part of parts.slice(0, -1)) socket.deliverData(part);
    assert.equal(messages.length, 1, "nothing before the last part");
    socket.deliverData(parts.at(-1));
    socket.deliver({ type: "res", id: 3 });
    assert.deepEqual(messages, [
      [{ type: "pong" }],
      long,
      [{ type: "res", id: 3 }],
    ]);
  }
});

for (
  const [what, ...data] of [
    ["longer than its message", { type: "parts", bytes: 10 }, 11],
    ["empty", { type: "parts", bytes: 10 }, 4, 0],
    ["longer than what is left", { type: "parts", bytes: 10 }, 9, 2],
    ["of a message that is none", { type: "parts", bytes: 10 }, 5, 5],
    ["of more than it holds", { type: "parts", bytes: 2 ** 28 + 1 }],
    ["of more than there is", { type: "parts", bytes: 2 ** 53 - 1 }],
  ] as const
) {
  Deno.test(`Connection ends on a part that is ${what}`, () => {
    const { network, ends, messages } = open();
    network.socket.accept();
    network.socket.welcome();
    messages.length = 0;
    for (const [index, part] of data.entries()) {
      assert.deepEqual(ends, [], `before part ${index}`);
      network.socket.deliverData(
        typeof part === "number"
          ? new Uint8Array(part).fill(0xc1)
          : encodeFrame(part),
      );
    }
    assert.deepEqual(messages, []);
    assert.equal(ends[0]?.[0].code, 1002);
    assert(ends[0]?.[1] instanceof HeadwaterError);
  });
}

Deno.test("Connection hears each part of a message, which may take as long as it likes", async () => {
  const { clock, network, ends, messages } = open();
  const { socket } = network;
  socket.accept();
  socket.welcome({ heartbeatMs: 1_000 });
  messages.length = 0;
  const message = encodeFrame({ type: "res", id: 1, value: "x".repeat(100) });
  for (const part of inParts(message, 10)) {
    socket.deliverData(part);
    await clock.advance(999);
    assert.deepEqual(ends, []);
  }
  assert.equal(messages.length, 1);
  socket.deliverData(inParts(message, 10)[0]);
  await clock.advance(2_000);
  assert.equal(ends[0]?.[0].code, 4009, "who stops in the middle has gone");
});

Deno.test("Connection waits for the welcome to a later hello while a message comes in parts", async () => {
  const { clock, network, ends, connection } = open();
  network.socket.accept();
  network.socket.welcome({ heartbeatMs: 0 });
  connection.sayHello({ type: "hello", protocol: 1 });
  const message = encodeFrame({ type: "res", id: 1, value: "x".repeat(100) });
  for (const part of inParts(message, 10)) {
    await clock.advance(9_000);
    network.socket.deliverData(part);
  }
  await clock.advance(9_000);
  assert.deepEqual(ends, []);
  network.socket.welcome({ heartbeatMs: 0 });
  await clock.advance(60_000);
  assert.deepEqual(ends, []);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Connection.send() splits messages at the server's limit", () => {
  const { network, connection } = open();
  network.socket.accept();
  const frames = Array.from(
    { length: 10 },
    (_, n) => encodeFrame({ type: "unsub", name: `store-${n}` }),
  );
  const size = frames[0]!.length;
  network.socket.welcome({ messageBytes: size * 3 + 1 });
  connection.send(frames);
  assert.deepEqual(network.socket.sizes, [size * 3, size * 3, size * 3, size]);
  assert.deepEqual(
    network.socket.frames,
    frames.map((_, n) => ({ type: "unsub", name: `store-${n}` })),
  );
});

Deno.test("Connection pings when it has nothing to say and ends when nobody answers", async () => {
  const { clock, network, ends, connection } = open();
  const { socket } = network;
  socket.accept();
  socket.welcome({ heartbeatMs: 1_000 });
  await clock.advance(600);
  connection.send([encodeFrame({ type: "unsub", name: "A" })]);
  socket.deliver({ type: "pong" });
  await clock.advance(999);
  assert.deepEqual(socket.frames, [{ type: "unsub", name: "A" }]);
  await clock.advance(1);
  assert.deepEqual(socket.frames.slice(1), [{ type: "ping" }]);
  await clock.advance(500);
  socket.deliver({ type: "pong" });
  await clock.advance(500);
  assert.deepEqual(ends, []);
  await clock.advance(1_000); // the second ping, at 2.6 s, and its second
  assert.equal(ends.length, 1);
  assert.deepEqual(ends[0]![0], {
    code: 4009,
    reason: "the server has gone silent",
  });
  assert.equal(
    socket.frames.filter((frame) => frame.type === "ping").length,
    2,
  );
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Heartbeat finds a peer silent that only listens", async () => {
  const clock = new FakeClock();
  let silent = 0;
  const heartbeat = new Heartbeat(clock, {
    ping: () => heartbeat.sent(),
    silent: () => silent++,
  });
  heartbeat.start(1_000);
  for (let at = 0; at < 2_000; at += 100) {
    assert.equal(silent, 0);
    heartbeat.sent();
    await clock.advance(100);
  }
  assert.equal(silent, 1);
});

Deno.test("Heartbeat is still where the server wants none, but for a probe", async () => {
  const clock = new FakeClock();
  let pings = 0;
  let silent = 0;
  const heartbeat = new Heartbeat(clock, {
    ping: () => pings++,
    silent: () => silent++,
  });
  heartbeat.start(0);
  await clock.advance(3_600_000);
  assert.deepEqual([pings, clock.pendingTimers], [0, 0]);
  heartbeat.probe();
  heartbeat.heard();
  await clock.advance(3_600_000);
  assert.deepEqual([pings, silent], [1, 0]);
  heartbeat.probe();
  await clock.advance(5_000);
  assert.deepEqual([pings, silent], [2, 1]);
});

Deno.test("ConnectionMachine refuses what its state does not allow", () => {
  const { connection, clock } = open();
  const machine = new ConnectionMachine();
  const timer = clock.setTimer(1, () => {});
  assert.equal(machine.welcoming(), false);
  assert.equal(machine.open(0), false);
  assert.equal(machine.waiting(1, timer), false);
  assert.equal(machine.state.name, "idle");

  assert(machine.connecting(connection));
  assert.equal(machine.connecting(connection), false);
  assert.equal(machine.open(0), false);
  assert(machine.welcoming());
  assert.equal(machine.welcoming(), false);
  assert(machine.open(0));
  assert.equal(machine.open(0), false);
  assert(machine.waiting(1, timer));
  assert.equal(machine.waiting(2, timer), false);

  assert(machine.closed(new Error("first"), false));
  assert.equal(machine.closed(new Error("second"), false), false);
  assert.equal(machine.open(0), false);
  assert(machine.connecting(connection), "connect() after a final close");
  assert(machine.closed(new Error("third"), true));
  assert.equal(machine.connecting(connection), false);
  assert.equal(machine.closed(new Error("fourth"), true), false);
  assert.deepEqual({ ...machine.state }, {
    name: "closed",
    error: new Error("third"),
    isDestroyed: true,
  });
});

Deno.test("ConnectionMachine calls a retry off when it does not wait any more", () => {
  const { connection, clock } = open();
  const before = clock.pendingTimers;
  const machine = new ConnectionMachine();
  machine.connecting(connection);
  machine.waiting(1, clock.setTimer(1_000, () => {}));
  machine.connecting(connection);
  machine.waiting(2, clock.setTimer(1_000, () => {}));
  machine.closed(new Error("over"), true);
  assert.equal(clock.pendingTimers, before);
});

Deno.test("ConnectionMachine.nextAttempt() begins anew only after a connection that lived", () => {
  const { connection, clock } = open();
  const machine = new ConnectionMachine();
  assert.equal(machine.nextAttempt(0), 1);
  machine.connecting(connection);
  assert.equal(machine.nextAttempt(0), 1);
  machine.waiting(1, clock.setTimer(1, () => {}));
  machine.connecting(connection);
  assert.equal(machine.nextAttempt(0), 2);
  machine.welcoming();
  machine.open(1_000);
  assert.equal(machine.nextAttempt(5_999), 2);
  assert.equal(machine.nextAttempt(6_000), 1);
});

Deno.test("toStatus() is a function of the state alone", () => {
  const { connection, clock } = open();
  const retry = clock.setTimer(1, () => {});
  const error = new Error("over");
  assert.equal(toStatus({ name: "idle" }), "idle");
  assert.equal(
    toStatus({ name: "connecting", attempt: 0, connection }),
    "connecting",
  );
  assert.equal(
    toStatus({ name: "welcoming", attempt: 0, connection }),
    "connecting",
  );
  assert.equal(
    toStatus({ name: "connecting", attempt: 1, connection }),
    "reconnecting",
  );
  assert.equal(
    toStatus({ name: "welcoming", attempt: 1, connection }),
    "reconnecting",
  );
  assert.equal(
    toStatus({ name: "open", attempt: 1, connection, sinceMs: 0 }),
    "connected",
  );
  assert.equal(
    toStatus({ name: "waiting", attempt: 1, retry }),
    "reconnecting",
  );
  assert.equal(
    toStatus({ name: "closed", error, isDestroyed: false }),
    "closed",
  );
});
