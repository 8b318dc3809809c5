import assert from "node:assert/strict";
import {
  Outbox,
  Outboxes,
  type OutboxLimits,
  type OutboxOwner,
} from "../server/outbox.ts";
import { FakeClock, settle } from "./_fake_clock.ts";
import { HeldSocket } from "./_server_bench.ts";

const LIMITS: OutboxLimits = {
  outboxBytes: 1_600,
  outboxTotalBytes: 10_000,
  stallMs: 1_000,
};

interface OutboxBench {
  readonly outbox: Outbox;
  readonly owner: { heardAtMs: number };
  readonly socket: HeldSocket;
  /** What the owner was told, in order. */
  readonly told: string[];
}

function open(
  clock: FakeClock,
  all: Outboxes,
  onDrained?: (outbox: Outbox) => void,
): OutboxBench {
  const told: string[] = [];
  const socket = new HeldSocket();
  const owner: OutboxOwner & { heardAtMs: number } = {
    heardAtMs: -Infinity,
    drained: () => {
      told.push("drained");
      onDrained?.(outbox);
    },
    stalled: () => {
      told.push("stalled");
      outbox.close();
    },
    gone: () => void told.push("gone"),
  };
  const outbox = new Outbox(socket, owner, all);
  assert.equal(clock.pendingTimers, 0);
  return { outbox, owner, socket, told };
}

function start(limits: Partial<OutboxLimits> = {}) {
  const clock = new FakeClock();
  const all = new Outboxes(clock, { ...LIMITS, ...limits });
  return { clock, all };
}

function frame(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes).fill(0xc0);
}

Deno.test("Outbox sends all frames of one tick as one message, in order", async () => {
  const { clock, all } = start();
  const { outbox, socket } = open(clock, all);
  for (const byte of [1, 2, 3]) outbox.push(new Uint8Array([byte]));
  assert.deepEqual(socket.messages, [], "nothing is sent within the tick");
  await settle();
  outbox.push(new Uint8Array([4]));
  await settle();
  assert.deepEqual(socket.messages, [
    new Uint8Array([1, 2, 3]),
    new Uint8Array([4]),
  ]);
});

Deno.test("Outbox hands a single frame over as it is, without a copy", async () => {
  const { clock, all } = start();
  const sockets = [open(clock, all), open(clock, all)];
  const shared = frame(10);
  for (const { outbox } of sockets) outbox.push(shared);
  await settle();
  for (const { socket } of sockets) assert.equal(socket.messages[0], shared);
});

Deno.test("Outbox is full above its bound, until it has drained to a half", async () => {
  const { clock, all } = start();
  const { outbox, socket, told } = open(clock, all);
  socket.isHeld = true;
  outbox.push(frame(1_600));
  assert.equal(outbox.isFull, false, "at the bound");
  outbox.push(frame(1));
  assert.equal(
    outbox.isFull,
    true,
    "what waits for the end of the tick counts",
  );
  await settle();
  assert.equal(outbox.isFull, true, "and what the socket holds");
  socket.bufferedBytes = 801;
  await clock.advance(20);
  assert.equal(outbox.isFull, true, "over a half");
  assert.deepEqual(told, []);
  socket.bufferedBytes = 800;
  await clock.advance(20);
  assert.deepEqual(told, ["drained"]);
  assert.equal(outbox.isFull, false);
  socket.bufferedBytes = 0;
  await clock.advance(20);
  assert.equal(all.lagging, 0);
  assert.equal(clock.pendingTimers, 0, "nobody looks at what does not lag");
  outbox.close();
});

Deno.test("Outbox is told that it has stalled only if nothing was taken for the whole time", async () => {
  const { clock, all } = start();
  const { outbox, socket, told } = open(clock, all);
  socket.isHeld = true;
  outbox.push(frame(5_000));
  await settle();
  for (let taken = 0; taken < 4; taken++) {
    await clock.advance(900);
    socket.bufferedBytes -= 1;
    await clock.advance(40);
    assert.deepEqual(told, [], "the peer is slow, but it reads");
  }
  await clock.advance(1_040);
  assert.deepEqual(told, ["stalled"]);
  assert.equal(all.lagging, 0);
  assert.equal(clock.pendingTimers, 0);
});

Deno.test("Outbox does not take a peer for stalled whose socket is filled as fast as it drains", async () => {
  const { clock, all } = start();
  const { outbox, socket, told } = open(clock, all);
  socket.isHeld = true;
  outbox.push(frame(1_500));
  await settle();
  for (let elapsedMs = 0; elapsedMs < 5_000; elapsedMs += 500) {
    await clock.advance(500);
    // It never holds less than at first, which is over a half of the bound.
    outbox.push(frame(10));
    socket.bufferedBytes -= 10;
    await settle();
  }
  assert.deepEqual(told, []);
  await clock.advance(1_040);
  assert.deepEqual(told, ["stalled"]);
});

Deno.test("Outbox has more patience with a peer that was heard, but not for ever", async () => {
  const { clock, all } = start();
  const { outbox, owner, socket, told } = open(clock, all);
  socket.isHeld = true;
  outbox.push(frame(5_000));
  await settle();
  for (let elapsedMs = 0; elapsedMs < 9_800; elapsedMs += 100) {
    // Every second and a half, so that it counts for longer than one stallMs.
    if (elapsedMs % 1_500 === 0) owner.heardAtMs = clock.monotonic();
    await clock.advance(100);
  }
  assert.deepEqual(told, []);
  await clock.advance(300);
  assert.deepEqual(told, ["stalled"], "ten times as long");

  const silent = open(clock, all);
  silent.socket.isHeld = true;
  silent.owner.heardAtMs = clock.monotonic();
  silent.outbox.push(frame(5_000));
  await settle();
  await clock.advance(1_940);
  assert.deepEqual(silent.told, []);
  await clock.advance(100);
  assert.deepEqual(silent.told, ["stalled"], "two silent stallMs");
});

Deno.test("Outboxes have a budget together: a connection may be full because all are", async () => {
  const { clock, all } = start({ outboxTotalBytes: 2_000 });
  const slow = [open(clock, all), open(clock, all)];
  const quick = open(clock, all);
  for (const { outbox, socket } of slow) {
    socket.isHeld = true;
    outbox.push(frame(1_000));
  }
  await settle();
  assert.equal(all.hasRoom, false);
  for (const { outbox } of slow) {
    assert.equal(outbox.isFull, true, "over a sixteenth of its own bound");
  }
  assert.equal(quick.outbox.isFull, false, "who reads is not made to wait");
  slow[0]!.outbox.close();
  await clock.advance(20);
  assert.equal(
    all.hasRoom,
    true,
    "what a closed connection held is given back",
  );
  assert.equal(all.lagging, 1);
  assert.deepEqual(slow[1]!.told, [], "over a half of its own bound");
  slow[1]!.socket.drain();
  await clock.advance(20);
  assert.deepEqual(slow[1]!.told, ["drained"]);
  assert.equal(all.lagging, 0);
});

Deno.test("Outbox may be filled again by its owner as it drains", async () => {
  const { clock, all } = start();
  let rounds = 0;
  const { outbox, socket, told } = open(clock, all, (outbox) => {
    if (++rounds < 3) outbox.push(frame(2_000));
    assert.equal(outbox.isFull, rounds < 3);
  });
  socket.isHeld = true;
  outbox.push(frame(2_000));
  assert.equal(outbox.isFull, true);
  for (let round = 0; round < 3; round++) {
    await settle();
    socket.bufferedBytes = 0;
    await clock.advance(20);
  }
  assert.deepEqual(told, ["drained", "drained", "drained"]);
  await clock.advance(40);
  assert.equal(all.lagging, 0);
  assert.equal(socket.messages.length, 3);
});

Deno.test("Outbox sends nothing after its end, and tells once that the socket is gone", async () => {
  const { clock, all } = start();
  const closed = open(clock, all);
  closed.outbox.push(frame(1));
  closed.outbox.close();
  closed.outbox.push(frame(1));
  closed.outbox.hold();
  const lost = open(clock, all);
  lost.outbox.push(frame(1));
  lost.socket.hangUp();
  await settle();
  assert.deepEqual(closed.socket.messages, []);
  assert.equal(closed.outbox.bufferedBytes, 0);
  assert.deepEqual(closed.told, []);
  assert.deepEqual(lost.told, ["gone"]);
  assert.equal(all.lagging, 0);
});

Deno.test("Outboxes stop looking when they are closed", async () => {
  const { clock, all } = start();
  const { outbox, socket } = open(clock, all);
  socket.isHeld = true;
  outbox.push(frame(5_000));
  await settle();
  assert.equal(clock.pendingTimers, 1);
  all.close();
  assert.equal(clock.pendingTimers, 0);
});
